"""The trials of sweeps as ``orc show`` prints and draws them: from what a sweep returned, but not its output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.app.outputs import Outputs
from orchestrator.app.run import Run
from orchestrator.cli.data_documents import SweepDocument, TrialItem
from orchestrator.cli.output import table, write, write_json
from orchestrator.errors import NotFound
from orchestrator.ports.tune import Trial
from orchestrator.ports.values import Entry
from orchestrator.sweeps import Best
from orchestrator.views.sweeps import SweepView, sweep_svg

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.state import RunFold

_TYPE = f"{Best.__module__}:{Best.__qualname__}"


def show_sweep(here: Installation, run: str, step: str, *, json: bool, svg: Path | None) -> None:
    """Print, and with ``svg`` draw, the trials of one sweep.

    Raises:
        NotFound: there is no such step, or it is no sweep that has ended.
    """
    found = Run(here, run)
    address = found[step].address
    fold = found.fold()
    view = next((view for view in sweep_views(here, fold) if view.name == address), None)
    if view is None:
        known = ", ".join(view.name for view in sweep_views(here, fold)) or "none"
        raise NotFound(f"run {run}: {address} is no sweep that has ended; sweeps of this run: {known}")
    if svg is not None:
        svg.write_text(sweep_svg(view))
    if json:
        items = [TrialItem(dict(t.params), t.state, t.value, list(t.reports), t.error) for t in view.trials]
        write_json(SweepDocument(run, view.name, view.metric, view.mode, view.best or 0, items))
        return
    write(view.title)
    write(table(view.head(), view.rows()))


def sweep_views(here: Installation, fold: RunFold) -> Iterator[SweepView]:
    """Sweeps of a run that have ended."""
    cells, outputs = here.cells(fold.run), Outputs(here, fold)
    for node, state in fold.nodes.items():
        span = state.outputs.find(0) if state.node.stage is not None and not state.node.many else None
        cell = None if span is None else cells.at(span)
        if not isinstance(cell, Entry) or cell.type != _TYPE:
            continue
        part = {name: cells.child(cell, name) for name in ("trials", "metric", "mode")}
        told: dict[str, Any] = {name: outputs.data(found) for name, found in part.items()}
        trials = [_trial(trial) for trial in told["trials"]]
        best = Best({}, None, 0.0, trials, told["metric"], told["mode"]).place
        yield SweepView(node, told["metric"], told["mode"], trials, best)


def _trial(stored: dict[str, Any]) -> Trial:
    return Trial(**{**stored, "reports": tuple(stored["reports"])})
