"""Comparing runs: their records read, without running any code, and handed to the reader that says what differs.

Of two runs it is also told what each step took, and what the second took over from the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.models import python_of
from orchestrator.app.picture import run_graph
from orchestrator.engine.state import DONE, STATUS_NAMES, NodeState
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ConfigError
from orchestrator.ports.values import describe, digest_bytes, digest_of
from orchestrator.readers.comparison import Comparison, Packed, RunSide, RunTrace, StepRow, compare

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.cells import Cells
    from orchestrator.engine.state import RunFold

MOST_RUNS = 8
_MOST_STEPS = 100_000
"""A node with more steps is compared by where its outputs are stored."""

_GONE = "gone from the store"
_BACKENDS = {"local": "local workers", "ray": "Ray", "auto": "local workers, Ray where needed"}


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


def compared(here: Installation, runs: Sequence[str]) -> Comparison:
    """What differs between runs, given by id or a unique beginning of it; the first is what others are compared with.

    Raises:
        NotFound: no such run.
        ConfigError: fewer than two runs, or more than can be shown.
    """
    names = [here.journal.run(run).id for run in runs]
    if not 2 <= len(set(names)) == len(names) <= MOST_RUNS:
        raise ConfigError(f"two to {MOST_RUNS} different runs can be compared, not {', '.join(names) or 'none'}")
    return compare([side_of(here, run) for run in names])


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


def side_of(here: Installation, run: str) -> RunSide:
    """What is on record of a run; raises NotFound."""
    row, fold = here.journal.run(run), here.fold(run)
    created = fold.created or here.created(run)
    trace = RunTrace(frozenset(name for name, state in fold.nodes.items() if state.many))
    for recorded in here.journal.facts(run):
        trace.add(recorded.fact)
    cells = here.cells(run)
    outputs = {name: _outputs(state, cells) for name, state in fold.nodes.items()}
    took_s = None if row.finished_at is None or row.started_at is None else row.finished_at - row.started_at
    return RunSide(
        row.id, row.pipeline, row.state, created, run_graph(fold), outputs, trace, dict(_previews(fold, cells)),
        _environment(here, fold, trace), took_s,
    )  # fmt: skip


def _environment(here: Installation, fold: RunFold, trace: RunTrace) -> dict[str, str]:
    created = fold.created or here.created(fold.run)
    last = trace.drivers[-1] if trace.drivers else None
    found = {
        "Python": python_of(here, created.capsule),
        "steps on": _BACKENDS.get(last.backend, last.backend) if last else "",
        "slots": str(last.slots) if last and last.slots else "",
        "machines": ", ".join(trace.hosts),
        "git commit": created.git_commit,
        "capsule": created.capsule,
        "seed": str(created.seed),
    }
    found |= {f"tag {name}": value for name, value in created.tags.items()}
    return {name: value for name, value in found.items() if value}


def _outputs(state: NodeState, cells: Cells) -> list[str] | Packed:
    steps = state.batches if state.node.policy.streaming else state.length
    if steps > _MOST_STEPS:
        where = repr((bytes(state.status), state.outputs.spans))
        return Packed(steps, digest_bytes(where.encode()))
    found = [STATUS_NAMES[mark] for mark in state.status] if not state.node.policy.streaming else [""] * steps
    for span in state.outputs.spans:
        try:
            chunk = cells.chunk(span.chunk)
        except (ArtifactMissing, ArtifactCorrupt):
            found[span.start : span.stop] = [_GONE] * (span.stop - span.start)
            continue
        for place, cell in enumerate(chunk[span.at : span.at + span.stop - span.start], span.start):
            found[place] = digest_of(cell)
    return found


def _previews(fold: RunFold, cells: Cells) -> Iterator[tuple[str, str]]:
    for name, state in fold.nodes.items():
        span = None if state.many else state.outputs.find(0)
        if span is not None and state.status[0] == DONE:
            try:
                yield name, describe(cells.at(span)).preview
            except (ArtifactMissing, ArtifactCorrupt):
                continue
