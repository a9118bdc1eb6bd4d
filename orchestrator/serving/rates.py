"""Guards over a rate: above a limit, above that of the stable version, or nearly one.

Files in ``guards/`` say what a trial and a hit are; what is made of them is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestrator.ports.traffic import Tally
from orchestrator.serving.clusters import Design
from orchestrator.serving.guard import Evidence, Guard, GuardState
from orchestrator.serving.sequences import Mixture, above_limit, worse_than
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window


class Count(NamedTuple):
    """Hits among trials, and how many trials count as one."""

    hits: int
    trials: int


Counting = Callable[[Tally, Window], Count]
Spreading = Callable[[Design], float]

COLLAPSE = 10
"""Hits, most of all trials without a pause between them, that end a release at once."""


@dataclass(frozen=True, slots=True)
class AboveLimit:
    """Acts when a rate is above its limit.

    Attributes:
        limit: Chance of a hit that is still allowed.
        shown: The limit as people wrote it, such as milliseconds.
    """

    key: str
    count: Counting
    spread: Spreading
    limit: float
    shown: float | None = None
    hard: bool = False

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        seen = self.count(window.candidate, window)
        wealth, hits, trials = _wealth(state), state.get("hits", 0) + seen.hits, state.get("trials", 0) + seen.trials
        if seen.trials:
            wealth = wealth.after(_shrunk(above_limit(*seen, self.limit), self.spread(window.design)))
        found = {**_kept(wealth), "hits": hits, "trials": trials}
        said = "" if self.shown is None else f"those are answers over {self.shown:g} ms"
        return found, Evidence(
            self.key, wealth.log_e, trials, _rate(hits, trials), None, self.limit, True, trials > 0, said=said
        )


@dataclass(frozen=True, slots=True)
class WorseThanStable:
    """Acts when a rate is above that of the stable version over the same time."""

    key: str
    count: Counting
    spread: Spreading
    hard: bool = False

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        mine, other = self.count(window.candidate, window), self.count(window.stable, window)
        wealth = _wealth(state)
        if mine.trials and other.trials:
            wealth = wealth.after(_shrunk(worse_than(*mine, *other), self.spread(window.design)))
            before = state.get("seen", (0, 0, 0, 0))
            state = {"seen": [old + new for old, new in zip(before, (*mine, *other), strict=True)]}
        seen = list(state.get("seen", (0, 0, 0, 0)))
        found = {**_kept(wealth), "seen": seen}
        return found, Evidence(self.key, wealth.log_e, seen[1], _rate(*seen[:2]), _rate(*seen[2:]), percent=True)


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Acts at once when most requests hit, ``COLLAPSE`` times without a window in which most do not.

    Where 2 % of the requests hit for reasons of their own, that has a chance of less than 10^-10. Clients that fail
    together count as one, and a stable version that does no better is no reason to go back to it.
    """

    key: str
    count: Counting
    spread: Spreading
    hard: bool = True

    def look(self, state: GuardState, window: Window) -> tuple[GuardState, Evidence]:
        """See ``Guard``."""
        mine, other = self.count(window.candidate, window), self.count(window.stable, window)
        seen = [old + new for old, new in zip(state.get("seen", (0, 0, 0, 0)), (*mine, *other), strict=True)]
        if mine.hits * 2 < mine.trials:
            seen = [0, 0, 0, 0]
        hits, trials, other_hits, other_trials = seen
        alone = other_hits * 2 < max(1, other_trials)
        at_once = alone and hits / self.spread(window.design) >= COLLAPSE
        rates = _rate(hits, trials), _rate(other_hits, other_trials)
        return {"seen": seen}, Evidence(self.key, 0.0, trials, *rates, 0.5, True, at_once=at_once)


def _wealth(state: GuardState) -> Mixture:
    return Mixture(tuple(state.get("logs", ())), state.get("blocks", 0))


def _kept(wealth: Mixture) -> dict[str, Any]:
    return {"logs": list(wealth.logs), "blocks": wealth.blocks}


def _shrunk(factors: tuple[float, ...], design: float) -> tuple[float, ...]:
    return tuple(factor / design for factor in factors)


def _rate(hits: float, trials: float) -> float | None:
    return hits / trials if trials else None


def guards_over_failures(strategy: Strategy, rate: str, compared: str, collapsed: str, worse: str) -> list[Guard]:
    """All guards over one kind of failed requests: collapse, limits, and comparison with the stable version.

    Args:
        rate: Its name in ``rollback_if``.
        compared: Its name in ``compare``, which is that of the field of a tally, too.
        collapsed, worse: Keys of the guards that no condition names.
    """

    def count(tally: Tally, window: Window) -> Count:
        return Count(getattr(tally, compared), tally.requests)

    def spread(design: Design) -> float:
        return design.errors

    found: list[Guard] = [Collapsed(collapsed, count, spread)]
    found += [AboveLimit(str(one), count, spread, one.limit) for one in strategy.conditions if one.name == rate]
    if compared in strategy.compare:
        found.append(WorseThanStable(worse, count, spread))
    return found
