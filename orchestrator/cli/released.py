"""Releases of an application, found in the journal and read as plain data: nothing of their authors' code runs.

A release that has ended is what its step returned; one that goes on, or that nobody drives, is its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.app.outputs import StoredValues
from orchestrator.errors import ArtifactMissing
from orchestrator.graph import fact as f
from orchestrator.ports.values import Cell, Entry
from orchestrator.serving import Release, ReleaseState, state_from_json
from orchestrator.serving.strategy import KINDS

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

MOST_RUNS = 500
"""Older runs are looked at only by name."""

_RECORD = f"{Release.__module__}:{Release.__qualname__}"
_STRATEGIES = {f"{kind.__module__}:{kind.__qualname__}": kind for kind in KINDS.values()}


@dataclass(frozen=True, slots=True)
class Found:
    """A release and the step that carries it out.

    Attributes:
        known: Its record, or its state if it has not ended.
        driven: Whether it goes on by itself.
    """

    run: str
    step: str
    known: Release | ReleaseState
    driven: bool


def releases_of(here: Installation, app: str, run: str | None = None) -> Iterator[Found]:
    """Releases of an application whose router has been asked for anything, newest first; of one run if it is named."""
    rows = here.journal.runs(limit=MOST_RUNS) if run is None else [here.journal.run(run)]
    for row in rows:
        graph = here.graph(here.created(row.id))
        if not any(node.kind == "dynamic" or node.policy.effects for node in graph.nodes):
            continue
        driven = here.journal.owner(row.id) is not None
        found = [Found(row.id, node, known, driven) for node, known in _known(here, row.id) if known.app == app]
        yield from sorted(found, key=lambda one: one.known.began_at, reverse=True)


def _known(here: Installation, run: str) -> Iterator[tuple[str, Release | ReleaseState]]:
    """By node: what its step returned, or else kept last, also if it failed or was cancelled since."""
    fold, cells, values = here.fold(run), here.cells(run), StoredValues(here)
    acting = {name: state for name, state in fold.nodes.items() if state.node.policy.effects and not state.many}
    kept: dict[str, f.CheckpointSaved] = {}
    if any(state.outputs.find(0) is None for state in acting.values()):
        kept = {r.fact.node: r.fact for r in here.journal.facts(run) if isinstance(r.fact, f.CheckpointSaved)}
    for name, state in acting.items():
        ended = state.outputs.find(0)
        if ended is not None:
            cell = cells.at(ended)
            if isinstance(cell, Entry) and cell.type == _RECORD:
                yield from ((name, one) for one in _record(values.data(cell), cells.child(cell, "strategy")))
        elif name in kept:
            try:
                document = values.data(cells.chunk(kept[name].chunk)[kept[name].at])
            except ArtifactMissing:  # collected: of a release that did not end well, long ago
                continue
            if isinstance(document, dict) and "strategy" in document and "step_began_at" in document:
                yield name, state_from_json(document)


def _record(document: Any, strategy: Cell | None) -> Iterator[Release]:
    kind = _STRATEGIES.get(strategy.type) if isinstance(strategy, Entry) else None
    if kind is not None:
        record = msgspec.convert(document, Release)
        yield replace(record, strategy=msgspec.convert(document["strategy"], kind))
