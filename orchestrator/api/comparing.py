"""Comparing runs: a document of the API and a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestrator.api import comparison_schemas as s
from orchestrator.api.describing import run_of
from orchestrator.api.pages import RUNS, Short, show
from orchestrator.api.place import Place, document
from orchestrator.api.routes import PREFIX, PROBLEM
from orchestrator.app.comparing import MOST_RUNS, compared
from orchestrator.app.sources import source_changes
from orchestrator.readers.comparison import Comparison, Row, StepRow
from orchestrator.views.curves import counts_up, curves_svg, key_svg

Runs = Annotated[
    list[Annotated[str, Query(max_length=300)]],
    Query(
        alias="run", max_length=MOST_RUNS, description="two runs or more; the first is what others are compared with"
    ),
]
_MOST_PLOTS = 24


def router(place: Place) -> APIRouter:
    """Both routes."""
    routes = APIRouter(responses=PROBLEM)

    @routes.get(f"{PREFIX}/compare", response_model=s.RunComparison, tags=["runs"])
    def compare(request: Request, runs: Runs = []) -> Response:  # noqa: B006 (FastAPI copies it)
        """What differs between runs, and where it began."""
        return document(request, comparison_of(place, runs))

    @routes.get("/compare", include_in_schema=False)
    def page(request: Request, runs: Runs = [], q: Short = "", all: Short = "") -> Response:  # noqa: B006
        names = list(dict.fromkeys(run.strip() for run in runs if run.strip()))
        if len(names) < 2:
            return show(request, "choose.html", chosen=names, q=q, runs=_candidates(place, q, names))
        found = compared(place.here, names)
        return show(
            request, "compare.html", found=_document(place, found), everything=bool(all),
            rows=[run_of(place.here.journal.run(run), None) for run in found.runs], key=key_svg,
            plots=[(one.name, curves_svg(one.name, one.values)) for one in found.series
                   if any(len(values) > 1 and not counts_up(values) for values in one.values)][:_MOST_PLOTS],
            change=change_text,
        )  # fmt: skip

    return routes


def _candidates(place: Place, q: str, chosen: Sequence[str]) -> list[object]:
    rows = place.here.journal.runs(limit=RUNS, search=q)
    return [run_of(row, None) for row in rows if row.id not in chosen]


def comparison_of(place: Place, runs: Sequence[str]) -> s.RunComparison:
    """The document; raises ConfigError for what cannot be compared, NotFound for what is not there."""
    return _document(place, compared(place.here, runs))


def _document(place: Place, found: Comparison) -> s.RunComparison:
    return s.RunComparison(
        runs=list(found.runs),
        identical=found.identical,
        first=None if found.first is None else _step(found.first),
        summary=_rows(found.summary),
        params=_rows(found.params),
        data=_rows(found.data),
        code=_rows(found.code),
        environment=_rows(found.environment),
        metrics=_rows(found.metrics),
        steps=[_step(one) for one in found.steps],
        series=[s.ComparedSeries(name=one.name, values=[_plain(line) for line in one.values]) for one in found.series],
        sources=_sources(place, found),
    )


def change_text(first: str | None, value: str | None) -> str:
    """How a number differs from that of the first run, in percent; nothing where there is no saying."""
    try:
        before, now = float(first or ""), float(value or "")
    except ValueError:
        return ""
    if before == now or not before or not math.isfinite(before) or not math.isfinite(now):
        return ""
    return f"{100 * (now - before) / abs(before):+.2g} %"


def _rows(rows: Sequence[Row]) -> list[s.ComparedRow]:
    return [s.ComparedRow(name=row.name, values=list(row.values), equal=row.equal) for row in rows]


def _step(step: StepRow) -> s.ComparedStep:
    return s.ComparedStep(
        address=step.address, outcomes=list(step.outcomes), steps=step.steps, differing=step.differing,
        equal=step.equal, causes=list(step.causes), own=step.own, previews=list(step.previews),
        busy_s=list(step.busy_s),
    )  # fmt: skip


def _plain(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _sources(place: Place, found: Comparison) -> list[s.ChangedSource]:
    capsules = next((row.values for row in found.environment if row.name == "capsule"), ())
    return [
        s.ChangedSource(file=change.file, run=run, lines=change.lines)
        for run, capsule in list(zip(found.runs, capsules, strict=False))[1:]
        if capsule is not None and capsules[0] is not None
        for change in source_changes(place.here, capsules[0], capsule)
    ]
