"""Pipelines that may be started: their parameters, plans and runs; routes of ``/api/v1`` and pages.

The server imports nothing of a project: a process of its own traces a pipeline, see ``app.launching``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from orchestrator.api import pipeline_schemas as s
from orchestrator.api.forms import FIELD, fields_of, form_key, form_of, state_of, written
from orchestrator.api.pages import Short, run_url, show
from orchestrator.api.pictures import PAGE_NODES
from orchestrator.api.place import Place, document
from orchestrator.api.problems import Refused
from orchestrator.api.routes import PREFIX, PROBLEM, Key
from orchestrator.api.schemas import Accepted
from orchestrator.app.catalog import Catalog, Listed
from orchestrator.app.launching import Inspected
from orchestrator.app.picture import plan_statuses
from orchestrator.engine.plan import Plan, PlannedNode
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.graph.json import graph_from_json
from orchestrator.views.svg import graph_svg

_LOOKS = {"reuse": "cached", "run": "pending", "after": "pending", "skip": "skipped", "wait": "waiting"}

Set = Annotated[
    list[str],
    Query(alias="set", max_length=200, description="NAME=VALUE, as on the command line; may be given several times"),
]


def router(place: Place) -> APIRouter:
    """Routes and pages of pipelines."""
    routes, catalog = APIRouter(), Catalog(place.project)
    _add_reads(routes, place, catalog)
    _add_pages(routes, place, catalog)
    return routes


def _add_reads(routes: APIRouter, place: Place, catalog: Catalog) -> None:
    @routes.get(f"{PREFIX}/pipelines", response_model=s.PipelinePage, tags=["pipelines"], responses=PROBLEM)
    def pipelines(request: Request) -> Response:
        """Pipelines that may be started: files under configs/ of the project, and shipped ones."""
        return document(request, s.PipelinePage(items=[_listed(one) for one in catalog.list()]))

    @routes.get(f"{PREFIX}/plans", response_model=s.Plan, tags=["pipelines"], responses=PROBLEM)
    def plan(
        request: Request,
        pipeline: Annotated[str, Query(max_length=100)],
        given: Set = [],  # noqa: B006 (FastAPI copies it)
    ) -> Response:
        """What a run with these parameters would do and why; a process of its own finds out."""
        return document(request, plan_of(_inspected(place, catalog, pipeline, _pairs(given))))

    @routes.post(f"{PREFIX}/runs", response_model=Accepted, status_code=202, tags=["actions"], responses=PROBLEM)
    def start(body: s.NewRun, key: Key = None) -> Accepted:
        """Run a pipeline, driven by a process of its own; answers with the run."""
        values = {name: written(value) for name, value in body.params.items()}
        return place.launches.start(str(catalog[body.pipeline].file), values, body.tags, body.on, key)


def _listed(one: Listed) -> s.Pipeline:
    return s.Pipeline(
        name=one.name, file=str(one.file), shipped=one.shipped, target=one.target,
        params=json.loads(json.dumps(one.params, default=str)), about=one.about, problem=one.problem,
    )  # fmt: skip


def _inspected(place: Place, catalog: Catalog, name: str, values: Mapping[str, str]) -> Inspected:
    return place.launches.inspect(str(catalog[name].file), values)


def plan_of(found: Inspected) -> s.Plan:
    """A plan as a document."""
    nodes = [
        s.PlannedNode.model_validate(
            {"node": one.node, "kind": one.kind, "action": one.action, "steps": one.steps, "reason": one.reason}
        )
        for one in found.nodes
    ]
    return s.Plan(
        pipeline=found.pipeline, about=found.about,
        parameters=[s.Parameter(name=one.name, type=one.type, default=one.default) for one in found.parameters],
        reused=sum(one.steps or 0 for one in nodes if one.action == "reuse"),
        to_run=sum(one.steps or 0 for one in nodes if one.action in ("run", "after")),
        nodes=nodes, code=found.code, problem=found.why,
    )  # fmt: skip


def plan_svg(found: Inspected) -> str:
    """A plan as a drawing; empty if there is none, or it is too large to be seen."""
    if found.graph is None:
        return ""
    graph = graph_from_json(found.graph)
    if len(graph.nodes) > PAGE_NODES:
        return ""
    nodes = tuple(PlannedNode(one.node, one.kind, one.action, one.steps, one.reason) for one in found.nodes)  # type: ignore[arg-type]
    return graph_svg(graph, plan_statuses(Plan(graph, nodes)))


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigError("set= takes NAME=VALUE, as on the command line")
    return {name: value for name, _, value in pairs}


# ---- pages


def _add_pages(routes: APIRouter, place: Place, catalog: Catalog) -> None:
    @routes.get("/pipelines", include_in_schema=False)
    def pipelines(request: Request) -> Response:
        found = [_listed(one) for one in catalog.list()]
        return show(request, "pipelines.html", pipelines=found, project=str(place.project), pipeline_url=pipeline_url)

    @routes.get("/pipelines/{name}", include_in_schema=False)
    def pipeline(request: Request, name: str, on: Short = "", plan: Short = "") -> Response:
        listed, values = catalog[name], fields_of(request.query_params)
        planned, picture, failed = None, "", listed.problem
        if plan:  # only if asked for: it takes seconds, and the project's code
            try:
                found = _inspected(place, catalog, name, values)
                planned, picture = plan_of(found), plan_svg(found)
            except OrchestratorError as error:  # the page says so, and still shows the file
                failed = str(error)
        newest = place.here.journal.runs(limit=1)
        return show(
            request, "pipeline.html", one=_listed(listed), plan=planned, picture=picture, failed=failed, values=values,
            parameters=planned.parameters if planned else _in_file(listed), on=on, field=FIELD, looks=_LOOKS,
            pipeline_url=pipeline_url, state_token=state_of([row.id for row in newest]),
        )  # fmt: skip

    @routes.post("/pipelines/{name}/do", include_in_schema=False)
    async def act(request: Request, name: str) -> Response:
        given = await form_of(request)
        accepted = await run_in_threadpool(_act, place, catalog, name, given)
        return RedirectResponse(run_url(accepted.run), 303)


def _in_file(listed: Listed) -> list[s.Parameter]:
    """The parameters that a file sets; of which type they are, only its code knows."""
    return [
        s.Parameter(name=name, type="", default=written(json.loads(json.dumps(value, default=str))))
        for name, value in listed.params.items()
    ]


def _act(place: Place, catalog: Catalog, name: str, given: Mapping[str, str]) -> Accepted:
    """Do what a form asks."""
    if given.get("action") != "start":
        raise Refused(400, f"there is no action {given.get('action', '')!r}")
    key = form_key(f"/pipelines/{name}", given)
    on = given.get("on") or None
    return place.launches.start(str(catalog[name].file), fields_of(given), {}, on, key)


def pipeline_url(name: str) -> str:
    """Page of a pipeline."""
    return f"/pipelines/{quote(name, safe='')}"
