"""Port of the registry: named versions of data sets and models, and the cursors of pipelines.

Both are kept by the journal in the transactions of the facts that they follow from; here they are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.graph.fact import Position
from orchestrator.graph.version import VersionAddress
from orchestrator.ports.promotion import Promotion, Standing, Wanted
from orchestrator.types import Digest


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version of a named data set or model.

    Attributes:
        cell: The value as chunks hold it; see ``ports.values``.
        run, node, index: The step that published it first; its run may have been removed since.
        at: When, in wall-clock seconds.
    """

    name: str
    number: int
    digest: Digest
    cell: bytes
    run: str
    node: str
    index: int
    at: float
    tags: Sequence[str] = ()

    @property
    def address(self) -> str:
        """``data:flights@v3``."""
        return f"{self.name}@v{self.number}"


@dataclass(frozen=True, slots=True)
class CursorRow:
    """Where a cursor of a pipeline stands, and the run that moved it there."""

    pipeline: str
    name: str
    value: str
    version: int
    run: str
    at: float = field(default=0.0)


class Registry(Protocol):
    """Versions and cursors of an installation. Thread-safe."""

    def positions(self, pipeline: str) -> Mapping[str, Position]:
        """Where the cursors of a pipeline stand."""
        ...

    def cursors(self, pipeline: str | None = None) -> Sequence[CursorRow]:
        """Cursors, by pipeline and name."""
        ...

    def versions(self, name: str | None = None) -> Sequence[PublishedVersion]:
        """Versions by name, newest first."""
        ...

    def find(self, address: VersionAddress) -> PublishedVersion:
        """One version; raises NotFound, naming what there is."""
        ...

    def tag(self, address: VersionAddress, tag: str, at: float) -> PublishedVersion:
        """Let a tag name this version from now on, and no other of its name; raises NotFound."""
        ...

    def untag(self, name: str, tag: str) -> bool:
        """Take a tag away; False if no version has it."""
        ...

    def promote(self, wanted: Wanted) -> Promotion:
        """Move a version and record that, in one transaction; see ``ports.promotion.promote``.

        Raises:
            NotFound: there is no such version.
            PromotionRefused: it may not go there; nothing was changed.
        """
        ...

    def standing(self, name: str) -> Standing:
        """Where the versions of a name stand."""
        ...

    def promotions(self, name: str) -> Sequence[Promotion]:
        """Promotions of the versions of a name, newest first; also of those that were removed since."""
        ...

    def remove(self, name: str, number: int) -> bool:
        """Forget a version; False, and it stays, if it is the newest of its name, tagged, or not there."""
        ...
