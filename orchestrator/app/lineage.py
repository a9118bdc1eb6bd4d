"""Lineage over the runs of an installation: around a run, a step, a version of a data set or model, or a file.

A version leads to the run that published it and to the runs that were given it; how far, is bounded. What a run says
is read once, and again only if it has changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.app.outputs import StoredValues
from orchestrator.app.picture import run_statuses
from orchestrator.app.quality import quality_of
from orchestrator.artifacts.preview import columns
from orchestrator.engine.state import NodeState
from orchestrator.errors import ArtifactCorrupt, ArtifactMissing, ArtifactUnreadable, ConfigError, NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, ListExpr, Node
from orchestrator.graph.version import names_version, parse_version
from orchestrator.ports.values import Cell, Entry, decode_cell, describe, digest_of
from orchestrator.readers.lineage import (
    WIRING,
    Column,
    Deployed,
    Lineage,
    RunLineage,
    StepLineage,
    file_key,
    needs_of,
    step_key,
)
from orchestrator.types import parse_address

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.cells import Cells
    from orchestrator.engine.state import RunFold
    from orchestrator.ports.registry import PublishedVersion

MOST_RUNS = 30
"""Runs that one lineage reaches over."""

_SEARCHED, _KEPT, _MOST_COLUMNS, _MOST_BYTES = 500, 64, 400, 64 * 1024 * 1024
_SERVED = {
    "orchestrator.serving.record:Release": "outcome",
    "orchestrator.ports.serving:Endpoint": "",
    "orchestrator.graph.handover:Handover": "why",
}
"""Outputs that say what answers for an application now, and the field that says what became of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A lineage around what was asked for.

    Attributes:
        focus: Keys of the vertices that were asked for.
        runs: Runs that it reaches over; ``more`` if there are others behind them.
    """

    lineage: Lineage
    focus: tuple[str, ...]
    runs: tuple[str, ...]
    more: bool


class Lineages:
    """Lineages of an installation. Thread-safe."""

    def __init__(self, installation: Installation) -> None:
        self._here = installation
        self._lock = threading.Lock()
        self._records: OrderedDict[str, tuple[int, RunLineage]] = OrderedDict()
        self._given: dict[str, f.RunCreated] = {}

    def of(self, subject: str, up: bool = True, down: bool = True, code: bool = True) -> Found:
        """Lineage around ``RUN``, ``RUN/STEP``, ``data:NAME@v3``, ``model:NAME@TAG`` or ``file:PATH``.

        Raises:
            NotFound: there is no such thing on record.
            ConfigError: the text names nothing of these.
        """
        with self._lock:
            self._read_given()
            versions = {row.address: row for row in self._here.registry.versions()}
            begin, focus = self._begin(subject)
            lineage, runs, more = self._gathered(begin, versions, up, down)
        if focus == ():
            focus = tuple(key for key, vertex in lineage.vertices.items() if vertex.run == begin[0])
        elif subject.startswith("file:"):
            focus = tuple(key for key in lineage.vertices if key.startswith(focus[0]))
        if not any(key in lineage.vertices for key in focus):
            raise NotFound(f"nothing is on record of where {subject} came from or went")
        return Found(lineage.around(focus, up, down, code), focus, tuple(runs), more)

    def _begin(self, subject: str) -> tuple[list[str], tuple[str, ...]]:
        """Runs to begin with, and the keys in the middle; none for all of the first run."""
        if names_version(subject):
            row = self._here.registry.find(parse_version(subject))
            return [row.run, *self._readers(row.address)], (row.address,)
        if subject.startswith("file:"):
            path = subject.removeprefix("file:")
            return [run for run, created in self._given.items() if path in created.files], (file_key(path, ""),)
        run, slash, address = subject.partition("/")
        if not run:
            raise ConfigError(f"{subject!r}: name a run, RUN/STEP, data:NAME, model:NAME or file:PATH")
        name = self._here.journal.run(run).id
        if not slash:
            return [name], ()
        node = parse_address(address)[0]
        if node not in self._here.fold(name).nodes:
            raise NotFound(f"run {name} has no step {node!r}")
        return [name], (step_key(name, node),)

    def _gathered(
        self, begin: Sequence[str], versions: dict[str, PublishedVersion], up: bool, down: bool
    ) -> tuple[Lineage, list[str], bool]:
        lineage, runs, pending, more = Lineage(), list[str](), list(begin), False
        while pending:
            run = pending.pop(0)
            if run in runs:
                continue
            if len(runs) == MOST_RUNS:
                more = True
                break
            record = self._record(run, versions)
            if record is None:
                continue
            runs.append(run)
            lineage.add(record)
            for step in record.steps:
                pending += [versions[address].run for address in step.versions if up and address in versions]
                for address in step.publishes if down else ():
                    pending += self._readers(address)
        return lineage, runs, more

    def _readers(self, address: str) -> list[str]:
        return [run for run, created in self._given.items() if address in created.versions.values()]

    def _read_given(self) -> None:
        """What the newest runs were given; of those that are known nothing is read again."""
        rows = self._here.journal.runs(limit=_SEARCHED)
        self._given = {row.id: self._given.get(row.id) or self._here.created(row.id) for row in rows}

    def _record(self, run: str, versions: dict[str, PublishedVersion]) -> RunLineage | None:
        """What a run says; None if it was removed."""
        try:
            seq = self._here.journal.run(run).seq
            kept = self._records.get(run)
            if kept is None or kept[0] != seq:
                kept = (seq, run_lineage(self._here, run, list(versions.values())))
        except (NotFound, ArtifactMissing, ArtifactCorrupt):
            return None
        self._records[run] = kept
        self._records.move_to_end(run)
        if len(self._records) > _KEPT:
            self._records.popitem(last=False)
        return kept[1]


def run_lineage(here: Installation, run: str, versions: Sequence[PublishedVersion]) -> RunLineage:
    """What the record of one run says of where things came from."""
    fold, facts = here.fold(run), list(here.journal.facts(run))
    created = fold.created or here.created(run)
    reading = _Reading(here, fold, created, facts, versions)
    return RunLineage(run, created.pipeline, created.git_commit, dict(created.files), list(reading.steps()))


class _Reading:
    """Makes the steps of one run."""

    def __init__(
        self, here: Installation, fold: RunFold, created: f.RunCreated, facts: Sequence[f.Recorded],
        versions: Sequence[PublishedVersion],
    ) -> None:  # fmt: skip
        self._here = here
        self._fold = fold
        self._created = created
        self._cells: Cells = here.cells(fold.run)
        self._profiles = quality_of(facts).profiles
        self._statuses = run_statuses(fold)
        self._reused = {fact.node: fact.cached for one in facts if isinstance(fact := one.fact, f.StepsCompleted)
                        and fact.cached}  # fmt: skip
        self._numbers = {(row.name, row.digest): row.address for row in versions}
        given = set(created.versions.values())
        self._given = {row.cell: row.address for row in versions if row.address in given}
        self._published: dict[str, dict[str, None]] = {}
        for one in facts:
            if isinstance(one.fact, f.VersionPublished):
                address = self._numbers.get((one.fact.name, one.fact.digest))
                if address is not None:
                    self._published.setdefault(one.fact.node, {})[address] = None

    def steps(self) -> Iterator[StepLineage]:
        """All nodes with work of their own."""
        nodes = {name: state.node for name, state in self._fold.nodes.items()}
        for name, state in self._fold.nodes.items():
            if state.node.kind in WIRING:
                continue
            needs, gates = needs_of(state.node, nodes)
            parent = state.parent[0] if state.parent is not None else None
            stage, cell = state.node.stage, self._cell(state)
            yield StepLineage(
                node=name,
                stage=stage.ref if stage else "",
                fingerprint=stage.fingerprint if stage else "",
                needs=needs,
                decided_by=(*gates, parent) if parent is not None and parent not in needs else gates,
                files=tuple(self._files(state.node)),
                versions=tuple(self._versions(state.node)),
                state=self._statuses[name].state,
                output=self._told(state, cell),
                digest="" if cell is _NONE else digest_of(cell),
                reused=self._reused.get(name, ""),
                publishes=tuple(self._published.get(name, ())),
                columns=tuple(self._columns(name) or self._schema(cell)),
                deployed=None if cell is _NONE else self._deployed(cell),
            )

    def _cell(self, state: NodeState) -> Any:
        span = None if state.many else state.outputs.find(0)
        if span is None:
            return _NONE
        try:
            return self._cells.at(span)
        except (ArtifactMissing, ArtifactCorrupt):
            return _NONE

    def _told(self, state: NodeState, cell: Any) -> str:
        if state.many:
            return f"{state.batches if state.node.policy.streaming else state.length:,} outputs"
        return "" if cell is _NONE else describe(cell).preview

    def _files(self, node: Node) -> Iterator[str]:
        for name in node.stage.files if node.stage is not None else ():
            expr = node.args.get(name)
            for one in expr.items if isinstance(expr, ListExpr) else (expr,):
                if isinstance(one, Const) and one.cell is not None:
                    cell = decode_cell(one.cell)
                    if isinstance(cell, str):
                        yield cell

    def _versions(self, node: Node) -> Iterator[str]:
        for expr in node.args.values():
            for one in expr.items if isinstance(expr, ListExpr) else (expr,):
                if isinstance(one, Const) and one.cell in self._given:
                    yield self._given[one.cell]

    def _columns(self, node: str) -> list[Column]:
        """Of the tables that a step gave, or that its first item did, as they were described when they were made."""
        for _, fact in sorted(self._profiles.get(node, {}).items())[:1]:
            try:
                profiles = StoredValues(self._here).data(self._cells.chunk(fact.chunk)[fact.at])
            except (ArtifactMissing, ArtifactCorrupt):
                return []
            parts = profiles.values() if isinstance(profiles, dict) else ()
            found = {str(one["name"]): str(one["type"]) for part in parts for one in part.get("columns", ())}
            return [Column(*one) for one in list(found.items())[:_MOST_COLUMNS]]
        return []

    def _schema(self, cell: Any) -> list[Column]:
        """Of a table that nobody described, from the beginning of what is stored."""
        if cell is _NONE or not isinstance(cell, Entry) or cell.size > _MOST_BYTES:
            return []
        try:
            return [Column(*one) for one in columns(self._here.artifacts, cell)[:_MOST_COLUMNS]]
        except (ArtifactMissing, ArtifactCorrupt, ArtifactUnreadable):
            return []

    def _deployed(self, cell: Cell) -> Deployed | None:
        field = _SERVED.get(describe(cell).type)
        if field is None:
            return None
        parts = {name: self._cells.child(cell, name) for name in ("app", "candidate", "version", field) if name}
        said = {name: part for name, part in parts.items() if isinstance(part, str)}
        version = said.get("candidate", said.get("version", ""))
        return Deployed(said.get("app", ""), version, said.get(field, "").replace("_", " "))


_NONE: Any = object()
"""There is no output; None is one."""
