"""Requests that failed: over a limit, more often than at the stable version, or nearly all of them."""

from __future__ import annotations

from orchestrator.serving.guard import Guard
from orchestrator.serving.rates import guards_over_failures
from orchestrator.serving.strategy import Strategy

NAMES = ("error_rate",)


def guards(strategy: Strategy) -> list[Guard]:
    """See ``serving.guard``."""
    collapsed, worse = "hardly any request is answered", "more errors than the stable version"
    return guards_over_failures(strategy, "error_rate", "errors", collapsed, worse)
