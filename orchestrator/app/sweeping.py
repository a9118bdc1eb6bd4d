"""Sweeps that go on, or that ended without a best trial: their trials from steps, reports and checkpoints of the run.

A plain sweep is a ``@dynamic`` step: its trials are the items of the maps that it called, in their order. A steered one
keeps what is known of its trials as its checkpoint, whenever a trial has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.app.outputs import Outputs
from orchestrator.app.sweeps import ended_sweep, sweep_steps, sweep_view
from orchestrator.errors import NotFound
from orchestrator.ports.tune import Trial, TrialState
from orchestrator.ports.values import Cell
from orchestrator.sweeps.result import best_so_far
from orchestrator.views.sweeps import SweepView

if TYPE_CHECKING:
    from orchestrator.app.record import Item, RunRecord
    from orchestrator.engine.state import NodeState

_STATES: Mapping[str, TrialState] = {
    "succeeded": "finished", "cached": "finished", "degraded": "failed", "dropped": "failed", "failed": "failed",
    "cancelled": "failed",
}  # fmt: skip
"""States of steps by what they mean for a trial; in all others it has not ended."""


def trials_so_far(record: RunRecord, address: str) -> SweepView:
    """A sweep as it is now, ended or not.

    Raises:
        NotFound: there is no such step, or it is no sweep.
    """
    if ended_sweep(record.fold, address):
        return sweep_view(record.installation, record.fold, address)
    if address not in sweep_steps(record.fold):
        known = ", ".join(sweep_steps(record.fold)) or "none"
        raise NotFound(f"run {record.row.id}: {address} is no sweep; sweeps of this run: {known}")
    state = record.fold.nodes[address]
    outputs = Outputs(record.installation, record.fold)
    asked = {name: outputs.value(state.node.args[name]) for name in ("metric", "mode", "trials")}
    if state.node.kind == "dynamic":
        trials = list(_of_steps(record, address, asked["metric"], outputs))
    else:
        trials = list(_of_checkpoint(record, state, outputs))
    best = best_so_far(trials, asked["mode"])
    return SweepView(address, asked["metric"], asked["mode"], trials, best, planned=asked["trials"])


def trial_steps(record: RunRecord, address: str) -> list[str]:
    """Addresses of the steps that are the trials of a plain sweep, by number; none of a steered one."""
    return [f"{node.node.id}[{index}]" for node in _waves(record, address) for index in range(node.length)]


def _waves(record: RunRecord, address: str) -> list[NodeState]:
    """The maps of trials that a sweep called, in order."""
    called = record.fold.calls.get((address, 0), [])
    return [record.fold.nodes[node] for node, _ in called if "point" in record.fold.nodes[node].node.mapped]


def _of_steps(record: RunRecord, address: str, metric: str, outputs: Outputs) -> Iterator[Trial]:
    for wave in _waves(record, address):
        points = outputs.value(wave.node.args["point"])
        items = record.items.of(wave.node.id)
        for item, point in zip(record.page(wave, list(range(wave.length))), points, strict=False):
            yield _of_step(item, point, items.metrics_of(item.index), metric, record)


def _of_step(
    item: Item, point: dict[str, Any], reports: list[dict[str, float]], metric: str, record: RunRecord
) -> Trial:
    state = _STATES.get(item.state, "running")
    told = "" if item.failure is None else f"{item.failure.name}: {item.failure.message}"
    last = next((report[metric] for report in reversed(reports) if metric in report), None)
    if state == "finished":
        last = _value(record, item.cell, last)
    if state == "failed":
        return Trial(point, "failed", None, tuple(reports), told or item.state)
    return Trial(point, state, last, tuple(reports))


def _value(record: RunRecord, cell: Cell, reported: float | None) -> float | None:
    """The metric of a trial that returned."""
    if reported is not None:
        return reported
    found = record.installation.cells(record.fold.run).child(cell, "value")
    return found if isinstance(found, float) else None


def _of_checkpoint(record: RunRecord, state: NodeState, outputs: Outputs) -> Iterator[Trial]:
    kept = state.checkpoints.get(0)
    if kept is None:
        return
    for one in outputs.data(record.installation.cells(record.fold.run).at(kept)):
        trial = one["trial"]
        ended: TrialState = trial["state"] if one["ended"] else "running"
        yield Trial(trial["params"], ended, trial["value"], tuple(trial["reports"]), trial["error"])
