"""Copies of requests that the candidate answered otherwise than the version whose answer was given."""

from __future__ import annotations

from orchestrator.ports.traffic import Tally
from orchestrator.serving.clusters import Design
from orchestrator.serving.guard import Guard
from orchestrator.serving.rates import AboveLimit, Count
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.window import Window

NAMES = ("different_rate",)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    return [
        AboveLimit(str(condition), _different, _spread, condition.limit)
        for condition in strategy.conditions
        if condition.name in NAMES
    ]


def _different(tally: Tally, window: Window) -> Count:
    return Count(tally.different, tally.compared)


def _spread(design: Design) -> float:
    return design.requests
