"""Documents of ``orc trigger``."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class FiringItem(Struct, frozen=True):
    """Something for which one run is made; ``run`` is empty before it begins, ``run_state`` null then too."""

    key: str
    at: str
    what: str
    by: str
    state: Literal["waiting", "begun", "over", "given up"]
    run: str
    run_state: str | None
    problem: str


class TriggerItem(Struct, frozen=True):
    """What makes a pipeline run by itself; ``declared`` is its entry under ``on:``, ``reason`` why it has failed."""

    id: str
    kind: str
    text: str
    pipeline: str
    declared: dict[str, Any]
    concurrency: int | None
    state: Literal["active", "paused", "failed"]
    reason: str
    next_at: str | None


class TriggerDocument(Struct, frozen=True):
    """A trigger with its next moments and what it fired for last, newest first.

    ``scheduler`` is the process that fires triggers of the project, null if there is none.
    """

    trigger: TriggerItem
    upcoming: list[str]
    firings: list[FiringItem]
    scheduler: str | None
