"""Schemas of the API about triggers: what makes pipelines run by themselves, what has fired, and what will."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.schemas import Document, RunStateName

FiringState = Literal["waiting", "begun", "over", "given up"]


class Firing(Document):
    """Something for which one run is made. ``by`` says who asked for it, empty if it fired by itself.

    While it is ``waiting`` there is no ``run`` yet: others have their turn before, or to begin it failed, and
    ``problem`` says how. ``run_state`` is null also when the run was removed since.
    """

    key: str
    trigger: str
    pipeline: str
    at: str
    noted_at: str
    what: str
    by: str
    state: FiringState
    run: str
    run_state: RunStateName | None
    problem: str


class Moment(Document):
    """A moment in UTC, and as the clock of the trigger's time zone shows it."""

    at: str
    local: str


class Trigger(Document):
    """What makes a pipeline run by itself. ``declared`` is its entry under ``on:``; ``text`` says it in words.

    ``failed`` is what cannot be read, or whose last run could not begin: ``reason`` says why. ``next`` is null where
    that cannot be known, and while it is paused.
    """

    id: str
    kind: str
    text: str
    pipeline: str
    declared: dict[str, Any]
    concurrency: int | None
    state: Literal["active", "paused", "failed"]
    reason: str
    next: Moment | None
    last: Firing | None
    waiting: int


class Unread(Document):
    """A pipeline file whose triggers cannot be read as it is now, and why."""

    pipeline: str
    problem: str


class TriggerPage(Document):
    """Triggers by pipeline. ``scheduler`` is the process that fires them, null if there is none."""

    items: list[Trigger]
    unread: list[Unread]
    scheduler: str | None


class Parameter(Document):
    """A parameter that a run by this trigger takes, with the JSON Schema of its values."""

    name: str
    accepts: dict[str, Any]
    needed: bool


class TriggerDetail(Document):
    """A trigger with its next moments and what it fired for last, newest first."""

    trigger: Trigger
    upcoming: list[Moment]
    firings: list[Firing]
    parameters: list[Parameter]


class Scheduled(Document):
    """A moment at which a trigger will fire."""

    trigger: str
    pipeline: str
    text: str
    at: str
    local: str


class Schedule(Document):
    """What will fire, soonest first, as far as clocks tell."""

    items: list[Scheduled]


class NewFiring(Document):
    """A run that is asked of a trigger; parameters are values."""

    params: dict[str, Any] = Field(default={}, max_length=200)


class CloudEvent(Document):
    """A CloudEvent in structured JSON; parameters of the run stand in ``data.params``."""

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=500)
    source: str = Field(min_length=1, max_length=500)
    type: str = Field(min_length=1, max_length=500)
    data: Any = None

    model_config = ConfigDict(extra="allow", frozen=True)


class Fired(Document):
    """What an event has made fire: one run for each pipeline that has the webhook."""

    items: list[Firing]
