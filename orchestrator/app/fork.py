"""Forking a run: a new one that takes its history up to a step, and goes on from there with other code or parameters.

The old run stays as it is. The new one begins with the outcomes it takes over, recorded in the transaction that makes
it; from then on it is a run like any other, which a new driver goes on with wherever one dies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.app.inputs import changed_files, file_versions
from orchestrator.app.new_code import NewCode, started_nodes, trace_fork
from orchestrator.app.rerun import (
    Renewal,
    inline_chunks,
    is_there,
    is_whole,
    outcomes_of,
    recorded_run,
    succeeded,
    with_outcomes,
)
from orchestrator.engine.changes import Change, Comparison, compare
from orchestrator.engine.forks import ForkPoint, Reach, find_point, reach
from orchestrator.engine.state import RunFold
from orchestrator.errors import ConfigError, ForkRefused
from orchestrator.graph import fact as f
from orchestrator.graph.json import node_to_json
from orchestrator.graph.node import Graph, Ref
from orchestrator.ports.values import shorten
from orchestrator.types import Digest

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.cells import Cells
    from orchestrator.graph.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Fork:
    """A fork about to be made.

    Attributes:
        renewal: The new run with its first facts; its ``acting`` are the steps with effects that would act again,
            but for the one the fork begins at, which was named.
        comparison: What becomes of each node.
        calls: Calls of ``@dynamic`` steps that are taken over.
        kinds: Kind of each node, recorded ones that are not there any more included.
        code: Other code or parameters; None for those on record.
    """

    point: ForkPoint
    renewal: Renewal
    comparison: Comparison
    calls: tuple[str, ...]
    kinds: Mapping[str, str]
    code: NewCode | None


def fork(here: Installation, run: str, step: str) -> Fork:
    """A fork with the code and parameters on record: the step, and all that depends on it, runs again.

    Raises:
        NotFound: no such run or step.
        ForkRefused: the run cannot be forked from there; says why.
    """
    fold, recorded = recorded_run(here, run)
    files = file_versions(here, fold.graph)
    point = find_point(fold, fold.graph, step)
    comparison = compare(fold, fold.graph, {}, started_nodes(here, fold.run), reach(fold.graph, point))
    created = replace(recorded, files=files, origin=fold.run, forked=point.step, repeats=succeeded(fold))
    renewal = Renewal(fold.run, created, files=changed_files(recorded.files, files))
    return _fork(here, fold, fold.graph, point, renewal, comparison, None)


def fork_with(
    here: Installation, run: str, step: str, pipeline: Pipeline[..., Any], params: Mapping[str, Any], git_commit: str
) -> Fork:
    """A fork with a pipeline as it is now; with the parameters on record, but for those given.

    Raises:
        NotFound, ForkRefused: as ``fork``.
        ConfigError: it is another pipeline than the run's.
        DefinitionError: it cannot be traced with these parameters.
    """
    code, point = trace_fork(here, run, step, pipeline, params)
    fold, recorded = recorded_run(here, code.run)
    graph, capsule = code.store(here)
    shown = {**recorded.params, **{name: shorten(repr(value)) for name, value in params.items()}}
    created = replace(
        recorded, graph=graph, capsule=capsule, params=shown, files=dict(code.files), origin=fold.run,
        forked=point.step, git_commit=git_commit, repeats=succeeded(fold),
    )  # fmt: skip
    renewal = Renewal(fold.run, created, files=changed_files(recorded.files, code.files))
    return _fork(here, fold, code.graph, point, renewal, code.comparison, code)


def _fork(
    here: Installation,
    fold: RunFold,
    graph: Graph,
    point: ForkPoint,
    renewal: Renewal,
    comparison: Comparison,
    code: NewCode | None,
) -> Fork:
    reached = reach(graph, point)
    _refuse(fold, graph, point, reached, comparison)
    kept, began = comparison.kept, started_nodes(here, fold.run)
    renewal = with_outcomes(here, renewal, fold, kept, began, is_whole, reached.anew)
    islands = _Islands(here, fold, point)
    facts: list[f.Fact] = []
    bodies = {*kept, point.node} if point.calls else set(kept)
    for node in graph.nodes:
        if node.kind == "dynamic" and node.id in bodies:
            facts += islands.calls_of(node.id)
    named = point.calls[-1] if point.calls else point.node
    acting = tuple(step for step in renewal.acting if step not in islands.taken and step != named)
    renewal = replace(
        renewal, facts=[*renewal.facts, *facts], chunks={**renewal.chunks, **islands.chunks}, acting=acting
    )
    kinds = {node.id: node.kind for node in (*fold.graph.nodes, *graph.nodes)}
    return Fork(point, renewal, comparison, tuple(islands.taken), kinds, code)


class _Islands:
    """Calls that bodies of ``@dynamic`` steps made and that a fork takes over: those up to the first one it does not.

    Attributes:
        taken: Calls that have all their outcomes.
        chunks: Inline chunks of the outcomes.
    """

    def __init__(self, here: Installation, fold: RunFold, point: ForkPoint) -> None:
        self.taken: list[str] = []
        self.chunks: dict[Digest, bytes] = {}
        self._fold = fold
        self._point = point
        self._cells: Cells = here.cells(fold.run)

    def calls_of(self, node: str) -> Iterator[f.Fact]:
        """Facts of the calls of a node's bodies that have no outcome, or are to have another."""
        state = self._fold.nodes[node]
        leads = node == self._point.node or node in self._point.calls
        for index in range(state.length):
            anew = leads and (self._point.items is None or index in self._point.items or node != self._point.node)
            if anew or state.outputs.find(index) is None or index in state.degraded:
                yield from self._calls(node, index)

    def _calls(self, parent: str, index: int) -> Iterator[f.Fact]:
        for ordinal, (child, key) in enumerate(self._fold.calls.get((parent, index), ())):
            state = self._fold.nodes[child]
            added = f.NodeAdded(parent, index, ordinal, key, node_to_json(state.node))
            ends = child in self._point.calls[-1:]
            if ends and self._point.call_items is None:
                return
            yield added
            whole = state.has_output and not state.degraded and is_there(self._cells, state)
            if child in self._point.calls or not whole:
                yield from self._outcomes(child, self._point.call_items or () if ends else ())
                yield from self.calls_of(child) if state.node.kind == "dynamic" else ()
                return
            yield from self._outcomes(child)
            self.taken.append(child)

    def _outcomes(self, call: str, without: Collection[int] = ()) -> Iterator[f.Fact]:
        state = self._fold.nodes[call]
        leads = call in self._point.calls and state.node.kind == "dynamic"
        if is_there(self._cells, state) and not leads:
            yield from outcomes_of(call, state, self._fold.run, False, without)
            self.chunks.update(inline_chunks(self._cells, state))


# ---- what is refused


def _refuse(fold: RunFold, graph: Graph, point: ForkPoint, reached: Reach, comparison: Comparison) -> None:
    """Refuse a fork that would not do what was asked for.

    Raises:
        ForkRefused: says what to do instead.
    """
    changes = {change.node: change for change in comparison.changes}
    for node in graph.nodes:
        change = changes[node.id]
        if node.id in reached.before and change.part == "parameters" and change.finished:
            raise ForkRefused(
                f"run {fold.run}: {change.reason} of {node.id}, which comes before {point.step} and so is history; "
                f"fork from there: --from '{node.id}'"
            )
    if point.calls and changes[point.node].part:
        inside = changes[point.node]
        raise ForkRefused(
            f"run {fold.run}: {point.step} was called in the body of {point.node}, whose calls cannot be replayed, "
            f"because {inside.reason}; fork from all of it: --from '{point.node}'"
        )
    _refuse_untaken(fold, graph, point, comparison.kept)
    if fold.finished is None:
        open_ = [node for node in reached.before if _is_open(fold, changes[node])]
        if open_:
            raise ForkRefused(
                f"run {fold.run} has not ended, and {', '.join(sorted(open_)[:5])}, which comes before {point.step}, "
                f"is not finished; a fork would do it a second time: wait, or go on with the run: orc resume {fold.run}"
            )


def _is_open(fold: RunFold, change: Change) -> bool:
    """True if a node that a fork wants as history has not come to its end in the recorded run."""
    return bool(change.was) and not fold.nodes[change.was].is_settled


def _refuse_untaken(fold: RunFold, graph: Graph, point: ForkPoint, kept: Mapping[str, str]) -> None:
    """Refuse a step of a branch that history did not take."""
    for guard in graph.node(point.node).guards:
        branch = fold.nodes.get(kept.get(guard.branch, ""))
        if branch is not None and branch.is_settled and (branch.skipped or branch.truth != guard.expected):
            value = branch.node.args.get("value")
            decided = value.node if isinstance(value, Ref) else guard.branch
            raise ForkRefused(
                f"run {fold.run} did not take the branch of {point.node}, and what decided that is history; "
                f"fork from there: --from '{decided}'"
            )


def refuse_acting(made: Fork, repeat: Collection[str], option: str = "repeat=[…]") -> None:
    """Refuse to let steps with effects act a second time, unless they were named.

    Raises:
        ForkRefused: names the steps.
        ConfigError: a step was named that would not act again.
    """
    acting = made.renewal.acting
    unknown = [step for step in repeat if step not in acting]
    if unknown:
        steps = ", ".join(acting) or "none"
        raise ConfigError(f"{unknown[0]} is no step with effects that would act again in the fork; there are: {steps}")
    refused = [step for step in acting if step not in repeat]
    if refused:
        raise ForkRefused(
            f"run {made.renewal.origin}: {', '.join(refused)} has effects and began already; in the fork it would act "
            f"again, under a new key. If that is right, name it: {option}"
        )
