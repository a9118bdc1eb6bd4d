"""The sweeps of a run and their trials, from what they returned, but not its output: nothing of their authors' runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.app.outputs import Outputs
from orchestrator.errors import NotFound
from orchestrator.ports.tune import Trial
from orchestrator.ports.values import Entry
from orchestrator.sweeps import Best
from orchestrator.views.sweeps import SweepView

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.state import RunFold

_MARK = ".sweep#"
"""In the reference of the code of every sweep."""

_TYPE = f"{Best.__module__}:{Best.__qualname__}"


def sweep_steps(fold: RunFold) -> list[str]:
    """Steps of a run that are sweeps, begun or not; nothing is read for it."""
    return [
        name for name, state in fold.nodes.items() if state.node.stage is not None and _MARK in state.node.stage.ref
    ]


def ended_sweep(fold: RunFold, address: str) -> bool:
    """Whether a step is a sweep that has ended with a best trial."""
    return address in sweep_steps(fold) and fold.nodes[address].outputs.find(0) is not None


def sweep_view(here: Installation, fold: RunFold, address: str) -> SweepView:
    """One sweep of a run.

    Raises:
        NotFound: there is no such step, or it is no sweep that has ended.
    """
    view = next((view for view in sweep_views(here, fold) if view.name == address), None)
    if view is None:
        known = ", ".join(view.name for view in sweep_views(here, fold)) or "none"
        raise NotFound(f"run {fold.run}: {address} is no sweep that has ended; sweeps of this run: {known}")
    return view


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
