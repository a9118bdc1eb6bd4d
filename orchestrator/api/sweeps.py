"""Sweeps of a run: their trials as a table, as parallel coordinates and as curves; routes of ``/api/v1`` and pages.

A sweep that goes on is shown as far as it is: trials that run have their last reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from orchestrator.api.drawings import SVG, drawing, embedded
from orchestrator.api.pages import Short, run_url, show
from orchestrator.api.place import Place, document, number_cursor, page
from orchestrator.api.routes import PREFIX, PROBLEM, Address, RunId
from orchestrator.api.schemas import Document
from orchestrator.app.record import RunRecord
from orchestrator.app.sweeping import trial_steps, trials_so_far
from orchestrator.app.sweeps import sweep_steps
from orchestrator.views.sweeps import SweepView, shown, sweep_svg

TRIALS = 100
"""Rows of a page."""

Order = Annotated[Literal["trial", "value"], Query(description="by number, or the best first")]


class Trial(Document):
    """A trial; ``value`` is null if it came to none. ``stopped``: ended early, because others did better.

    ``step`` is the address of the step that it is, empty where Ray Tune runs the trials.
    """

    number: int
    state: Literal["running", "finished", "stopped", "failed"]
    value: float | None
    params: dict[str, Any]
    reports: list[dict[str, float]]
    error: str
    step: str = ""


class Sweep(Document):
    """A sweep; ``best`` is a number of a trial, ``planned`` how many trials it is to have while it goes on."""

    run: str
    step: str
    metric: str
    mode: Literal["max", "min"]
    best: int | None
    planned: int | None = None
    states: dict[str, int]
    params: list[str]
    trials: list[Trial]


class SweepItem(Document):
    """A sweep of a run, in short."""

    step: str
    metric: str
    trials: int
    best_value: float | None


class SweepPage(Document):
    """Sweeps of a run."""

    items: list[SweepItem]


def router(place: Place) -> APIRouter:
    """Routes and pages of sweeps."""
    routes = APIRouter()
    _add_reads(routes, place)
    _add_page(routes, place)
    return routes


def sweep_url(run: str, step: str) -> str:
    """Page of a sweep."""
    return f"{run_url(run)}/sweeps/{quote(step)}"


def _add_reads(routes: APIRouter, place: Place) -> None:
    @routes.get(f"{PREFIX}/runs/{{run}}/sweeps", response_model=SweepPage, tags=["sweeps"], responses=PROBLEM)
    def sweeps(request: Request, run: RunId) -> Response:
        """Sweeps of a run."""
        with place.records.reading(run) as record:
            views = [trials_so_far(record, step) for step in sweep_steps(record.fold)]
        found = [
            SweepItem(step=view.name, metric=view.metric, trials=len(view.trials), best_value=_best(view))
            for view in views
        ]
        return document(request, SweepPage(items=found))

    @routes.get(
        f"{PREFIX}/runs/{{run}}/sweeps/{{address:path}}", response_model=Sweep, tags=["sweeps"], responses=PROBLEM
    )
    def sweep(request: Request, run: RunId, address: Address) -> Response:
        """The trials of a sweep."""
        with place.records.reading(run) as record:
            found = _sweep(record, address)[0]
        return document(request, found)

    @routes.get(
        f"{PREFIX}/runs/{{run}}/sweep-charts/{{address:path}}", responses=SVG | PROBLEM, response_class=Response,
        tags=["sweeps"],
    )  # fmt: skip
    def chart(request: Request, run: RunId, address: Address) -> Response:
        """Parallel coordinates of the trials, and curves of what they reported."""
        with place.records.reading(run) as record:
            view = trials_so_far(record, address)
        return drawing(request, sweep_svg(view))


def _sweep(record: RunRecord, address: str) -> tuple[Sweep, SweepView]:
    view = trials_so_far(record, address)
    return sweep_of(record.row.id, view, trial_steps(record, address)), view


def sweep_of(run: str, view: SweepView, steps: Sequence[str] = ()) -> Sweep:
    """A sweep as a document; ``steps`` are the addresses of its trials, if they are steps."""
    of = dict(enumerate(steps))
    return Sweep(
        run=run, step=view.name, metric=view.metric, mode=view.mode, best=view.best, planned=view.planned,
        states=dict(Counter(trial.state for trial in view.trials)), params=view.params,
        trials=[
            Trial(
                number=number, state=trial.state, value=trial.value, params=dict(trial.params),
                reports=[dict(one) for one in trial.reports], error=trial.error, step=of.get(number, ""),
            )
            for number, trial in enumerate(view.trials)
        ],
    )  # fmt: skip


def _best(view: SweepView) -> float | None:
    return None if view.best is None else view.trials[view.best].value


def _add_page(routes: APIRouter, place: Place) -> None:
    @routes.get("/runs/{run}/sweeps/{address:path}", include_in_schema=False)
    def sweep_page(request: Request, run: str, address: str, order: Order = "trial", cursor: Short = "") -> Response:
        with place.records.reading(run) as record:
            (sweep, view), row, driver = _sweep(record, address), record.row, record.driver
            state = record.statuses()[address].state
        ordered = sorted(sweep.trials, key=_rank(sweep)) if order == "value" else sweep.trials
        rows, following = page(ordered, number_cursor(cursor), TRIALS)
        return show(
            request, "sweep.html", sweep=sweep, trials=rows, following=following, start=number_cursor(cursor),
            picture=embedded(sweep_svg(view)) if view.trials else "", state=state,
            live=row.finished_at is None and view.planned is not None, seq=row.seq, driver=driver,
            asked={"order": order}, shown=shown, last=_last, sweep_url=sweep_url,
        )  # fmt: skip


def _rank(sweep: Sweep) -> Callable[[Trial], tuple[bool, float]]:
    """The best first, those without a value last."""
    sign = -1.0 if sweep.mode == "max" else 1.0
    return lambda trial: (trial.value is None or trial.value != trial.value, sign * (trial.value or 0.0))


def _last(reports: Sequence[dict[str, float]]) -> str:
    """What a trial reported last, in a few words."""
    told = ", ".join(f"{name} {shown(value)}" for name, value in list(reports[-1].items())[:3]) if reports else ""
    return f"{len(reports)} reports, the last: {told}" if told else ""
