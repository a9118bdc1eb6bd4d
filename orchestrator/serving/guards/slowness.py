"""Answers that took too long: a quantile or a share over its limit, or slower than the stable version.

``p95_ms > 80`` says that more than 5 % of the answers take longer than 80 ms, which is a rate like any other.
"""

from __future__ import annotations

from orchestrator.ports.traffic import Tally
from orchestrator.serving.clusters import Design
from orchestrator.serving.conditions import QUANTILES, Condition
from orchestrator.serving.guard import Guard
from orchestrator.serving.rates import AboveLimit, Count, Counting, WorseThanStable
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window, answers, slower

NAMES = ("slow_rate", *QUANTILES)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    found: list[Guard] = [_limit(condition) for condition in strategy.conditions if condition.name in NAMES]
    if "slow" in strategy.compare:
        found.append(WorseThanStable("slower than the stable version", _slow, _spread))
    return found


def _limit(condition: Condition) -> Guard:
    if condition.name in QUANTILES:
        allowed = round(1.0 - QUANTILES[condition.name], 6)
        return AboveLimit(str(condition), _over(condition.limit), _spread, allowed, condition.limit)
    return AboveLimit(str(condition), _slow, _spread, condition.limit)


def _slow(tally: Tally, window: Window) -> Count:
    return Count(tally.slow, answers(tally))


def _over(limit_ms: float) -> Counting:
    def count(tally: Tally, window: Window) -> Count:
        return Count(slower(tally, limit_ms, window.slow_ms), answers(tally))

    return count


def _spread(design: Design) -> float:
    return design.slow
