"""``artifact("features/daily")``: when a new version of a data set or model is published, or a tag moves.

Each version fires a trigger once, also if a tag comes back to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from orchestrator.errors import ConfigError, InvalidPipeline
from orchestrator.graph.source import refusal
from orchestrator.graph.version import NEWEST, VersionAddress, names_version, parse_version
from orchestrator.ports.triggers import Look, Occurrence, World
from orchestrator.triggers.misfire import MOST

Misfire = Literal["latest", "all"]

KIND: Final = "artifact"
_MISFIRES: Final[tuple[Misfire, ...]] = ("latest", "all")
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "artifact": {"description": "A data set or model: features/daily, model:delay, model:delay@production.",
                     "type": "string"},
        "misfire": {"description": "Of several versions that have come since: latest takes the newest, all each.",
                    "enum": list(_MISFIRES)},
    },
    "required": ["artifact"],
    "additionalProperties": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnVersion:
    """Versions of something published; made by ``artifact``."""

    address: VersionAddress
    misfire: Misfire

    @property
    def kind(self) -> str:
        """See ``Trigger``."""
        return KIND

    @property
    def text(self) -> str:
        """See ``Trigger``."""
        newest = self.address.which == NEWEST
        return f"new versions of {self.address.name}" if newest else f"versions that become {self.address}"

    @property
    def zone(self) -> str:
        """See ``Trigger``."""
        return ""

    def document(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return {"artifact": self._written, "misfire": self.misfire}

    def identity(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return {"artifact": self._written}

    @property
    def _written(self) -> str:
        return self.address.name if self.address.which == NEWEST else str(self.address)

    def begin(self, now: float, world: World) -> int:
        """See ``Trigger``."""
        seen = world.named(*self.address)
        return 0 if seen is None else seen.number

    def look(self, place: Any, now: float, world: World) -> Look:
        """See ``Trigger``; the place is the number of the version that was there last."""
        known, seen = int(place), world.named(*self.address)
        if seen is None or seen.number == known:
            return Look([], known)
        if self.address.which != NEWEST:
            found = [seen]
        else:
            newer = [one for one in world.newer(self.address.name, known) if one.at <= now]
            found = newer[:MOST] if self.misfire == "all" else newer[-1:]
        told = [Occurrence(f"v{one.number}", one.at, f"{self.address.name}@v{one.number}") for one in found]
        return Look(told, found[-1].number if found else known)

    def upcoming(self, after: float, until: float, most: int) -> Sequence[float]:
        """See ``Trigger``."""
        return ()


def artifact(name: str, *, misfire: Misfire = "latest") -> OnVersion:
    """Run when something is published: ``artifact("features/daily")``, ``artifact("model:delay@production")``.

    Args:
        name: A data set, with or without ``data:`` before it, or ``model:NAME``; after ``@`` a tag: then it fires when
            that names another version.
        misfire: Of several versions that have come since it looked last, ``latest`` takes the newest, ``all`` each, in
            order. Only what a tag names in the end can be known.

    Raises:
        InvalidPipeline: nothing can be called so, or a version is named that never changes.
    """
    try:
        address = parse_version(name if names_version(name) else f"data:{name}")
    except ConfigError as error:
        raise refusal(InvalidPipeline, f"artifact({name!r}): {error.message}") from None
    if address.number is not None:
        raise refusal(
            InvalidPipeline, f"artifact({name!r}): a version with a number never changes; name a tag, or none"
        )
    if misfire not in _MISFIRES:
        raise refusal(InvalidPipeline, f"artifact({name!r}): misfire={misfire!r}; write latest or all")
    return OnVersion(address, misfire)


def read(written: Mapping[str, Any]) -> OnVersion:
    """See ``Trigger``."""
    return artifact(written[KIND], misfire=written.get("misfire", "latest"))
