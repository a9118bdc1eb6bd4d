"""Triggers: routes of ``/api/v1`` and pages. They show what is declared, has fired and will; actions ask for more."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import quote

import pydantic
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response, StreamingResponse

from orchestrator.api import trigger_schemas as s
from orchestrator.api.forms import FIELD, fields_of, form_key, form_of
from orchestrator.api.idempotency import Answers, check_key
from orchestrator.api.pages import run_url, show
from orchestrator.api.pipelines import pipeline_url
from orchestrator.api.place import Place, document
from orchestrator.api.problems import Refused
from orchestrator.api.routes import EVENTS, PREFIX, PROBLEM, Key, streaming
from orchestrator.api.schemas import Accepted
from orchestrator.api.trigger_documents import detail_of, firing_of, page_of, scheduled_of, timeline_of
from orchestrator.app.triggers import Triggers

CLOUD_EVENTS = "application/cloudevents+json"
MOST_BYTES = 2**20
UPCOMING_HOURS, MOST_UPCOMING = 24.0, 500

_POLL_S = 1.0

TriggerId = Annotated[str, Path(max_length=300, description="id of a trigger, or a unique beginning of it")]
Hook = Annotated[str, Path(max_length=100, description="name of a webhook")]

_BODY = {
    "requestBody": {
        "content": {
            "application/json": {"schema": s.NewFiring.model_json_schema()},
            CLOUD_EVENTS: {"schema": s.CloudEvent.model_json_schema()},
        }
    }
}


def router(place: Place) -> APIRouter:
    """Routes and pages of triggers."""
    routes = APIRouter(responses=PROBLEM)
    triggers = Triggers(place.here, place.project)
    _add_reads(routes, place, triggers)
    _add_actions(routes, place, triggers)
    _add_pages(routes, place, triggers)
    return routes


def _add_reads(routes: APIRouter, place: Place, triggers: Triggers) -> None:
    def seen() -> bytes:
        return blake2b(page_of(place, triggers).model_dump_json().encode(), digest_size=8).hexdigest().encode()

    @routes.get(f"{PREFIX}/triggers", response_model=s.TriggerPage, tags=["triggers"])
    def all_triggers(request: Request) -> Response:
        """What makes pipelines of the project run by themselves."""
        return document(request, page_of(place, triggers))

    @routes.get(f"{PREFIX}/schedules", response_model=s.Schedule, tags=["triggers"])
    def schedules(
        request: Request,
        hours: Annotated[float, Query(gt=0, le=24 * 366)] = UPCOMING_HOURS,
        limit: Annotated[int, Query(ge=1, le=MOST_UPCOMING)] = 100,
    ) -> Response:
        """What will fire within so many hours, soonest first; what waits for events is not in it."""
        return document(request, s.Schedule(items=[scheduled_of(one) for one in triggers.upcoming(hours, limit)]))

    @routes.get(f"{PREFIX}/triggers/events", responses=EVENTS, response_class=StreamingResponse, tags=["triggers"])
    async def events(last_event_id: Annotated[str, Header(max_length=100)] = "") -> StreamingResponse:
        """An event `triggers` whenever something about them has changed."""
        return streaming(place.streams.changes("triggers", seen, _POLL_S, last_event_id))

    @routes.get(f"{PREFIX}/triggers/{{trigger}}", response_model=s.TriggerDetail, tags=["triggers"])
    def one_trigger(request: Request, trigger: TriggerId) -> Response:
        """One trigger: its next moments, and what it fired for."""
        return document(request, detail_of(place, triggers.find(trigger)))


def _add_actions(routes: APIRouter, place: Place, triggers: Triggers) -> None:
    answers = Answers(place.here.settings.home / "requests")

    def rest(trigger: str, action: str, key: str | None) -> Accepted:
        return _rest(triggers, answers, trigger, action, key)

    @routes.post(f"{PREFIX}/triggers/{{trigger}}/fire", response_model=Accepted, status_code=202, tags=["actions"])
    def fire(trigger: TriggerId, body: s.NewFiring, key: Key = None) -> Accepted:
        """Ask for a run by hand, also of a trigger that is paused; it begins when it is its turn."""
        return _fire(triggers, answers, trigger, body.params, key)

    @routes.post(f"{PREFIX}/triggers/{{trigger}}/pause", response_model=Accepted, status_code=202, tags=["actions"])
    def pause(trigger: TriggerId, key: Key = None) -> Accepted:
        """Let a trigger rest: what happens until it is resumed is not made up for."""
        return rest(trigger, "pause", key)

    @routes.post(f"{PREFIX}/triggers/{{trigger}}/resume", response_model=Accepted, status_code=202, tags=["actions"])
    def resume(trigger: TriggerId, key: Key = None) -> Accepted:
        """Let a trigger go on from now."""
        return rest(trigger, "resume", key)

    @routes.post(
        f"{PREFIX}/triggers/{{name}}/events", response_model=s.Fired, status_code=202, tags=["actions"],
        openapi_extra=_BODY,
    )  # fmt: skip
    async def deliver(request: Request, name: Hook, key: Key = None) -> s.Fired:
        """An event for a webhook, as JSON with `params` or as a CloudEvent, whose source and id are its key."""
        values, known, what = _event(request.headers.get("content-type", ""), await _body(request), key)
        found = await run_in_threadpool(triggers.deliver, name, values, known, what)
        return s.Fired(items=[firing_of(place, one) for one in found])


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MOST_BYTES:
            raise Refused(413, f"an event has at most {MOST_BYTES:,} bytes")
    return bytes(found)


def _event(media_type: str, body: bytes, key: str | None) -> tuple[Mapping[str, Any], str, str]:
    """Parameters, key and description of an event; raises RequestValidationError, ConfigError."""
    try:
        if media_type.partition(";")[0].strip().lower() != CLOUD_EVENTS:
            values = s.NewFiring.model_validate_json(body or b"{}").params
            return values, check_key(key), "an event"
        event = s.CloudEvent.model_validate_json(body)
        given = event.data.get("params", {}) if isinstance(event.data, dict) else {}
        values = s.NewFiring.model_validate({"params": given}).params
    except pydantic.ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
    told = f"{event.type} {event.id} from {event.source}"
    return values, json.dumps([event.source, event.id]), "".join(c if c.isprintable() else " " for c in told)[:300]


def _fire(
    triggers: Triggers, answers: Answers, trigger: str, values: Mapping[str, Any], key: str | None
) -> Accepted:  # fmt: skip
    def act() -> Accepted:
        firing = triggers.fire(trigger, values, key or "")
        return Accepted(run=firing.run, action="fire", step=firing.trigger, driver=triggers.scheduler())

    return answers.once(key, json.dumps(["fire", trigger, values], sort_keys=True), act)


def _rest(triggers: Triggers, answers: Answers, trigger: str, action: str, key: str | None) -> Accepted:
    def act() -> Accepted:
        known = triggers.pause(trigger, "") if action == "pause" else triggers.resume(trigger)
        told = {"run": "", "action": action, "step": known.id, "driver": triggers.scheduler()}
        return Accepted.model_validate(told)

    return answers.once(key, json.dumps([action, trigger]), act)


# ---- pages


def _add_pages(routes: APIRouter, place: Place, triggers: Triggers) -> None:
    answers = Answers(place.here.settings.home / "requests")

    @routes.get("/triggers", include_in_schema=False)
    def list_of_triggers(request: Request) -> Response:
        now = page_of(place, triggers)
        return show(
            request, "triggers.html", now=now, timeline=timeline_of(place, triggers, trigger_url),
            project=str(place.project), state_token=secrets.token_hex(8), **_NAMES,
        )  # fmt: skip

    @routes.get("/triggers/{trigger}", include_in_schema=False)
    def trigger_page(request: Request, trigger: str) -> Response:
        detail = detail_of(place, triggers.find(trigger))
        return show(request, "trigger.html", detail=detail, one=detail.trigger, field=FIELD,
                    state_token=secrets.token_hex(8), **_NAMES)  # fmt: skip

    @routes.post("/triggers/{trigger}/do", include_in_schema=False)
    async def act(request: Request, trigger: str) -> Response:
        given = await form_of(request)
        there = await run_in_threadpool(_act, triggers, answers, trigger, given)
        return RedirectResponse(there, 303)


def _act(triggers: Triggers, answers: Answers, trigger: str, given: Mapping[str, str]) -> str:
    """Do what a form asks; the page to look at then."""
    key, action = form_key(f"/triggers/{trigger}", given), given.get("action", "")
    if action == "fire":
        _fire(triggers, answers, trigger, triggers.values_of(trigger, fields_of(given)), key)
    elif action in ("pause", "resume"):
        _rest(triggers, answers, trigger, action, key)
    else:
        raise Refused(400, f"there is no action {action!r}")
    return trigger_url(trigger) if given.get("from") == "page" else "/triggers"


def trigger_url(trigger: str) -> str:
    """Page of a trigger."""
    return f"/triggers/{quote(trigger, safe='')}"


_NAMES: dict[str, Any] = {"trigger_url": trigger_url, "pipeline_url": pipeline_url, "run_url": run_url}
