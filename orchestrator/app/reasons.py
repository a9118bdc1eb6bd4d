"""Why a step ran, waited, was reused, repeated or failed: what each fact says about it, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.graph import fact as f
from orchestrator.views.status import duration_text


def reasons_of(fact: Any, at: float, node: str, item: int | None, origin: str = "") -> Iterator[tuple[str, str]]:
    """What a fact says about a step; for a whole map, about any of its items.

    Args:
        origin: The run whose record this one goes on with, if there is one.
    """
    if isinstance(fact, f.CodeChanged):
        if node in fact.dropped and node not in fact.kept:
            yield "code", "other code: what it had finished does not count any more"
        return
    if getattr(fact, "node", None) != node or not _concerns(fact, item):
        return
    if isinstance(fact, f.CacheMissed):
        yield "not cached", fact.reason
    elif isinstance(fact, f.StepsStarted):
        yield "started", f"{_items(fact, item)}on {fact.worker}"
    elif isinstance(fact, f.StepsCompleted):
        if fact.cached:
            said = "taken over from the record of" if fact.cached == origin else "same code and inputs as in"
            yield "cached", f"{_items(fact, item)}{said} {fact.cached}"
        else:
            came = "a fallback" if fact.degraded else ""
            yield "degraded" if fact.degraded else "succeeded", (_items(fact, item) + came).rstrip()
    elif isinstance(fact, f.AttemptFailed):
        blame = "" if fact.failure.charged else " (the worker's fault, not the step's)"
        again = duration_text(max(fact.retry_at - at, 0))
        yield "retry", f"{_one(fact, item)}{fact.failure.name}: {fact.failure.message}{blame}; again in {again}"
    elif isinstance(fact, f.StepFailed):
        yield "failed", f"{_one(fact, item)}{fact.failure.name}: {fact.failure.message}{_INSTEAD[fact.action]}"
    elif isinstance(fact, f.StepsSkipped):
        yield "skipped", f"{_items(fact, item)}{_SKIPPED[fact.reason]}"
    elif isinstance(fact, f.ApprovalRequested):
        yield "waits", fact.text
    elif isinstance(fact, f.ChecksReported):
        yield from _checked(fact, item)
    elif isinstance(fact, f.MapExpanded):
        yield "expanded", f"{fact.width:,} items"


def _checked(fact: f.ChecksReported, item: int | None) -> Iterator[tuple[str, str]]:
    passed = sum(one.passed for one in fact.results)
    yield "checked", f"{_one(fact, item)}{passed} of {len(fact.results)} checks passed"
    for one in fact.results:
        if not one.passed:
            yield one.state if one.state == "warned" else "blocked", f"{_one(fact, item)}{one.name}: {one.message}"


_SKIPPED = {
    "branch": "its branch was not taken",
    "dropped": "what it needs was dropped",
    "cancelled": "the run was cancelled",
    "upstream_failed": "what it needs failed",
}

_INSTEAD = {
    "fail": "",
    "drop": "; the item was dropped",
    "keep": "; an ItemError stands in its place",
    "fallback": "; its fallback stands in its place",
}


def _concerns(fact: Any, item: int | None) -> bool:
    if item is None:
        return True
    index = getattr(fact, "index", None)
    if index is not None:
        return bool(index == item)
    start, stop = getattr(fact, "start", None), getattr(fact, "stop", None)
    return start is None or stop is None or start <= item < stop


def _one(fact: Any, item: int | None) -> str:
    """Which item it was about, unless one was asked for."""
    return f"[{fact.index}] " if item is None else ""


def _items(fact: Any, item: int | None) -> str:
    if item is not None or (fact.stop - fact.start == 1 and fact.start == 0):
        return ""
    return f"[{fact.start}] " if fact.stop - fact.start == 1 else f"[{fact.start}..{fact.stop - 1}] "
