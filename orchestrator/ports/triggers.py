"""Port of triggers: what makes a pipeline run by itself, and what a trigger may ask about the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from orchestrator.graph.trigger import Declared


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something happened for which one run is to be made.

    Attributes:
        key: Tells it from all others of its trigger; the same thing seen again has the same.
        at: When it was to happen, or did, in wall-clock seconds.
        what: In words: a moment, a version, an event.
        values: Parameters of the run, as in a pipeline file: JSON values.
    """

    key: str
    at: float
    what: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Look(NamedTuple):
    """What a trigger has found: what happened, and where it has come to (JSON values, kept until the next look)."""

    occurrences: Sequence[Occurrence]
    place: Any


class VersionSeen(NamedTuple):
    """A version of something published, and when it was."""

    number: int
    at: float


class World(Protocol):
    """What triggers may ask."""

    def newer(self, name: str, than: int) -> Sequence[VersionSeen]:
        """Versions with a higher number, oldest first."""
        ...

    def named(self, name: str, tag: str) -> VersionSeen | None:
        """The version that a tag, or ``latest``, names now."""
        ...


class Trigger(Declared, Protocol):
    """A trigger: a frozen value. All that it decides follows from what it is given.

    A kind of triggers is a module of ``orchestrator/triggers/kinds/`` (or an entry point of
    ``orchestrator.triggers.kinds``) with ``KIND``, the key that names it under ``on:``, ``SCHEMA``, the JSON Schema of
    one entry there, and ``read(written)``, which makes the trigger of an entry that fits the schema.
    """

    @property
    def text(self) -> str:
        """In words, for a list."""
        ...

    @property
    def zone(self) -> str:
        """The time zone in which its moments are told; empty for UTC."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What makes it this trigger and no other; policies may change and it stays the same."""
        ...

    def begin(self, now: float, world: World) -> Any:
        """Its place when it is seen for the first time: what was before does not count."""
        ...

    def look(self, place: Any, now: float, world: World) -> Look:
        """What has happened since a place; where that was all, the place it has come to finds nothing and stays."""
        ...

    def upcoming(self, after: float, until: float, most: int) -> Sequence[float]:
        """Moments at which it will fire; none if that cannot be known."""
        ...


class TriggerModule(Protocol):
    """See ``Trigger``."""

    KIND: str
    SCHEMA: Mapping[str, Any]

    def read(self, written: Mapping[str, Any]) -> Trigger:
        """The trigger of an entry; raises UserError."""
        ...
