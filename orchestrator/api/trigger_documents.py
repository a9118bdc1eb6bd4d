"""Documents about triggers, from what is declared and what is noted of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from orchestrator.api import trigger_schemas as s
from orchestrator.api.describing import iso
from orchestrator.api.pages import run_url
from orchestrator.api.place import Place
from orchestrator.app.triggers import Known, Triggers, Upcoming
from orchestrator.errors import NotFound
from orchestrator.triggers.queue import Firing
from orchestrator.views.upcoming import Mark, Row, upcoming_svg

YEARS_S = 10 * 366 * 86400.0
NEXT = 10
BEFORE_S, AFTER_S = 6 * 3600.0, 18 * 3600.0
MOST_MARKS = 400


def page_of(place: Place, triggers: Triggers) -> s.TriggerPage:
    """All triggers of the project."""
    unread = [s.Unread(pipeline=one.name, problem=one.problem) for one in triggers.pipelines() if one.problem]
    items = [trigger_of(place, one) for one in triggers.list()]
    return s.TriggerPage(items=items, unread=unread, scheduler=triggers.scheduler())


def trigger_of(place: Place, one: Known) -> s.Trigger:
    """A trigger."""
    now = place.here.clock.now()
    following = one.upcoming(now, now + YEARS_S, 1)
    return s.Trigger(
        id=one.id, kind=one.trigger.kind, text=one.trigger.text, pipeline=one.pipeline.name,
        declared=dict(one.trigger.document()), concurrency=one.pipeline.concurrency, state=one.state,
        reason=one.reason, next=moment_of(one, following[0]) if following else None,
        last=firing_of(place, one.firings[0]) if one.firings else None,
        waiting=sum(firing.state == "waiting" for firing in one.firings),
    )  # fmt: skip


def detail_of(place: Place, one: Known) -> s.TriggerDetail:
    """A trigger with its next moments and last firings."""
    now = place.here.clock.now()
    return s.TriggerDetail(
        trigger=trigger_of(place, one),
        upcoming=[moment_of(one, at) for at in one.upcoming(now, now + YEARS_S, NEXT)],
        firings=[firing_of(place, firing) for firing in one.firings],
        parameters=[s.Parameter(name=taken.name, accepts=taken.accepts, needed=taken.needed)
                    for taken in one.pipeline.takes or ()],
    )  # fmt: skip


def firing_of(place: Place, firing: Firing) -> s.Firing:
    """A firing, with the state in which its run is now."""
    return s.Firing.model_validate(
        {
            "key": firing.key, "trigger": firing.trigger, "pipeline": firing.pipeline, "at": iso(firing.at),
            "noted_at": iso(firing.noted_at), "what": firing.what, "by": firing.by, "state": firing.state,
            "run": firing.run, "run_state": _run_state(place, firing), "problem": firing.problem,
        }
    )  # fmt: skip


def _run_state(place: Place, firing: Firing) -> str | None:
    if not firing.run or firing.ended:
        return firing.ended or None
    try:
        return place.here.journal.run(firing.run).state
    except NotFound:
        return None


def scheduled_of(one: Upcoming) -> s.Scheduled:
    """A moment of a schedule."""
    at = moment_of(one.known, one.at)
    return s.Scheduled(trigger=one.known.id, pipeline=one.known.pipeline.name, text=one.known.trigger.text, at=at.at,
                       local=at.local)  # fmt: skip


def moment_of(one: Known, at: float) -> s.Moment:
    """A moment in UTC and in the zone of the trigger."""
    zone = ZoneInfo(one.trigger.zone) if one.trigger.zone else UTC
    return s.Moment(at=iso(at) or "", local=datetime.fromtimestamp(at, zone).isoformat(timespec="seconds"))


def timeline_of(place: Place, triggers: Triggers, link: Callable[[str], str]) -> str:
    """What fired in the last hours, and what will in the next ones, as a drawing; empty if there is no trigger."""
    now = place.here.clock.now()
    rows = []
    for one in triggers.list():
        fired = [
            Mark(firing.at, _look(place, firing), f"{firing.what}: {_said(place, firing)}",
                 run_url(firing.run) if firing.run else "")
            for firing in one.firings if firing.at >= now - BEFORE_S
        ]  # fmt: skip
        due = one.upcoming(now, now + AFTER_S, MOST_MARKS)
        told = [Mark(at, "", f"will fire at {moment_of(one, at).local}") for at in due]
        rests = "paused, " if one.state == "paused" else ""
        label = f"{rests}{one.pipeline.name}: {one.trigger.text}"
        rows.append(Row(label, link(one.id), [*fired, *told], len(due) == MOST_MARKS))
    return upcoming_svg(rows, now - BEFORE_S, now, now + AFTER_S) if rows else ""


def _look(place: Place, firing: Firing) -> str:
    state = _run_state(place, firing)
    if state is None:
        return {"given up": "failed", "waiting": "waiting"}.get(firing.state, "pending")
    return "pending" if state == "queued" else state


def _said(place: Place, firing: Firing) -> str:
    state = _run_state(place, firing)
    return f"run {firing.run} {state}" if state else firing.state
