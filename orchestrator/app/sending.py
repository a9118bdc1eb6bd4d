"""The reader behind every sink: folds runs, and tells the sink what the facts mean for their nodes.

What a sink has not taken is told again, by this process or a later one, until it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.installation import Installation
from orchestrator.app.reading import Reader
from orchestrator.engine.state import DONE, FAILED, SKIPPED, NodeState, RunFold
from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, Node, dependencies
from orchestrator.ports.journal import RunRow
from orchestrator.ports.sinks import AttemptSpan, Column, DataSet, News, NodeEnd, NodeEnded, NodeStarted, Sink
from orchestrator.ports.values import Entry, decode_cell
from orchestrator.readers.items import Items

_MOST_COLUMNS = 1000


class FoldedRun:
    """A run as sinks see it; see ``ports.sinks.RunView``."""

    def __init__(self, here: Installation, row: RunRow) -> None:
        self._here = here
        self.row = row
        self.fold = RunFold(row.id, here.graph(here.created(row.id)))
        self.items = Items()
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.reports: list[f.Recorded] = []
        self._begun: set[str] = set()
        self._ended: set[str] = set()
        self._profiles: dict[str, f.TableProfiled] = {}
        self._published: list[f.VersionPublished] = []

    @property
    def created(self) -> f.RunCreated | None:
        """How it was made."""
        return self.fold.created

    @property
    def finished(self) -> f.RunFinished | None:
        """How it ended."""
        return self.fold.finished

    def take(self, facts: Sequence[f.Recorded]) -> list[NodeStarted | NodeEnded]:
        """Take facts in; gives what they change."""
        found: list[NodeStarted | NodeEnded] = []
        for recorded in facts:
            self.fold.apply(recorded.fact, recorded.at)
            self.items.add(recorded.fact, recorded.at)
            if isinstance(recorded.fact, f.DriverStarted) and self.started_at is None:
                self.started_at = recorded.at
            elif isinstance(recorded.fact, f.CodeChanged):
                self._begun &= self.fold.nodes.keys()
                self._ended &= {name for name, state in self.fold.nodes.items() if state.is_settled}
            elif isinstance(recorded.fact, f.MetricsReported):
                self.reports.append(recorded)
            elif isinstance(recorded.fact, f.TableProfiled):
                self._profiles[recorded.fact.node] = recorded.fact
            elif isinstance(recorded.fact, f.VersionPublished):
                self._published.append(recorded.fact)
            for fact in f.apart(recorded.fact):
                found += self._changed(fact, recorded.at)
            if isinstance(recorded.fact, f.RunFinished):
                self.finished_at = recorded.at
                found += self._left_over(recorded.at)
        return found

    def _changed(self, fact: f.Fact, at: float) -> list[NodeStarted | NodeEnded]:
        name = getattr(fact, "node", None)
        state = self.fold.nodes.get(name) if isinstance(name, str) else None
        if state is None or state.node.kind in CONTROL_KINDS or state.node.id in self._ended:
            return []
        found: list[NodeStarted | NodeEnded] = []
        node = state.node
        if isinstance(fact, f.StepsStarted | f.StepsCompleted | f.ApprovalRequested) and node.id not in self._begun:
            self._begun.add(node.id)
            found.append(NodeStarted(node, at))
        if state.is_settled:
            self._ended.add(node.id)
            if node.id in self._begun:  # of a branch that was not taken nothing is told
                found.append(NodeEnded(node, at, _end(state), state.length, _failure(state)))
        return found

    def _left_over(self, at: float) -> list[NodeStarted | NodeEnded]:
        """Nodes that had begun when the run ended."""
        found: list[NodeStarted | NodeEnded] = []
        for name in sorted(self._begun - self._ended):
            self._ended.add(name)
            state = self.fold.nodes.get(name)
            if state is not None:
                ended: NodeEnd = "failed" if state.status.count(FAILED) else "cancelled"
                found.append(NodeEnded(state.node, at, ended, state.length, _failure(state)))
        return found

    # ---- what sinks ask

    def parent(self, node: str) -> tuple[str, int] | None:
        """See ``RunView``."""
        state = self.fold.nodes.get(node)
        return None if state is None or state.parent is None else state.parent[:2]

    def attempts(self, node: str, most: int) -> list[AttemptSpan]:
        """See ``RunView``."""
        state, items = self.fold.nodes.get(node), self.items.of(node)
        if state is None:
            return []
        failed = {fact.index for fact, _ in items.failures[:most]}
        found: list[AttemptSpan] = []
        for index in sorted({*range(min(state.length, most)), *failed}):
            page = items.page([index])[0]
            if page.cached:
                continue
            for one in items.attempts(index):
                started_at = one.started_at if one.started_at is not None else one.ended_at
                before = sum(fact.index == index and at <= (started_at or 0.0) for fact, at in items.failures)
                if started_at is None or one.ended_at is None:
                    continue  # lost with its worker: the next one has its number
                elapsed_s = page.elapsed_s if one.failure is None else None
                started_at = min(started_at, one.ended_at - (elapsed_s or 0.0))  # both may be in one commit
                found.append(AttemptSpan(
                    node, index, before + 1, started_at, one.ended_at, elapsed_s, one.worker, one.failure
                ))  # fmt: skip
        return found

    def reads(self, node: Node) -> list[DataSet]:
        """See ``RunView``."""
        found: list[DataSet] = []
        created = self.created
        for expr in node.args.values():
            if isinstance(expr, Const) and expr.cell is not None and created is not None:
                value = decode_cell(expr.cell)
                if isinstance(value, str) and value in created.files:
                    found.append(DataSet(_file_url(value), created.files[value]))
        for name in dict.fromkeys(self._sources(node)):
            found += self.makes(self.fold.nodes[name].node)
        return found

    def _sources(self, node: Node) -> list[str]:
        """Nodes whose outputs reach a node, seen through wiring."""
        found: list[str] = []
        for ref in dependencies(node):
            state = self.fold.nodes.get(ref.node)
            if state is None:
                continue
            if state.node.kind in CONTROL_KINDS:
                found += self._sources(state.node)
            elif state.node.kind not in ("approval", "signal"):
                found.append(ref.node)
        return found

    def makes(self, node: Node) -> list[DataSet]:
        """See ``RunView``."""
        profile = self._profile(node.id)
        columns = tuple(Column(one["name"], one["type"]) for one in profile.get("columns", ())[:_MOST_COLUMNS])
        rows = profile.get("rows")
        named = [one for one in self._published if one.node == node.id]
        if named:
            return [DataSet(one.name, one.digest, columns, rows) for one in named]
        state, version = self.fold.nodes.get(node.id), ""
        span = None if state is None or node.many else state.outputs.find(0)
        if span is not None:
            try:
                cell = self._here.cells(self.row.id).at(span)
                version = cell.digest if isinstance(cell, Entry) else ""
            except OrchestratorError:  # collected: its version is not known any more
                version = ""
        return [DataSet(f"{self.row.pipeline}/{node.id}", version, columns, rows)]

    def _profile(self, node: str) -> Mapping[str, Any]:
        """How the output of a node looked, if it was a table and is still there."""
        fact = self._profiles.get(node)
        if fact is None:
            return {}
        try:
            cell = self._here.cells(self.row.id).chunk(fact.chunk)[fact.at]
            found = self._outputs.data(cell)
        except OrchestratorError:
            return {}
        whole = found.get("") if isinstance(found, dict) else None
        return whole if isinstance(whole, dict) else {}

    @cached_property
    def _outputs(self) -> Any:
        from orchestrator.app.outputs import Outputs

        return Outputs(self._here, self.fold)

    def published(self) -> dict[str, str]:
        """See ``RunView``."""
        found: dict[str, str] = {}
        for one in self._published:
            try:
                rows = self._here.registry.versions(one.name)
            except NotFound:
                rows = []
            number = next((row.number for row in rows if row.digest == one.digest), None)
            found[one.name if number is None else f"{one.name}@v{number}"] = one.digest
        return found


def _end(state: NodeState) -> NodeEnd:
    if state.status.count(FAILED):
        return "failed"
    if state.skipped and not state.status.count(DONE):
        return "skipped"
    if state.status.count(SKIPPED):
        return "cancelled"
    if state.degraded or state.status.count(DONE) < state.length:
        return "degraded"
    return "cached" if state.length and state.reused == state.length else "succeeded"


def _failure(state: NodeState) -> f.Failure | None:
    indexes = [index for index in sorted(state.failures) if state.status[index] != DONE]
    return state.failures[indexes[0]] if indexes else None


def _file_url(path: str) -> str:
    return path if "://" in path else f"file://{path}"


class SinkReader(Reader[FoldedRun]):
    """Tells one sink.

    Args:
        make: Makes the sink, when there is something to tell.
        only: Tells of this run alone.
    """

    def __init__(self, here: Installation, name: str, make: Callable[[], Sink]) -> None:
        self.name = name
        self._here = here
        self._make = make
        self._sink: Sink | None = None

    def begin(self, row: RunRow) -> FoldedRun:
        """See ``Reader``."""
        return FoldedRun(self._here, row)

    def take(self, row: RunRow, state: FoldedRun, facts: Sequence[f.Recorded], known: bool) -> None:
        """See ``Reader``."""
        state.row = row
        changes = state.take(facts)
        if not known:
            self.sink.send(News(state, facts, changes))

    @property
    def sink(self) -> Sink:
        """The sink."""
        if self._sink is None:
            self._sink = self._make()
        return self._sink
