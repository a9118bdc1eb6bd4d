"""Two runs beside each other: what differs, what each step took, and what the second took over from the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.app.comparing import compared
from orchestrator.app.following import CONTROL_KINDS
from orchestrator.readers.comparison import Comparison, StepRow

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation


@dataclass(frozen=True, slots=True)
class RunDifference:
    """A run measured against an earlier one.

    Attributes:
        steps: Nodes that do work, in the order of the graph.
        cpus: CPUs that a step of a node holds, in each run.
        reused: Steps that the second run took over from a record, by node.
        forked: The step at which the second run left the history of the first; empty if it is no fork of that.
    """

    found: Comparison
    steps: tuple[StepRow, ...]
    cpus: tuple[Mapping[str, float], Mapping[str, float]]
    reused: Mapping[str, int]
    forked: str

    def cpu_s(self, step: StepRow) -> tuple[float | None, float | None]:
        """CPU seconds that a node held in each run."""
        old, new = (
            None if busy_s is None else busy_s * cpus.get(step.address, 1.0)
            for busy_s, cpus in zip(step.busy_s, self.cpus, strict=True)
        )
        return old, new


def run_difference(here: Installation, before: str, after: str) -> RunDifference:
    """What differs between two runs, given by id or a unique beginning of it.

    Raises:
        NotFound: no such run.
        ConfigError: both are the same run.
    """
    found = compared(here, (before, after))
    folds = [here.fold(run) for run in found.runs]
    work = {name for fold in folds for name, state in fold.nodes.items() if state.node.kind not in CONTROL_KINDS}
    old, new = ({name: state.node.policy.resources.num_cpus for name, state in fold.nodes.items()} for fold in folds)
    reused = {name: state.reused for name, state in folds[1].nodes.items() if state.reused}
    series = tuple(one for one in found.series if one.values[1] or one.name.rpartition(" ")[0] not in reused)
    found = replace(found, series=series)
    created = folds[1].created
    forked = created.forked if created is not None and created.origin == found.runs[0] else ""
    return RunDifference(found, tuple(step for step in found.steps if step.address in work), (old, new), reused, forked)
