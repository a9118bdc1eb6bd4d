"""Releases and rollbacks, found in the journal and read as plain data: nothing of their authors' code runs.

A release that has ended is what its step returned; one that goes on, or that nobody drives, is its last checkpoint.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orchestrator.app.handover import BACK, OUT, given_text
from orchestrator.app.installation import Installation, shared
from orchestrator.app.outputs import StoredValues
from orchestrator.errors import ArtifactMissing, ConfigError, NotFound, StoreError
from orchestrator.graph import fact as f
from orchestrator.ports.values import Cell, Entry
from orchestrator.serving import Release, ReleaseState, Shadow, state_from_json
from orchestrator.serving.strategy import KINDS

if TYPE_CHECKING:
    from orchestrator.ports.journal import RunRow

MOST_RUNS = 500
"""Older runs are looked at only by name."""

_ROLLBACK = "stages.deployment.releasing:rollback"
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

    @property
    def state(self) -> Literal["running", "stopped", "ended"]:
        """``stopped`` if it has not ended and nobody drives its run."""
        if isinstance(self.known, Release):
            return "ended"
        return "running" if self.driven else "stopped"


@dataclass(frozen=True, slots=True)
class WentBack:
    """A rollback by hand that was carried out.

    Attributes:
        version: That answers since, as the router calls it.
        at: When its run ended, in seconds since 1970, or began if it has not.
    """

    run: str
    step: str
    app: str
    version: str
    at: float


class Releases:
    """Releases and rollbacks on record, at hand for pages: a run is read again only when it has new facts.

    Args:
        installation: The one that the environment names when it is asked, if None.
    """

    def __init__(self, installation: Installation | None = None) -> None:
        self._given = installation
        self._kept: dict[str, tuple[int, tuple[Found | WentBack, ...]]] = {}
        self._lock = threading.Lock()

    @property
    def _here(self) -> Installation:
        return self._given or shared().get()

    def __getitem__(self, app: str) -> Release | ReleaseState:
        """The newest release of an application: its record, or its state if it has not ended.

        Raises:
            NotFound: there is none among the last runs.
        """
        found = self.list(app)
        if not found:
            raise NotFound(f"there is no release of {app} in the last {MOST_RUNS} runs; orc ls lists runs")
        return found[0]

    def list(self, app: str) -> list[Release | ReleaseState]:
        """Releases of an application, newest first, as far as their runs are among the last ones."""
        return [one.known for one in self.all() if isinstance(one, Found) and one.known.app == app]

    def all(self) -> builtins.list[Found | WentBack]:
        """Of all applications, newest first: those of the last runs, and the last ones by ``orc release``."""
        journal = self._here.journal
        with self._lock:
            rows = [row for name in (None, OUT, BACK) for row in journal.runs(name, limit=MOST_RUNS)]
            rows = list({row.id: row for row in rows}.values())
            self._kept = {row.id: self._read(row) for row in rows}
            found = [self._with_driver(row, one) for row in rows for one in self._kept[row.id][1]]
        return sorted(found, key=began, reverse=True)

    def _read(self, row: RunRow) -> tuple[int, tuple[Found | WentBack, ...]]:
        kept = self._kept.get(row.id)
        if kept is not None and kept[0] == row.seq:
            return kept
        try:
            return row.seq, tuple(_of_run(self._here, row))
        except (StoreError, ConfigError, msgspec.ValidationError):  # its own page says what is the matter with it
            return row.seq, ()

    def _with_driver(self, row: RunRow, one: Found | WentBack) -> Found | WentBack:
        if isinstance(one, WentBack) or isinstance(one.known, Release):
            return one
        return replace(one, driven=self._here.journal.owner(row.id) is not None)


def began(one: Found | WentBack) -> float:
    """When it began to move requests, in seconds since 1970."""
    return one.known.began_at if isinstance(one, Found) else one.at


def weights_of(one: Found | WentBack) -> dict[str, float]:
    """Percent of the requests for each version, as it was left or seen last; empty if somebody else decided."""
    if isinstance(one, WentBack):
        return {one.version: 100.0}
    known = one.known
    if isinstance(known, Release):
        return {} if known.outcome == "overruled" else {known.version: 100.0}
    moments = known.trail.moments
    weight = 0.0 if isinstance(known.strategy, Shadow) or not moments else moments[-1].weight
    return {version: share for version, share in ((known.candidate, weight), (known.stable, 100 - weight)) if share}


def model_of(here: Installation, run: str) -> str:
    """The version of the registry that a run of ``orc release`` sent out; empty for other runs."""
    created = here.created(run)
    return given_text(created, "model") if created.pipeline == OUT else ""


def releases_of(here: Installation, app: str, run: str | None = None) -> Iterator[Found]:
    """Releases of an application whose router has been asked for anything, newest first; of one run if it is named."""
    rows = here.journal.runs(limit=MOST_RUNS) if run is None else [here.journal.run(run)]
    for row in rows:
        found = [one for one in _of_run(here, row) if isinstance(one, Found) and one.known.app == app]
        yield from sorted(found, key=began, reverse=True)


def _of_run(here: Installation, row: RunRow) -> Iterator[Found | WentBack]:
    graph = here.graph(here.created(row.id))
    if not any(node.kind == "dynamic" or node.policy.effects for node in graph.nodes):
        return
    driven = here.journal.owner(row.id) is not None
    for node, known in _known(here, row.id):
        if isinstance(known, dict):
            at = row.finished_at or row.started_at or row.created_at
            yield WentBack(row.id, node, str(known["app"]), str(known["version"]), at)
        else:
            yield Found(row.id, node, known, driven)


def _known(here: Installation, run: str) -> Iterator[tuple[str, Release | ReleaseState | dict[str, Any]]]:
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
            elif state.node.stage is not None and state.node.stage.ref == _ROLLBACK:
                yield name, values.data(cell)
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


releases = Releases()
