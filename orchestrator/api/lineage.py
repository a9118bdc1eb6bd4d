"""Lineage: a document and a drawing of the API, and a page."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestrator.api import lineage_schemas as s
from orchestrator.api.describing import run_of
from orchestrator.api.pages import Short, show, step_url
from orchestrator.api.place import Place, document, tagged
from orchestrator.api.routes import PREFIX, PROBLEM, SVG
from orchestrator.app.lineage import Found, Lineages
from orchestrator.readers.lineage import Lineage, Vertex
from orchestrator.views.lineage import KINDS, lineage_svg

Way = Literal["both", "up", "down"]
Subject = Annotated[
    str,
    Query(max_length=1000, description="a run, RUN/STEP, data:NAME@v3, model:NAME@TAG or file:PATH"),
]
MOST_DRAWN = 90
"""A larger drawing takes long to lay out, and nobody can read it."""

_CODE, _LISTED, _COLUMNS = 8, 40, 100


def router(place: Place) -> APIRouter:
    """All routes about lineage."""
    routes = APIRouter(responses=PROBLEM)
    lineages = Lineages(place.here)

    @routes.get(f"{PREFIX}/lineage", response_model=s.Lineage, tags=["lineage"])
    def lineage(request: Request, of: Subject, way: Way = "both", code: bool = True) -> Response:
        """What something came from and what came of it."""
        return document(request, _document(of, _found(lineages, of, way, code)))

    @routes.get(f"{PREFIX}/lineage.svg", responses=SVG, response_class=Response, tags=["lineage"])
    def drawing(request: Request, of: Subject, way: Way = "both", code: bool = True) -> Response:
        """The same as a drawing."""
        found = _found(lineages, of, way, code)
        return tagged(request, lineage_svg(_few(found), found.focus).encode(), "image/svg+xml")

    @routes.get("/lineage", include_in_schema=False)
    def page(request: Request, of: Short = "", way: Way = "both", code: Short = "", column: Short = "") -> Response:
        if not of.strip():
            runs = [run_of(row, None) for row in place.here.journal.runs(limit=_LISTED)]
            versions = list(place.here.registry.versions())[:_LISTED]
            return show(request, "lineage_of.html", runs=runs, versions=versions, link=lineage_url)
        found = _found(lineages, of.strip(), way, code != "no")
        if code == "" and sum(one.kind == "code" for one in found.lineage.vertices.values()) > _CODE:  # side by side
            found = _found(lineages, of.strip(), way, False)
        shown = _few(found)
        return show(
            request, "lineage.html", found=_document(of.strip(), found, found.focus), drawn=len(shown.vertices),
            picture=lineage_svg(shown, found.focus, vertex_url), asked={"of": of, "way": way, "code": code},
            with_code=any(vertex.kind == "code" for vertex in found.lineage.vertices.values()), kinds=KINDS,
            column=column, link=lineage_url, url={key: vertex_url(one) for key, one in found.lineage.vertices.items()},
            most_columns=_COLUMNS,
        )  # fmt: skip

    return routes


def lineage_url(of: str) -> str:
    """The page around something."""
    return f"/lineage?{urlencode({'of': of})}"


def vertex_url(vertex: Vertex) -> str:
    """Where a vertex leads: the page of its step, or the lineage around it; nowhere for code."""
    if vertex.run:
        return step_url(vertex.run, vertex.node)
    if vertex.kind == "file":
        return lineage_url(f"file:{vertex.title}")
    return "" if vertex.kind == "code" else lineage_url(vertex.key)


def _found(lineages: Lineages, of: str, way: Way, code: bool) -> Found:
    return lineages.of(of, up=way != "down", down=way != "up", code=code)


def _few(found: Found) -> Lineage:
    """As much as can be drawn: what was asked for, then what is nearest to it."""
    whole = found.lineage
    if len(whole.vertices) <= MOST_DRAWN:
        return whole
    near = [key for key in found.focus if key in whole.vertices][:MOST_DRAWN]
    beside: dict[str, list[str]] = {}
    for edge in whole.edges:
        beside.setdefault(edge.source, []).append(edge.target)
        beside.setdefault(edge.target, []).append(edge.source)
    kept = dict.fromkeys(near)
    pending = list(near)
    while pending and len(kept) < MOST_DRAWN:
        for one in beside.get(pending.pop(0), ()):
            if one not in kept and len(kept) < MOST_DRAWN:
                kept[one] = None
                pending.append(one)
    vertices = {key: vertex for key, vertex in whole.vertices.items() if key in kept}
    edges = {edge: None for edge in whole.edges if edge.source in kept and edge.target in kept}
    return Lineage(vertices, edges)


def _document(of: str, found: Found, with_columns: tuple[str, ...] | None = None) -> s.Lineage:
    lineage = found.lineage
    return s.Lineage(
        of=of, focus=list(found.focus), runs=list(found.runs), more=found.more,
        vertices=[_vertex(lineage, vertex, with_columns is None or vertex.key in with_columns)
                  for vertex in lineage.vertices.values()],
        edges=[s.LineageEdge(source=one.source, target=one.target, kind=one.kind) for one in lineage.edges],
    )  # fmt: skip


def _vertex(lineage: Lineage, vertex: Vertex, with_columns: bool) -> s.LineageVertex:
    columns = lineage.columns(vertex.key) if with_columns else []
    return s.LineageVertex(
        key=vertex.key, kind=vertex.kind, title=vertex.title, notes=list(vertex.notes), state=vertex.state,
        run=vertex.run or None, step=vertex.node or None,
        columns=[s.LineageColumn(name=one.column.name, type=one.column.type, sources=list(one.sources),
                                 targets=list(one.targets)) for one in columns],
    )  # fmt: skip
