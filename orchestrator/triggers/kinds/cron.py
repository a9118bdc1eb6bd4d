"""``cron("0 2 * * *", tz="Europe/Berlin")``: at moments of a clock on the wall, in its time zone.

Where clocks are put forward, what falls into the hour that is left out fires once, right after it. Where they are put
back, a fixed time in the hour that comes twice fires once; what fires every so many minutes goes on doing so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from orchestrator.errors import InvalidPipeline
from orchestrator.graph.source import refusal
from orchestrator.ports.triggers import Look, Occurrence, World
from orchestrator.triggers.misfire import GRACE_S, MISFIRES, Misfire, due_moments
from orchestrator.types import Duration, seconds

KIND: Final = "cron"
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "cron": {"description": "Minute, hour, day, month, weekday; six fields begin with the second.",
                 "type": "string"},
        "tz": {"description": "Time zone, such as Europe/Berlin; UTC if there is none.", "type": "string"},
        "misfire": {"description": "What becomes of moments that were missed.", "enum": list(MISFIRES)},
        "grace": {"description": "So long after a moment it is late, not missed.",
                  "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}]},
    },
    "required": ["cron"],
    "additionalProperties": False,
}  # fmt: skip

_MARGIN_S = 3 * 3600.0
"""Clocks are put forward or back by less than that."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Moments of a clock; made by ``cron``."""

    expression: str
    tz: str
    misfire: Misfire
    grace_s: float

    @property
    def kind(self) -> str:
        """See ``Trigger``."""
        return KIND

    @property
    def text(self) -> str:
        """See ``Trigger``."""
        return f"{self.expression} ({self.tz})"

    @property
    def zone(self) -> str:
        """See ``Trigger``."""
        return self.tz

    def document(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return {"cron": self.expression, "tz": self.tz, "misfire": self.misfire, "grace": self.grace_s}

    def identity(self) -> dict[str, Any]:
        """See ``Trigger``."""
        return {"cron": self.expression, "tz": self.tz}

    def begin(self, now: float, world: World) -> float:
        """See ``Trigger``."""
        return now

    def look(self, place: Any, now: float, world: World) -> Look:
        """See ``Trigger``; the place is the moment up to which everything has been dealt with."""
        found = due_moments(float(place), now, self.misfire, self.grace_s, self._following, self._last)
        return Look([Occurrence(_utc(at), at, self._there(at).isoformat(sep=" ")) for at in found.due], found.until)

    def upcoming(self, after: float, until: float, most: int) -> Sequence[float]:
        """See ``Trigger``."""
        found: list[float] = []
        for moment in self._following(after):
            if moment > until or len(found) == most:
                break
            found.append(moment)
        return found

    def _following(self, after: float) -> Iterator[float]:
        """Moments after one; near a change of clocks they are counted from before it."""
        begin = self._there(after)
        for moment in self._simulated(begin - self._margin(begin)):
            if moment > after:
                yield moment

    def _last(self, upto: float) -> float | None:
        """The newest moment up to one; near a change of clocks only what follows from before it counts."""
        begin = self._there(upto + 1)
        margin = self._margin(begin)
        for moment in self._simulated(begin + margin, reverse=True):
            if moment > upto:
                continue
            if not margin and not self._margin(self._there(moment)):
                return moment
            following = list(takewhile(lambda one: one <= upto, self._following(moment - 1)))
            if following:
                return following[-1]
        return None

    def _there(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, ZoneInfo(self.tz))

    def _margin(self, at: datetime) -> timedelta:
        offsets = {self._there(at.timestamp() + step).utcoffset() for step in (-_MARGIN_S, 0.0, _MARGIN_S)}
        return timedelta(seconds=_MARGIN_S if len(offsets) > 1 else 0)

    def _simulated(self, begin: datetime, reverse: bool = False) -> Iterable[float]:
        return (moment.timestamp() for moment in CronSim(self.expression, begin, reverse=reverse))


def cron(expression: str, *, tz: str = "UTC", misfire: Misfire = "latest", grace: Duration = GRACE_S) -> Cron:
    """Run at moments of a clock: ``cron("0 2 * * *", tz="Europe/Berlin")`` every night at two.

    Args:
        expression: Minute, hour, day of the month, month, weekday; with six fields the first is the second.
        tz: Time zone.
        misfire: What becomes of moments that went by while nothing could be started: ``latest`` makes up for the newest
            of them, ``all`` for each, in order, ``skip`` for none.
        grace: A moment so long ago is late and not missed.

    Raises:
        InvalidPipeline: there is no such expression, zone or policy.
        InvalidDuration: ``grace`` is none.
    """
    if misfire not in MISFIRES:
        raise refusal(InvalidPipeline, f"cron({expression!r}): misfire={misfire!r}; write {', '.join(MISFIRES)}")
    try:
        ZoneInfo(tz)
    except (KeyError, ValueError, OSError):
        raise refusal(InvalidPipeline, f"cron({expression!r}): there is no time zone {tz!r}") from None
    try:
        next(iter(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))), None)
    except CronSimError as error:
        told = f"{str(error).lower()}; five fields are minute, hour, day of the month, month and weekday"
        raise refusal(InvalidPipeline, f"cron({expression!r}): {told}") from None
    return Cron(" ".join(expression.split()), tz, misfire, seconds(grace))


def read(written: Mapping[str, Any]) -> Cron:
    """See ``Trigger``."""
    options = {name: value for name, value in written.items() if name != KIND}
    return cron(written[KIND], **options)


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
