"""Web pages: the documents of the API as HTML, complete without scripts; all of their state is in the address."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlencode

from blake3 import blake3
from fastapi import APIRouter, Query, Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from orchestrator.api import schemas as s
from orchestrator.api.describing import detail_of, item_of, nodes_of, reasons, run_of
from orchestrator.api.drawings import embedded
from orchestrator.api.forks import fork_in, fork_of, forking
from orchestrator.api.guard import COOKIE, LOGIN, same, session_of
from orchestrator.api.outputs import output_of
from orchestrator.api.pictures import PAGE_NODES, graph_of, seconds, timeline_of
from orchestrator.api.place import Place, RunFilter, number_cursor, page, tagged
from orchestrator.api.problems import Refused
from orchestrator.api.routes import ItemState
from orchestrator.api.step_waiting import whole_step
from orchestrator.app.record import RunRecord
from orchestrator.app.step_log import still_writes
from orchestrator.app.sweeps import sweep_steps
from orchestrator.engine.state import NodeState
from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.graph.fact import FINISHED
from orchestrator.views.frames import split_frames
from orchestrator.views.reports import reports_svg
from orchestrator.views.status import duration_text, money_text, size_text
from orchestrator.views.timeline import bar_svg, icon_svg, sparkline_svg

RUNS, NODES, ITEMS = 50, 100, 100
"""Rows of a page."""

_PIPELINES, _RECENT = 6, 24
_LOG_LINES = 500
_REASONS, _MAP_REASONS = 200, 20

Short = Annotated[str, Query(max_length=200)]


def router(place: Place, token: str) -> APIRouter:
    """All pages."""
    routes = APIRouter(include_in_schema=False)
    _add_lists(routes, place)
    _add_run(routes, place)
    _add_step(routes, place)
    _add_forms(routes, place)
    _add_login(routes, token)
    return routes


def _add_lists(routes: APIRouter, place: Place) -> None:
    @routes.get("/")
    def runs(request: Request, pipeline: Short = "", state: Short = "", q: Short = "", cursor: Short = "") -> Response:
        rows, following = place.runs(RunFilter(pipeline, state, q), cursor or None, RUNS)
        return show(
            request,
            "runs.html",
            runs=[run_of(row, place.driver(row)) for row in rows],
            following=following,
            pipelines=[] if cursor else recent(place),
            asked={"pipeline": pipeline, "state": state, "q": q, "cursor": cursor},
            home=str(place.here.settings.home),
            states=("queued", "running", "waiting", *sorted(FINISHED)),
        )


def recent(place: Place) -> list[tuple[str, list[s.Run]]]:
    """The pipelines that ran last, with their last runs, oldest first."""
    names = dict.fromkeys(row.pipeline for row in place.here.journal.runs(limit=4 * RUNS))
    return [
        (name, [run_of(row, None) for row in reversed(place.here.journal.runs(name, limit=_RECENT))])
        for name in list(names)[:_PIPELINES]
    ]


def _add_run(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}")
    def one_run(request: Request, run: str, view: Short = "graph", state: Short = "", cursor: Short = "") -> Response:
        with place.records.reading(run) as record:
            name = record.row.id
            nodes = nodes_of(record)
            picked = [node for node in nodes if state in ("", node.state)]
            start = number_cursor(cursor)
            items, following = page(picked, start, NODES)
            picture = ""
            if view == "graph":
                picture = graph_of(record, step_link(name), PAGE_NODES)
            elif view == "timeline":
                picture = timeline_of(record, items, step_link(name))
            return show(
                request, "run.html", detail=detail_of(record), nodes=items, picked=len(picked), view=view,
                picture=picture, following=following, start=start, asked={"view": view, "state": state},
                all_nodes=nodes, cut=view == "graph" and len(record.fold.nodes) > PAGE_NODES, most=PAGE_NODES,
                sweeps=sweep_steps(record.fold),
            )  # fmt: skip


def _add_step(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}/steps/{address:path}")
    def step(
        request: Request,
        run: str,
        address: str,
        state: ItemState = "",
        cursor: Short = "",
        q: Short = "",
        line: Annotated[int, Query(ge=0, le=10**9)] = 0,
        part: Annotated[list[str], Query(max_length=10)] = [],  # noqa: B006 (FastAPI copies it)
    ) -> Response:
        with place.records.reading(run) as record:
            node, index = record.find(address)
            detail = whole_step(record, node, index)
            many = index is None and node.node.many
            told = reasons(record, node.node.id, index)[-(_MAP_REASONS if many else _REASONS) :]
            return show(
                request, "step.html", detail=detail, run=run_of(record.row, record.driver), item_index=index,
                output=_output(place, record, address, part) if detail.has_output else None, part=part,
                reasons=told, log=None if many else _log(place, record, node, index, q, line),
                items=_items(record, node, state, cursor) if many else None,
                asked={"state": state, "q": q}, metric_names=metric_names,
                curves=embedded(reports_svg(f"Reported by {address}", [detail.metrics])),
                sweep=address in sweep_steps(record.fold),
                newest=place.here.journal.runs(record.row.pipeline, limit=1)[0].id,
                forking=forking(place, record) if record.row.state in FINISHED else None,
            )  # fmt: skip


def metric_names(reports: Sequence[Mapping[str, float]]) -> list[str]:
    """Names of all that was reported, in the order in which they came."""
    return list(dict.fromkeys(name for report in reports for name in report))


def _output(place: Place, record: RunRecord, address: str, part: Sequence[str]) -> s.Output | str:
    """An output, or why it cannot be shown: the rest of the page is worth seeing all the same."""
    try:
        return output_of(place, record, address, part)
    except OrchestratorError as error:
        if isinstance(error, NotFound) and part:
            raise
        return str(error)


def _items(record: RunRecord, node: NodeState, state: str, cursor: str) -> s.ItemPage:
    found = record.indexes(node, state, number_cursor(cursor) - 1, ITEMS + 1)
    shown = [item_of(item) for item in record.page(node, found[:ITEMS])]
    return s.ItemPage(items=shown, next=str(found[ITEMS]) if len(found) > ITEMS else None, total=node.length)


def _log(
    place: Place, record: RunRecord, node: NodeState, index: int | None, q: str, line: int
) -> dict[str, Any]:  # fmt: skip
    """The last lines, those around ``line``, or those with a text in them; what follows live comes behind ``total``."""
    lines = list(enumerate(place.logs(record, node, index).splitlines(), 1))
    found = [(number, text) for number, text in lines if q.lower() in text.lower()]
    shown = found[-_LOG_LINES:]
    if line and not q:
        start = max(line - _LOG_LINES // 2, 0)
        shown = found[start : start + _LOG_LINES]
    last = not shown or shown[-1][0] == len(lines)
    live = not q and last and still_writes(record, node.node.id, index or 0)
    return {"total": len(lines), "found": len(found), "lines": shown, "live": live}


def _add_forms(routes: APIRouter, place: Place) -> None:
    @routes.post("/runs/{run}/do")
    async def act(request: Request, run: str) -> Response:
        given = dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))
        return RedirectResponse(run_url(await run_in_threadpool(perform, place, run, given)), 303)


def perform(place: Place, run: str, given: Mapping[str, str]) -> str:
    """Do what a form asks, and return the run to look at then; the same form sent twice does it once."""
    key = f"page-{blake3(json.dumps([run, sorted(given.items())]).encode()).hexdigest()}"
    action = given.get("action", "")
    if action == "cancel":
        place.actions.cancel(run, given.get("reason", "")[:500], key)
    elif action == "resume":
        place.actions.resume(run, key)
    elif action == "fork":
        return fork_of(place, run, fork_in(given), key).run
    elif action in ("approve", "reject"):
        answer = s.Answer(step=given.get("step", "?"), approved=action == "approve", by=given.get("by", "")[:100])
        place.actions.answer(run, answer, key)
    elif action == "signal":
        value = _value(given.get("value", ""))
        answer = s.Answer(step=given.get("step", "?"), value=value, by=given.get("by", "")[:100])
        place.actions.answer(run, answer, key)
    else:
        raise Refused(400, f"there is no action {action!r}")
    return run


def _value(text: str) -> Any:
    """JSON if it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _add_login(routes: APIRouter, token: str) -> None:
    @routes.get(LOGIN)
    def login(request: Request, next: Short = "/") -> Response:
        return show(request, "login.html", next=next, wrong=False)

    @routes.post(LOGIN)
    async def check(request: Request) -> Response:
        given = dict(parse_qsl((await request.body()).decode(errors="replace")))
        there = given.get("next", "/")
        if not token or not same(given.get("token", ""), token):
            return show(request, "login.html", 401, next=there, wrong=True)
        answer = RedirectResponse(there if _is_ours(there) else "/", 303)
        answer.set_cookie(COOKIE, session_of(token), httponly=True, samesite="strict",
                          secure=request.url.scheme == "https")  # fmt: skip
        return answer


def _is_ours(path: str) -> bool:
    """Whether a path leads to this server: not ``//elsewhere`` or ``https://elsewhere``."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()


# ---- templates


def problem_page(request: Request, problem: s.Problem) -> Response:
    """An error for people."""
    return show(request, "problem.html", problem.status, problem=problem)


def show(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page with its ETag."""
    text = environment().get_template(template).render(path=request.url.path, **context)
    if status != 200:
        return HTMLResponse(text, status)
    return tagged(request, text.encode(), "text/html; charset=utf-8")


@cache
def environment() -> Environment:
    """Templates and what they may call."""
    found = Environment(
        loader=PackageLoader("orchestrator.api"), autoescape=select_autoescape(default=True), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.globals.update(
        run_url=run_url, step_url=step_url, with_query=with_query, took=took, waited=waited,
        spark=lambda runs: sparkline_svg([(duration(run), run.state) for run in runs if run.finished_at]),
        icon=icon_svg, money=money_text, zone=zone,
        bar=lambda counts, width=160.0: bar_svg(list(counts.items()), width), pretty=pretty, api_url=api_url,
    )  # fmt: skip
    found.filters.update(local=local, count=lambda number: f"{number:,}", size=size_text, duration=duration_text)
    found.filters.update(split_frames=split_frames, heading=heading, coded=coded)
    return found


def run_url(run: str) -> str:
    """Page of a run."""
    return f"/runs/{quote(run, safe='')}"


def step_url(run: str, address: str, **query: Any) -> str:
    """Page of a step."""
    return f"{run_url(run)}/steps/{quote(address)}{with_query({}, **query)}"


def api_url(run: str, what: str, address: str = "") -> str:
    """A document of the API about a run."""
    return f"/api/v1/runs/{quote(run, safe='')}/{what}{'/' if address else ''}{quote(address)}"


def step_link(run: str) -> Callable[[str], str]:
    """Pages of the steps of a run."""
    return lambda address: step_url(run, address)


def with_query(asked: Mapping[str, Any], **changed: Any) -> str:
    """The query of a page with something else in it; what is empty is left out."""
    query = [(name, value) for name, value in {**asked, **changed}.items() if value not in ("", None, [])]
    return f"?{urlencode(query, doseq=True)}" if query else ""


def local(at: str | None) -> str:
    """A time for people, in the server's time zone, as HTML."""
    if at is None:
        return "–"
    moment = datetime.fromisoformat(at).astimezone()
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M:%S}</time>'


def zone() -> str:
    """The time zone of the times on pages, such as ``CET (UTC+01:00)``."""
    now = datetime.now().astimezone()
    name, ahead = now.tzname() or "", f"UTC{now:%z}"
    return name if name == "UTC" else f"{name} ({ahead[:6]}:{ahead[6:]})"


def heading(title: str) -> str:
    """The name of an error as a heading: ``Not found`` for ``NotFound``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title).capitalize()


def coded(text: str) -> Markup:
    """A text whose parts in backticks are code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def duration(run: s.Run) -> float:
    """How long a run took, in seconds; 0 while it has not ended."""
    began, ended = seconds(run.started_at), seconds(run.finished_at)
    return 0.0 if began is None or ended is None else max(ended - began, 0.0)


def took(started_at: str | None, ended_at: str | None) -> str:
    """How long something took."""
    began, ended = seconds(started_at), seconds(ended_at)
    return "" if began is None or ended is None else duration_text(max(ended - began, 0.0))


def waited(node: s.Node) -> str:
    """How long a node waited for a worker, if it is worth saying."""
    ready, began = seconds(node.ready_at), seconds(node.started_at)
    return "" if ready is None or began is None or began - ready < 0.001 else duration_text(began - ready)


def pretty(value: Any) -> str:
    """Plain data as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
