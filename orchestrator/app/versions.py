"""Published data sets and models: ``versions["data:flights@v3"]``, their tags, and how two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.app.artifact import Artifact
from orchestrator.app.installation import Installation, shared
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.display import Shown
from orchestrator.graph.version import check_tag, parse_version
from orchestrator.ports.promotion import PROMOTION_TAGS
from orchestrator.ports.values import Cell, Description, decode_cell, describe

if TYPE_CHECKING:
    from orchestrator.artifacts.comparison import Difference
    from orchestrator.ports.registry import PublishedVersion

__all__ = ["Version", "Versions", "versions"]


class Version(Shown):
    """One version of a named data set or model.

    Attributes:
        row: What the registry knows: name, number, digest, run, node, time, tags.
    """

    def __init__(self, installation: Installation, row: PublishedVersion) -> None:
        self.row = row
        self._installation = installation

    def __repr__(self) -> str:
        return f"Version({self.address!r})"

    @property
    def installation(self) -> Installation:
        """Where it is kept."""
        return self._installation

    @property
    def address(self) -> str:
        """``data:flights@v3``."""
        return self.row.address

    @property
    def step(self) -> str:
        """Address of the step that published it, in the run ``row.run``."""
        return self.row.node

    @property
    def cell(self) -> Cell:
        """The stored value, not loaded."""
        return decode_cell(self.row.cell)

    @property
    def description(self) -> Description:
        """Type, size, length and preview, without loading the value."""
        return describe(self.cell)

    @property
    def artifact(self) -> Artifact:
        """The value as it is stored, not loaded."""
        return Artifact(self._installation, self.cell, self.address)

    def value(self) -> Any:
        """The value, loaded in this process.

        Raises:
            ArtifactMissing, ArtifactCorrupt, SignatureInvalid: the stored bytes are gone or not what was written.
        """
        return self._installation.values.load(self.cell).value

    @property
    def metrics(self) -> dict[str, float]:
        """What the step last reported with ``step().report``; empty if its run was removed."""
        found: dict[str, float] = {}
        try:
            facts = list(self._installation.journal.facts(self.row.run))
        except NotFound:
            return found
        for fact in (recorded.fact for recorded in facts):
            if isinstance(fact, f.MetricsReported) and (fact.node, fact.index) == (self.row.node, self.row.index):
                found.update(fact.metrics)
        return found

    def diff(self, other: Version) -> Difference:
        """How another version differs from this one; of what is no table or container only what describes it."""
        from orchestrator.artifacts.comparison import compare

        return compare(self._installation.values, self.cell, other.cell, self.metrics, other.metrics)


class Versions:
    """Versions of one installation.

    Args:
        installation: The one that the environment names when it is asked, if None.
    """

    def __init__(self, installation: Installation | None = None) -> None:
        self._given = installation

    @property
    def _installation(self) -> Installation:
        return self._given or shared().get()

    def __getitem__(self, address: str) -> Version:
        """``data:flights@v3``, ``data:flights@TAG``, or the newest ``data:flights``.

        Raises:
            NotFound: there is no such version; names what there is.
            ConfigError: the text names no version.
        """
        return Version(self._installation, self._installation.registry.find(parse_version(address)))

    def list(self, name: str | None = None) -> list[Version]:
        """Versions by name, newest first; of one name if that is given."""
        wanted = None if name is None else parse_version(name).name
        return [Version(self._installation, row) for row in self._installation.registry.versions(wanted)]

    def tag(self, address: str, tag: str) -> Version:
        """Let ``NAME@tag`` be this version from now on, and no other."""
        here, found = self._installation, parse_version(address)
        self.check_free(found.name, tag)
        return Version(here, here.registry.tag(found, check_tag(tag), here.clock.now()))

    def untag(self, name: str, tag: str) -> None:
        """Take a tag away; raises NotFound if no version has it."""
        found = parse_version(name).name
        self.check_free(found, tag)
        if not self._installation.registry.untag(found, tag):
            raise NotFound(f"no version of {name} has the tag {tag!r}; see orc versions {name}")

    @staticmethod
    def check_free(name: str, tag: str) -> None:
        """Refuse a tag of a model that says where it stands: that takes checks, and is recorded; raises ConfigError."""
        if name.startswith("model:") and tag in PROMOTION_TAGS:
            raise ConfigError(f"only a promotion moves the tag {tag!r} of a model: orc promote {name}@… --to {tag}")


versions = Versions()
