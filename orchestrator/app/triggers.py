"""The triggers of a project as people and programs see them: what is declared, has fired and will; and asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from blake3 import blake3

from orchestrator.app.asking import Asked, Asking, Pause
from orchestrator.app.declared import Declared, Triggered, Watched
from orchestrator.app.installation import Installation
from orchestrator.app.launching import Taken
from orchestrator.app.reading import kept_totals
from orchestrator.app.triggering import TriggerTotals, reader_name
from orchestrator.config.document import parse_value
from orchestrator.config.suggestion import did_you_mean, meant_or_known
from orchestrator.errors import ConfigError, NotFound, RunError
from orchestrator.ports.triggers import Trigger
from orchestrator.triggers.kinds.webhook import Webhook
from orchestrator.triggers.queue import BY_HAND, Firing

WEBHOOK = "webhook"

MOST_WAITING = 1000
"""Firings of a trigger that may wait because somebody asked for them."""

TriggerState = Literal["active", "paused", "failed"]


@dataclass(frozen=True, slots=True)
class Known:
    """A trigger.

    Attributes:
        firings: What it fired for last, newest first.
        reason: Why it is ``failed``, or who paused it.
    """

    id: str
    trigger: Trigger
    pipeline: Triggered
    state: TriggerState
    reason: str
    firings: tuple[Firing, ...]
    pause: Pause | None

    def upcoming(self, after: float, until: float, most: int) -> Sequence[float]:
        """Moments at which it will fire; none while it rests."""
        return () if self.state == "paused" else self.trigger.upcoming(after, until, most)


class Upcoming(NamedTuple):
    """A moment at which a trigger will fire."""

    at: float
    known: Known


class Triggers:
    """The triggers of a project.

    Args:
        ask_code: The project's code is asked what it declares, by a process of its own; else what it said last counts.
    """

    def __init__(self, here: Installation, project: Path, ask_code: bool = False) -> None:
        self._here = here
        self._project = project
        self._asking = Asking(here, project)
        declared = Declared(here, project)
        self._declared: Callable[[], Sequence[Triggered]] = declared.read if ask_code else declared.known

    def pipelines(self) -> Sequence[Triggered]:
        """Pipelines of the project, also those that nothing fires."""
        return self._declared()

    def list(self) -> list[Known]:
        """All of them, by pipeline."""
        totals, pauses = self._totals(), self._asking.paused()
        return [
            _known(one, pipeline, totals, pauses.get(one.id))
            for pipeline in self._declared()
            for one in pipeline.triggers
        ]

    def find(self, name: str) -> Known:
        """One of them, by its id, a unique beginning of it, or the name of a webhook that one pipeline has.

        Raises:
            NotFound: there is no such trigger, or more than one.
        """
        known = self.list()
        found = [one for one in known if one.id == name] or [one for one in known if one.id.startswith(name)]
        found = found or _hooked(known, name)
        if len(found) != 1:
            ids = sorted(one.id for one in found or known)
            what = "more than one trigger" if found else "no trigger"
            hint = f": {', '.join(ids)}" if found else did_you_mean(name, ids)
            raise NotFound(f"there is {what} {name!r}{hint}; orc trigger list shows them")
        return found[0]

    def upcoming(self, hours: float, most: int) -> Sequence[Upcoming]:
        """What will fire within so many hours, soonest first."""
        now = self._here.clock.now()
        found = [
            Upcoming(at, one) for one in self.list() for at in one.upcoming(now, now + 3600.0 * hours, most)
        ]  # fmt: skip
        return sorted(found, key=lambda one: (one.at, one.known.id))[:most]

    def scheduler(self) -> str | None:
        """The process that fires them; None if there is none."""
        from orchestrator.store.lock import holder

        return holder(self._here.settings.locks_dir / f"reader-{reader_name(self._project)}.lock")

    def values_of(self, name: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """Parameters for a trigger as somebody wrote them: text stays text where it is wanted, and is YAML elsewhere.

        Raises:
            NotFound: there is no such trigger.
            ConfigError: a text is no value.
        """
        accepts = {one.name: one.accepts for one in self.find(name).pipeline.takes or ()}
        return {parameter: _value(parameter, text, accepts.get(parameter, {})) for parameter, text in texts.items()}

    # ---- asking

    def fire(self, name: str, values: Mapping[str, Any], key: str) -> Firing:
        """Ask for a run by hand; also while the trigger rests. With a key that came before, the same one.

        Raises:
            NotFound: there is no such trigger.
            ConfigError: the pipeline does not take these values; names the first.
            RunError: the key came with other values.
        """
        known = self.find(name)
        return self._ask(known, f"{known.id}/{BY_HAND}/{_digest(key)}", values, "fired by hand", BY_HAND)

    def deliver(self, hook: str, values: Mapping[str, Any], key: str, what: str) -> Sequence[Firing]:
        """An event for a webhook: every pipeline that has it gets a run. With a key that came before, the same ones.

        Raises:
            NotFound: no pipeline has such a webhook.
            ConfigError: a pipeline does not take these values; names the first.
            RunError: the trigger rests, or the key came with other values.
        """
        known = self.list()
        hooked = _hooked(known, hook)
        if not hooked:
            names = sorted({one.trigger.name for one in known if isinstance(one.trigger, Webhook)})
            raise NotFound(f"no pipeline has a webhook {hook!r}{did_you_mean(hook, names)}")
        for one in hooked:
            _check_values(one.pipeline, values)
            if one.state == "paused":
                raise RunError(f"trigger {one.id} is paused; resume it, then send the event again: {one.reason}")
        return [self._ask(one, f"{one.id}/{_digest(key)}", values, what, WEBHOOK) for one in hooked]

    def pause(self, name: str, by: str) -> Known:
        """Let a trigger rest: it begins no runs by itself, and what happens meanwhile is not made up for."""
        self._asking.pause(self.find(name).id, by)
        return self.find(name)

    def resume(self, name: str) -> Known:
        """Let a trigger go on from now."""
        self._asking.resume(self.find(name).id)
        return self.find(name)

    def _ask(self, known: Known, key: str, values: Mapping[str, Any], what: str, by: str) -> Firing:
        _check_values(known.pipeline, values)
        now, given = self._here.clock.now(), dict(values)
        firing = Firing(key, known.id, known.pipeline.name, now, now, what, by, given)
        asked = [one for one in self._asking.waiting() if one.trigger == known.id]
        before = next((one for one in asked if one.key == key), None)
        noted = next((one for one in self._totals().firings if one.key == key), None)
        for one in (before, noted):
            if one is not None and one.values != given:
                raise RunError("this Idempotency-Key came with other values before; choose a new one")
        if noted is not None:
            return noted
        if before is not None:
            return replace(firing, at=before.at, noted_at=before.at)
        waiting = sum(one.state == "waiting" for one in known.firings) + len(asked)
        if waiting >= MOST_WAITING:
            raise RunError(f"{waiting} firings of {known.id} wait for their turn already; ask again later")
        self._asking.ask(Asked(key, known.id, known.pipeline.name, now, what, by, given))
        return firing

    def _totals(self) -> TriggerTotals:
        totals = kept_totals(self._here, reader_name(self._project))
        return TriggerTotals() if totals is None else msgspec.convert(totals, TriggerTotals)


def _known(one: Watched, pipeline: Triggered, totals: TriggerTotals, pause: Pause | None) -> Known:
    firings = tuple(firing for firing in reversed(totals.firings) if firing.trigger == one.id)
    latest = firings[0] if firings else None
    rests = pause is not None and pause.rests
    reason = pipeline.problem or totals.problems.get(one.id, "")
    if not reason and latest is not None and latest.state in ("waiting", "given up"):
        reason = latest.problem
    if rests and pause is not None:
        said = f"paused by {pause.by}" if pause.by else "paused"
        return Known(one.id, one.trigger, pipeline, "paused", said, firings, pause)
    return Known(one.id, one.trigger, pipeline, "failed" if reason else "active", reason, firings, pause)


def _hooked(known: Sequence[Known], name: str) -> list[Known]:
    return [one for one in known if isinstance(one.trigger, Webhook) and one.trigger.name == name]


def _digest(key: str) -> str:
    return blake3(key.encode()).hexdigest()[:32]


def _check_values(pipeline: Triggered, values: Mapping[str, Any]) -> None:
    """Raises ConfigError if a pipeline does not take these values; names the parameter."""
    if pipeline.takes is None:
        raise ConfigError(f"{pipeline.name}: its parameters are not known: {pipeline.problem}")
    takes = {one.name: one for one in pipeline.takes}
    for name, value in values.items():
        if name not in takes:
            raise ConfigError(f"params.{name}: {pipeline.name} has no parameter {name!r}{meant_or_known(name, takes)}")
        _check(takes[name], value)
    for one in pipeline.takes:
        if one.needed and one.name not in values:
            raise ConfigError(f"params.{one.name}: {pipeline.name} needs a value for it")


def _value(name: str, text: str, accepts: Mapping[str, Any]) -> Any:
    kinds = {one.get("type") for one in accepts.get("anyOf", [accepts])}
    if kinds - {"null"} == {"string"}:
        return None if "null" in kinds and text == "null" else text
    try:
        return parse_value(text)
    except ConfigError as error:
        raise ConfigError(f"params.{name}: {text!r} is no value: {error.message.partition(': ')[2]}") from None


def _check(taken: Taken, value: Any) -> None:
    from jsonschema import Draft202012Validator

    found = next(Draft202012Validator(taken.accepts).iter_errors(value), None)
    if found is not None:
        where = ".".join(str(part) for part in ("params", taken.name, *found.absolute_path))
        raise ConfigError(f"{where}: {found.message[:300]}")
