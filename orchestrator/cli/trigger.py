"""``orc trigger``: what makes pipelines of the project one stands in run by themselves."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.triggers import Known, Triggers
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import iso, local_time, note, table, write, write_json
from orchestrator.cli.trigger_documents import FiringItem, TriggerDocument, TriggerItem
from orchestrator.errors import ConfigError, NotFound
from orchestrator.triggers.queue import Firing

_YEARS_S, _NEXT, _SHOWN = 10 * 366 * 86400.0, 5, 10


class Action(Enum):
    """What to do."""

    LIST = "list"
    SHOW = "show"
    FIRE = "fire"
    PAUSE = "pause"
    RESUME = "resume"


def trigger(
    action: Annotated[Action, typer.Argument(metavar="list|show|fire|pause|resume")] = Action.LIST,
    name: Annotated[
        str, typer.Argument(metavar="TRIGGER", help="its id, a beginning of it, or the name of a webhook")
    ] = "",
    values: Annotated[list[str] | None, typer.Argument(metavar="[PARAMETER=VALUE]...", help="for fire")] = None,
    key: Annotated[str, typer.Option("--key", metavar="TEXT", help="for fire: one key, one run")] = "",
    json: Json = False,
) -> int:
    """List what makes pipelines under configs/ run by themselves, show one with its next moments, or act on it.

    Runs are begun by orc up, where it was started in the same directory; what is asked for waits until then.
    """
    here = Installation()
    triggers = Triggers(here, Path.cwd(), ask_code=True)
    if action is Action.LIST:
        if name:
            raise ConfigError("orc trigger list takes no trigger; orc trigger show TRIGGER shows one")
        return _list(here, triggers, json)
    if not name:
        raise ConfigError(f"write: orc trigger {action.value} TRIGGER")
    if (values or key) and action is not Action.FIRE:
        raise ConfigError(f"orc trigger {action.value} takes no parameters and no key")
    if action is Action.FIRE:
        firing = triggers.fire(name, triggers.values_of(name, _texts(values or ())), key or secrets.token_hex(8))
        note(f"{firing.trigger}: a run is asked for{_when(triggers)}")
    elif action is Action.PAUSE:
        note(f"{triggers.pause(name, getpass.getuser()).id} is paused")
    elif action is Action.RESUME:
        note(f"{triggers.resume(name).id} goes on from now{_when(triggers)}")
    return _show(here, triggers, name, json, whole=action is Action.SHOW)


def _when(triggers: Triggers) -> str:
    return "" if triggers.scheduler() else "; nothing fires before orc up is started here"


def _texts(written: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in written]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigError("parameters are written PARAMETER=VALUE")
    return {name: value for name, _, value in pairs}


def _list(here: Installation, triggers: Triggers, json: bool) -> int:
    known = triggers.list()
    for pipeline in triggers.pipelines():
        if pipeline.problem:
            note(f"{pipeline.name}: what it declares cannot be read: {pipeline.problem}")
    if json:
        write_json([_item(here, one) for one in known])
        return ExitCode.OK
    if not known:
        write("no pipeline under configs/ runs by itself: write @pipeline(on=[cron(…)]), or on: in its file")
        return ExitCode.OK
    rows = [
        (one.id, one.state, one.trigger.text, _next(here, one), _last(here, one.firings[0]) if one.firings else "-")
        for one in known
    ]
    write(table(("trigger", "state", "fires", "next", "last"), rows))
    if not triggers.scheduler():
        note("nothing fires now: start orc up here")
    return ExitCode.OK


def _show(here: Installation, triggers: Triggers, name: str, json: bool, whole: bool) -> int:
    one = triggers.find(name)
    if json:
        now = here.clock.now()
        upcoming = [iso(at) or "" for at in one.upcoming(now, now + _YEARS_S, _NEXT)]
        firings = [_firing(here, firing) for firing in one.firings]
        write_json(TriggerDocument(_item(here, one), upcoming, firings, triggers.scheduler()))
    elif whole:
        _tell(here, one)
    return ExitCode.OK


def _tell(here: Installation, one: Known) -> None:
    now = here.clock.now()
    limit = f", at most {one.pipeline.concurrency} at once" if one.pipeline.concurrency else ""
    write(f"{one.id}  {one.state}  runs {one.pipeline.name}{limit}")
    write(f"fires: {one.trigger.text}")
    if one.reason:
        write(f"because: {one.reason}")
    for at in one.upcoming(now, now + _YEARS_S, _NEXT):
        write(f"  next {_shown(one, at)}")
    rows = [(local_time(firing.at), firing.what, firing.by or "-", _last(here, firing), firing.problem)
            for firing in one.firings[:_SHOWN]]  # fmt: skip
    write(table(("fired", "for", "by", "run", "problem"), rows) if rows else "it has not fired yet")


def _item(here: Installation, one: Known) -> TriggerItem:
    now = here.clock.now()
    following = one.upcoming(now, now + _YEARS_S, 1)
    return TriggerItem(
        one.id, one.trigger.kind, one.trigger.text, one.pipeline.name, dict(one.trigger.document()),
        one.pipeline.concurrency, one.state, one.reason, iso(following[0]) if following else None,
    )  # fmt: skip


def _firing(here: Installation, one: Firing) -> FiringItem:
    return FiringItem(one.key, iso(one.at) or "", one.what, one.by, one.state, one.run, _state(here, one), one.problem)


def _state(here: Installation, one: Firing) -> str | None:
    if not one.run or one.ended:
        return one.ended or None
    try:
        return here.journal.run(one.run).state
    except NotFound:
        return None


def _last(here: Installation, one: Firing) -> str:
    state = _state(here, one)
    return f"{one.run} {state or 'removed'}" if one.run else one.state


def _next(here: Installation, one: Known) -> str:
    now = here.clock.now()
    following = one.upcoming(now, now + _YEARS_S, 1)
    return _shown(one, following[0]) if following else "-"


def _shown(one: Known, at: float) -> str:
    """A moment in the zone of its trigger, and in UTC."""
    there = datetime.fromtimestamp(at, ZoneInfo(one.trigger.zone) if one.trigger.zone else UTC)
    utc = datetime.fromtimestamp(at, UTC)
    return f"{there:%Y-%m-%d %H:%M:%S %Z}" if one.trigger.zone in ("", "UTC") else (
        f"{there:%Y-%m-%d %H:%M:%S %Z} ({utc:%H:%M:%S} UTC)")  # fmt: skip
