"""Answers that are none, NaN or empty: over a limit, more often than at the stable version, or nearly all of them."""

from __future__ import annotations

from orchestrator.ports.traffic import Tally
from orchestrator.serving.clusters import Design
from orchestrator.serving.guard import Guard
from orchestrator.serving.rates import AboveLimit, Collapsed, Count, WorseThanStable
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ("broken_rate",)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    found: list[Guard] = [Collapsed("hardly any answer has a value", _broken, _spread)]
    found += [
        AboveLimit(str(condition), _broken, _spread, condition.limit)
        for condition in strategy.conditions
        if condition.name in NAMES
    ]
    if "broken" in strategy.compare:
        found.append(WorseThanStable("more broken answers than the stable version", _broken, _spread))
    return found


def _broken(tally: Tally, window: Window) -> Count:
    return Count(tally.broken, tally.requests)


def _spread(design: Design) -> float:
    return design.errors
