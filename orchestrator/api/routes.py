"""Routes of ``/api/v1``: runs, their nodes, steps, items, reasons, logs, outputs, drawings and events; actions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

import orchestrator
from orchestrator.api import schemas as s
from orchestrator.api.describing import detail_of, iso, item_of, nodes_of, reasons, run_of
from orchestrator.api.forks import fork_of
from orchestrator.api.outputs import image_of, output_of
from orchestrator.api.pictures import graph_of, timeline_of
from orchestrator.api.place import Place, RunFilter, document, number_cursor, page, tagged
from orchestrator.api.problems import MEDIA_TYPE
from orchestrator.api.step_waiting import whole_step
from orchestrator.app.models import Models

PREFIX = "/api/v1"

RunId = Annotated[str, Path(max_length=300, description="a run's id, or a unique beginning of it")]
Address = Annotated[str, Path(max_length=1000, description="scope/name#2 or scope/name#2[7]")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]
Text = Annotated[str, Query(max_length=200)]
Parts = Annotated[list[str], Query(alias="part", max_length=10, description="names that lead to a part of the output")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", description="required; a random one for each request")]
ItemState = Literal["", "pending", "succeeded", "failed", "skipped", "dropped", "retrying", "waiting"]

PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {"description": "Refused or failed", "content": {MEDIA_TYPE: {"schema": s.Problem.model_json_schema()}}}
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
SVG: dict[int | str, dict[str, Any]] = {
    200: {"description": "A drawing", "content": {"image/svg+xml": {"schema": {"type": "string"}}}}
}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A picture", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


def router(place: Place) -> APIRouter:
    """All routes of the API."""
    routes = APIRouter(prefix=PREFIX, responses=PROBLEM)
    _add_runs(routes, place)
    _add_graph(routes, place)
    _add_steps(routes, place)
    _add_outputs(routes, place)
    _add_actions(routes, place)
    return routes


def _add_runs(routes: APIRouter, place: Place) -> None:
    @routes.get("", response_model=s.About, tags=["server"])
    def about(request: Request) -> Response:
        """The server and what it reads."""
        settings = place.here.settings
        return document(request, s.About(
            name="ray-orchestrator", version=orchestrator.__version__, home=str(settings.home),
            store=settings.journal_label, artifacts=settings.artifacts_label,
        ))  # fmt: skip

    @routes.get("/runs", response_model=s.RunPage, tags=["runs"])
    def runs(
        request: Request,
        pipeline: Text = "",
        state: s.RunStateName | None = None,
        q: Annotated[str, Query(max_length=200, description="in the id, the pipeline or a tag")] = "",
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> Response:
        """Runs, newest first."""
        rows, following = place.runs(RunFilter(pipeline, state or "", q), cursor, limit)
        items = [run_of(row, place.driver(row)) for row in rows]
        return document(request, s.RunPage(items=items, next=following))

    @routes.get("/runs/events", responses=EVENTS, response_class=StreamingResponse, tags=["runs"])
    async def runs_events(last_event_id: Annotated[str, Header(max_length=100)] = "") -> StreamingResponse:
        """An event `runs` whenever something about the newest runs has changed."""
        return streaming(place.streams.runs(last_event_id))

    @routes.get("/runs/{run}", response_model=s.RunDetail, tags=["runs"])
    def one_run(request: Request, run: RunId) -> Response:
        """One run."""
        with place.records.reading(run) as record:
            return document(request, detail_of(record))

    @routes.get("/runs/{run}/events", responses=EVENTS, response_class=StreamingResponse, tags=["runs"])
    async def events(
        run: RunId,
        after: Annotated[int, Query(ge=0, description="only facts with a greater number")] = 0,
        last_event_id: Annotated[str | None, Header(max_length=20)] = None,
    ) -> StreamingResponse:
        """Facts of a run as events `fact`, as they come; `state` when its state or driver changes, `end` at its end."""
        name = place.here.journal.run(run).id
        return streaming(place.streams.run(name, number_cursor(last_event_id) if last_event_id else after))


def _add_graph(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}/nodes", response_model=s.NodePage, tags=["runs"])
    def nodes(
        request: Request,
        run: RunId,
        state: s.StepStateName | None = None,
        control: Annotated[bool, Query(description="wiring too: branches, choices")] = False,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> Response:
        """Nodes of a run in the order of the graph; a map is one node."""
        with place.records.reading(run) as record:
            found = [node for node in nodes_of(record, control) if state in (None, node.state)]
        items, following = page(found, number_cursor(cursor), limit)
        return document(request, s.NodePage(items=items, next=following))

    @routes.get("/runs/{run}/graph.svg", responses=SVG, response_class=Response, tags=["runs"])
    def graph(request: Request, run: RunId) -> Response:
        """The graph with the state of each node."""
        with place.records.reading(run) as record:
            return tagged(request, graph_of(record, None).encode(), "image/svg+xml")

    @routes.get("/runs/{run}/timeline.svg", responses=SVG, response_class=Response, tags=["runs"])
    def timeline(request: Request, run: RunId) -> Response:
        """When each node waited and ran."""
        with place.records.reading(run) as record:
            return tagged(request, timeline_of(record, nodes_of(record), None).encode(), "image/svg+xml")


def _add_steps(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}/steps/{address:path}", response_model=s.StepDetail, tags=["steps"])
    def step(request: Request, run: RunId, address: Address) -> Response:
        """One step, or all steps of a map."""
        with place.records.reading(run) as record:
            return document(request, whole_step(record, *record.find(address)))

    @routes.get("/runs/{run}/items/{address:path}", response_model=s.ItemPage, tags=["steps"])
    def items(
        request: Request, run: RunId, address: Address, state: ItemState = "", cursor: Cursor = None, limit: Limit = 100
    ) -> Response:
        """Steps of a node by index."""
        with place.records.reading(run) as record:
            node, _ = record.find(address)
            found = record.indexes(node, state, number_cursor(cursor) - 1, limit + 1)
            shown = [item_of(item) for item in record.page(node, found[:limit])]
            following = str(found[limit]) if len(found) > limit else None
            return document(request, s.ItemPage(items=shown, next=following, total=node.length))

    @routes.get("/runs/{run}/reasons/{address:path}", response_model=s.ReasonPage, tags=["steps"])
    def why(request: Request, run: RunId, address: Address) -> Response:
        """Why a step ran, waited, was reused, repeated or failed."""
        with place.records.reading(run) as record:
            node, index = record.find(address)
            found = reasons(record, node.node.id, index)
            return document(request, s.ReasonPage(run=record.row.id, address=address, items=found))

    @routes.get("/runs/{run}/logs/{address:path}", responses=_TEXT, response_class=Response, tags=["steps"])
    def logs(request: Request, run: RunId, address: Address) -> Response:
        """What a step wrote to its standard streams."""
        with place.records.reading(run) as record:
            text = place.logs(record, *record.find(address))
        return tagged(request, text.encode(), "text/plain; charset=utf-8")


def _add_outputs(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}/outputs/{address:path}", response_model=s.Output, tags=["outputs"])
    def output(request: Request, run: RunId, address: Address, parts: Parts = []) -> Response:  # noqa: B006 (FastAPI copies it)
        """What a step gave, as far as it can be shown without running code."""
        with place.records.reading(run) as record:
            return document(request, output_of(place, record, address, parts))

    @routes.get("/runs/{run}/images/{address:path}", responses=_IMAGE, response_class=Response, tags=["outputs"])
    def image(request: Request, run: RunId, address: Address, parts: Parts = []) -> Response:  # noqa: B006
        """The picture that a step gave."""
        with place.records.reading(run) as record:
            found = image_of(place, record, address, parts)
        return tagged(request, found.data, found.media_type)

    @routes.get("/models", response_model=s.ModelPage, tags=["models"])
    def models(request: Request, name: Text = "") -> Response:
        """Versions of models, and where each stands."""
        return document(request, s.ModelPage(items=model_versions(place, name)))


def model_versions(place: Place, name: str = "") -> list[s.ModelVersion]:
    """Versions of models by name, newest first."""
    return [
        s.ModelVersion(
            name=one.row.name, version=one.row.number, stage=one.stage, tags=list(one.row.tags), digest=one.row.digest,
            run=one.row.run, step=one.row.node, at=iso(one.row.at) or "",
        )
        for one in Models(place.here).list(name or None)
    ]  # fmt: skip


def _add_actions(routes: APIRouter, place: Place) -> None:
    @routes.post("/runs/{run}/cancel", response_model=s.Accepted, status_code=202, tags=["actions"])
    def cancel(run: RunId, body: s.Cancel, key: Key = None) -> s.Accepted:
        """Ask for a run to end; one without a driver ends when it is resumed."""
        return place.actions.cancel(run, body.reason, key)

    @routes.post("/runs/{run}/resume", response_model=s.Accepted, status_code=202, tags=["actions"])
    def resume(run: RunId, body: s.Resume, key: Key = None) -> s.Accepted:
        """Start a driver for a run that nobody drives, in a process of its own."""
        return place.actions.resume(run, key)

    @routes.post("/runs/{run}/fork", response_model=s.Accepted, status_code=202, tags=["actions"])
    def fork(run: RunId, body: s.Fork, key: Key = None) -> s.Accepted:
        """Start a new run that does a step, and what depends on it, again, in a process of its own."""
        return fork_of(place, run, body, key)

    @routes.post("/runs/{run}/answers", response_model=s.Accepted, status_code=202, tags=["actions"])
    def answer(run: RunId, body: s.Answer, key: Key = None) -> s.Accepted:
        """Answer a step that waits for a person or a program."""
        return place.actions.answer(run, body, key)


def streaming(events: Any) -> StreamingResponse:
    """Events as they come, kept by nobody on the way."""
    return StreamingResponse(
        events, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
