"""Firings that wait for their turn: which may begin, so that no pipeline has more runs at once than it allows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "begun", "over", "given up"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
GIVEN_UP_AFTER_S = 3600.0
BY_HAND = "by hand"
"""Who asked, if a person did."""

KEPT = 30
"""Firings of a trigger that are remembered after their end."""


@dataclass
class Firing:
    """Something for which one run is made.

    Attributes:
        key: One key, one run.
        at: When it was to happen, or did; ``noted_at`` when that was found.
        what: In words.
        by: Who asked for it, if it did not fire by itself: ``webhook``, ``by hand``.
        values: Parameters of the run, as in a pipeline file.
        state: ``over`` once its run has ended, ``given up`` if none could be begun.
        tries: How often that failed; ``problem`` says how the last time, ``due_at`` when it is tried again.
        ended: State of the run that has ended.
    """

    key: str
    trigger: str
    pipeline: str
    at: float
    noted_at: float
    what: str
    by: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    state: State = "waiting"
    run: str = ""
    ended: str = ""
    tries: int = 0
    due_at: float = 0.0
    problem: str = ""


def startable(
    firings: Sequence[Firing],
    limits: Mapping[str, int | None],
    now: float,
    starting: Collection[str] = (),
    paused: Collection[str] = (),
) -> list[Firing]:
    """Firings whose run may begin now, in the order in which they came.

    Args:
        firings: In that order.
        limits: Most runs at once by pipeline; None for any number. Of a pipeline that is not there, nothing begins.
        starting: Keys of those that are being started.
        paused: Triggers that begin nothing but what was asked for by hand.
    """
    busy = Counter(one.pipeline for one in firings if one.state == "begun" or one.key in starting)
    found: list[Firing] = []
    for one in firings:
        if one.state != "waiting" or one.key in starting or one.pipeline not in limits or one.due_at > now:
            continue
        if one.trigger in paused and one.by != BY_HAND:
            continue
        limit = limits[one.pipeline]
        if limit is None or busy[one.pipeline] < limit:
            busy[one.pipeline] += 1
            found.append(one)
    return found


def failed(firing: Firing, problem: str, now: float) -> None:
    """A run could not be begun: it is tried again, ever more rarely, and in the end given up."""
    firing.tries += 1
    firing.problem = problem[:500]
    firing.due_at = now + min(FIRST_PAUSE_S * 2.0 ** (firing.tries - 1), LONGEST_PAUSE_S)
    if firing.due_at - firing.noted_at > GIVEN_UP_AFTER_S:
        firing.state = "given up"


def forgotten(firings: Sequence[Firing]) -> list[Firing]:
    """Firings without those that are long over."""
    seen: Counter[str] = Counter()
    kept: list[Firing] = []
    for one in reversed(firings):
        if one.state in ("over", "given up"):
            seen[one.trigger] += 1
            if seen[one.trigger] > KEPT:
                continue
        kept.append(one)
    return kept[::-1]
