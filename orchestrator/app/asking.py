"""What others want of triggers: that one fires, that one rests. Files in ``ORC_HOME``, taken up by whoever schedules.

Whoever asks needs no server, and is answered once the file is there for good: it stays until what it asks for is noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from orchestrator.app.declared import folder, write_whole
from orchestrator.app.installation import Installation

KEPT = 100
"""Pauses of a trigger that are remembered; whoever schedules has seen older ones, or was away for all of them."""


class Asked(msgspec.Struct, frozen=True):
    """A firing that somebody asks for; see ``triggers.queue.Firing``."""

    key: str
    trigger: str
    pipeline: str
    at: float
    what: str
    by: str
    values: dict[str, Any] = {}


class Pause(msgspec.Struct, frozen=True):
    """A trigger rests, or did until ``resumed_at``; what happened meanwhile is not made up for.

    Attributes:
        before: When earlier pauses began and ended, oldest first.
    """

    trigger: str
    paused_at: float
    by: str = ""
    resumed_at: float | None = None
    before: list[tuple[float, float]] = []

    @property
    def rests(self) -> bool:
        """Whether it still does."""
        return self.resumed_at is None

    def turns(self) -> Iterator[tuple[float, bool]]:
        """Beginnings and ends of pauses, oldest first, each with whether what happened up to it counts."""
        for began, ended in (*self.before, (self.paused_at, self.resumed_at)):
            yield began, True
            if ended is not None:
                yield ended, False


class Asking:
    """What was asked of the triggers of a project. Thread-safe; any process may ask."""

    def __init__(self, here: Installation, project: Path) -> None:
        self._here = here
        root = folder(here, project)
        self._asked, self._pauses = root / "asked", root / "pauses"
        for path in (self._asked, self._pauses):
            path.mkdir(mode=0o700, exist_ok=True)

    def ask(self, asked: Asked) -> None:
        """Ask for a firing; who asks again with its key asks for the same one."""
        write_whole(self._asked / f"{_name(asked.key)}.json", msgspec.json.encode(asked))

    def waiting(self) -> list[Asked]:
        """What was asked for and not yet noted, oldest first."""
        found: list[Asked] = []
        for path in self._asked.glob("*.json"):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Asked))
            except FileNotFoundError:
                continue  # noted by now
        return sorted(found, key=lambda one: (one.at, one.key))

    def noted(self, asked: Asked) -> None:
        """It is where it is not lost."""
        (self._asked / f"{_name(asked.key)}.json").unlink(missing_ok=True)

    def pause(self, trigger: str, by: str = "") -> Pause:
        """Let a trigger rest; it begins no runs until it is resumed."""
        known = self.paused().get(trigger)
        if known is not None and known.rests:
            return known
        before = [] if known is None else known.before
        if known is not None and known.resumed_at is not None:
            before = [*before, (known.paused_at, known.resumed_at)][-KEPT:]
        return self._write(Pause(trigger, self._here.clock.now(), by, before=before))

    def resume(self, trigger: str) -> Pause | None:
        """Let a trigger go on from now; None if it does not rest."""
        known = self.paused().get(trigger)
        if known is None or not known.rests:
            return None
        return self._write(replace(known, resumed_at=self._here.clock.now()))

    def paused(self) -> dict[str, Pause]:
        """The last pause of each trigger that had one, with those before it."""
        found = [msgspec.json.decode(path.read_bytes(), type=Pause) for path in self._pauses.glob("*.json")]
        return {one.trigger: one for one in found}

    def _write(self, pause: Pause) -> Pause:
        write_whole(self._pauses / f"{_name(pause.trigger)}.json", msgspec.json.encode(pause))
        return pause


def _name(key: str) -> str:
    return blake3(key.encode()).hexdigest()[:32]
