"""A new run from the record of another: the same code, graph, parameters and seed, with or without what it finished."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from orchestrator.app.inputs import ChangedFile, changed_files, file_versions
from orchestrator.app.new_code import NewCode, started_nodes, store_graph
from orchestrator.engine.changes import acted_below, compare, has_effects
from orchestrator.engine.forks import Items
from orchestrator.engine.machine import one_cell_chunk
from orchestrator.engine.state import DONE, NodeState, RunFold
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, RunError
from orchestrator.graph import fact as f
from orchestrator.graph.verifying import verifying_graph
from orchestrator.ports.journal import RunRow
from orchestrator.types import Digest

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.cells import Cells

_NONE_CELL = b"\xc0"


@dataclass(frozen=True, slots=True)
class Renewal:
    """A run about to be made from the record of another.

    Attributes:
        created: Its first fact.
        facts: That fact, and the outcomes it takes over; ``chunks`` are those of their chunks that are inline.
        taken: Nodes all of whose finished steps are taken over, with their ids in the record.
        files: Files that are not what the record says.
        acting: Steps with effects that began in the recorded run and will begin again.
    """

    origin: str
    created: f.RunCreated
    facts: list[f.Fact] = field(default_factory=list)
    chunks: dict[Digest, bytes] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    files: list[ChangedFile] = field(default_factory=list)
    acting: tuple[str, ...] = ()

    def create(self, here: Installation, key: str | None = None) -> str:
        """Record the new run; its id, or that of the run that the trigger key has already."""
        run = f"{self.created.pipeline}-{secrets.token_hex(4)}"
        tags = dict(self.created.tags)
        row = RunRow(
            run, self.created.pipeline, "queued", len(self.facts), 0, here.clock.now(), tags=tags, trigger_key=key
        )
        return here.journal.create(row, self.facts, self.chunks)


def renew(here: Installation, run: str, keep: bool) -> Renewal:
    """A run with the recorded code; with ``keep`` it takes over what finished, else it runs all again."""
    fold, recorded = recorded_run(here, run)
    now = file_versions(here, fold.graph)
    changed = changed_files(recorded.files, now)
    created = replace(recorded, files=now, origin=fold.run, repeats=succeeded(fold))
    began = started_nodes(here, fold.run)
    kept = compare(fold, fold.graph, {}, began).kept if keep else {}
    return with_outcomes(here, Renewal(fold.run, created, files=changed), fold, kept, began, is_whole)


def renew_with(here: Installation, code: NewCode, git_commit: str) -> Renewal:
    """A run with other code that takes over what stays valid."""
    fold, recorded = recorded_run(here, code.run)
    graph, capsule = code.store(here)
    created = replace(
        recorded, graph=graph, capsule=capsule, files=dict(code.files), origin=fold.run, git_commit=git_commit,
        repeats=succeeded(fold),
    )  # fmt: skip
    renewal = Renewal(fold.run, created, files=changed_files(recorded.files, code.files))
    return with_outcomes(here, renewal, fold, code.comparison.kept, started_nodes(here, fold.run), is_whole)


def renew_to_verify(here: Installation, run: str) -> Renewal:
    """A run of everything but steps with effects and answers of people, which it takes from the record.

    Raises:
        RunError: the run did not succeed, so there is nothing to compare with.
    """
    fold, recorded = recorded_run(here, run)
    if fold.finished is None or fold.finished.state not in ("succeeded", "degraded"):
        state = fold.finished.state if fold.finished else "not finished"
        raise RunError(f"run {fold.run} is {state}; only a run that succeeded can be verified")
    now = file_versions(here, fold.graph)
    changed = changed_files(recorded.files, now)
    graph = store_graph(here, verifying_graph(fold.graph))
    created = replace(recorded, graph=graph, files=now, origin=fold.run, verifies=True)
    everything = {node.id: node.id for node in fold.graph.nodes}

    def from_record(state: NodeState) -> bool:
        children = [child for child in fold.nodes.values() if child.parent and child.parent[0] == state.node.id]
        acts = has_effects(state.node) or any(from_record(child) for child in children)
        return acts or state.node.kind in ("approval", "signal")

    return with_outcomes(here, Renewal(fold.run, created, files=changed), fold, everything, (), from_record)


def recorded_run(here: Installation, run: str) -> tuple[RunFold, f.RunCreated]:
    """A run and how it was made, if it is no verification, whose steps with effects have no bodies."""
    fold = here.fold(here.journal.run(run).id)
    assert fold.created is not None
    if fold.created.verifies:
        raise RunError(f"run {fold.run} is a verification of {fold.created.origin}; name that run instead")
    return fold, fold.created


def succeeded(fold: RunFold) -> bool:
    """True if what a run read from cursors counts, so that a run of its record must not count it a second time."""
    assert fold.created is not None
    return fold.created.repeats or (fold.finished is not None and fold.finished.state == "succeeded")


def is_whole(state: NodeState) -> bool:
    return state.node.kind != "choice"


def with_outcomes(
    here: Installation,
    renewal: Renewal,
    fold: RunFold,
    kept: dict[str, str],
    began: Collection[str],
    wanted: Callable[[NodeState], bool],
    anew: Mapping[str, Items] = MappingProxyType({}),
) -> Renewal:
    """Take finished steps of these nodes over, without items that begin anew; degraded ones only to verify."""
    cells = here.cells(fold.run)
    facts: list[f.Fact] = []
    chunks: dict[Digest, bytes] = {}
    taken: dict[str, str] = {}
    for node, was in kept.items():
        state = fold.nodes[was]
        if wanted(state) and is_there(cells, state):
            outcomes = list(outcomes_of(node, state, fold.run, renewal.created.verifies, anew.get(node) or ()))
            facts += outcomes
            if outcomes:
                taken[node] = was
                chunks.update(inline_chunks(cells, state))
    if any(isinstance(fact, f.BatchesProduced) for fact in facts):
        chunks.update([one_cell_chunk(_NONE_CELL)])
    whole = {
        was
        for node, was in taken.items()
        if fold.nodes[was].is_settled and not fold.nodes[was].degraded and node not in anew
    }
    acting = [step for node in fold.graph.nodes if node.id not in whole for step in acted_below(fold, node.id, began)]
    return replace(renewal, facts=[renewal.created, *facts], chunks=chunks, taken=taken, acting=tuple(acting))


def outcomes_of(
    node: str, state: NodeState, run: str, degraded: bool, without: Collection[int] = ()
) -> Iterator[f.Fact]:
    """Facts that give a node of another run the outcomes that it has in this one, and what it proposes of cursors."""
    for index, proposed in state.cursors.items():
        if state.status[index] == DONE and index not in without:
            yield f.CursorsRead(node, index, proposed)
    if state.node.policy.streaming:
        if state.status[0] == DONE:
            for span in state.outputs.spans:
                yield f.BatchesProduced(node, span.start, span.stop, span.chunk, span.at)
            yield f.StepsCompleted(node, 0, 1, one_cell_chunk(_NONE_CELL)[0], cached=run)
        return
    if state.node.is_map and state.closed and not state.skipped:
        yield f.MapExpanded(node, state.length)
    single = not state.node.is_map
    left_out = {*without, *(() if degraded else state.degraded)}
    for span in state.outputs.spans:
        for start, stop in _pieces(span.start, span.stop, left_out):
            yield f.StepsCompleted(
                node, start, stop, span.chunk, span.at + start - span.start, cached=run,
                truth=state.truth if single else None, length=state.output_length if single else None,
            )  # fmt: skip


def _pieces(start: int, stop: int, without: Collection[int]) -> Iterator[tuple[int, int]]:
    """``start..stop`` without some items."""
    for item in sorted(item for item in without if start <= item < stop):
        if start < item:
            yield start, item
        start = item + 1
    if start < stop:
        yield start, stop


def is_there(cells: Cells, state: NodeState) -> bool:
    """True if all bytes of a node's outputs are there and whole; that also spares them from collection."""
    try:
        return all(
            cells.present(cell) for span in state.outputs.spans
            for cell in cells.chunk(span.chunk)[span.at : span.at + span.stop - span.start]
        )  # fmt: skip
    except (ArtifactMissing, ArtifactCorrupt):
        return False


def inline_chunks(cells: Cells, state: NodeState) -> Iterator[tuple[Digest, bytes]]:
    for digest in {span.chunk for span in state.outputs.spans}:
        data = cells.inline_chunk(digest)
        if data is not None:
            yield digest, data
