"""A run, and each of its steps, gathered from the journal to be drawn; nothing that could run code is opened."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.app.arguments import expr_text, looks_like
from orchestrator.app.artifact import Artifact
from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.picture import run_graph
from orchestrator.app.reasons import reasons_of
from orchestrator.app.record import Item, NodeTimes, RunRecord
from orchestrator.app.step_inputs import inputs_of
from orchestrator.app.step_log import LogRange, read_log, written
from orchestrator.app.sweeps import sweep_views
from orchestrator.artifacts.preview import described
from orchestrator.engine.state import DONE, NodeState
from orchestrator.errors import ConfigError
from orchestrator.graph import fact as f
from orchestrator.graph.node import dependencies
from orchestrator.views.run import RunView, run_page
from orchestrator.views.status import LOOKS, NodeStatus, duration_text
from orchestrator.views.step import ItemRow, StepView
from orchestrator.views.timeline import TimelineRow
from orchestrator.views.value import ValueView

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

MOST_STEPS = 300
"""Nodes that are told of one by one; the others are counted."""

LOG_BYTES = 12_000
"""How much of what a step wrote is shown: the end of it."""

_ITEMS, _FAILED_ITEMS, _REASONS, _SPANS, _CURVES = 10, 20, 20, 200, 40
_BACKENDS = {"local": "local workers", "ray": "Ray", "auto": "local workers, Ray where needed"}


@dataclass(slots=True)
class _Told:
    """What is not kept in memory of a node: what happened to it, and where its logs are."""

    reasons: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=_REASONS))
    logs: deque[LogRange] = field(default_factory=lambda: deque(maxlen=_SPANS))


class Report:
    """The record of one run, read now.

    Args:
        in_full: Also what each step wrote, and what happened to it: the journal is read once more.
    """

    def __init__(self, installation: Installation, run: str, in_full: bool = True) -> None:
        self._here = installation
        self._record = RunRecord(installation, run)
        self._record.advance()
        self._statuses, self._times = self._record.statuses(), self._record.times()
        self._told: dict[tuple[str, int | None], _Told] = {}
        self._in_full = in_full

    def run(self) -> RunView:
        """The run, with its first few hundred nodes."""
        record, fold, row = self._record, self._record.fold, self._record.row
        nodes = [state for state in fold.nodes.values() if state.node.kind not in CONTROL_KINDS]
        if self._in_full:
            self._read([(state.node.id, None) for state in nodes[:MOST_STEPS]])
        steps = [self._step(state, None) for state in nodes[:MOST_STEPS]]
        counts: Counter[str] = Counter()
        for state in nodes:
            counts.update(self._statuses[state.node.id].counts)
        finished, created = fold.finished, fold.created
        begin, end = self._span()
        critical = record.critical()
        outcome = finished.outcome if finished else ""
        waits = [asked.text or node for node, asked in fold.waiting.items() if row.state not in f.FINISHED]
        bars = [self._bar(step, step.address in critical) for step in steps]
        sweeps = list(sweep_views(self._here, fold)) if self._in_full else []
        return RunView(
            row.id, row.pipeline, row.state, "refused by a gate" if outcome == "refused" else row.state,
            finished.reason if finished else "", self._facts(), dict(created.params) if created else {},
            {state: counts[state] for state in LOOKS if counts[state]}, run_graph(fold), self._timed(), steps,
            self._failure(), waits, bars, begin, end, critical, len(nodes) - len(steps), sweeps,
        )  # fmt: skip

    def step(self, node: str, item: int | None) -> StepView:
        """One step, or a map as a whole."""
        if self._in_full:
            self._read([(node, item)])
        return self._step(self._record.fold.nodes[node], item)

    # ---- the run

    def _facts(self) -> list[tuple[str, str]]:
        record, row, created = self._record, self._record.row, self._record.fold.created
        over = row.finished_at is not None and row.started_at is not None
        backend = record.drivers[-1][1].backend if record.drivers else ""
        driver = record.driver or ("" if row.state in f.FINISHED else "none")
        return [
            ("pipeline", row.pipeline),
            ("started", moment(row.started_at)),
            ("took", duration_text((row.finished_at or 0.0) - (row.started_at or 0.0)) if over else ""),
            ("steps on", _BACKENDS.get(backend, backend)),
            ("driver", driver),
            ("commit", created.git_commit[:12] if created else ""),
            ("repeats", created.origin if created else ""),
            *row.tags.items(),
        ]

    def _failure(self) -> tuple[str, f.Failure] | None:
        fold = self._record.fold
        for node, index in fold.failed[:1]:
            state = fold.nodes[node]
            return (f"{node}[{index}]" if state.node.is_map else node), state.failures[index]
        return None

    def _timed(self) -> dict[str, NodeStatus]:
        """States for the graph; a node's time is that of its body, not of the bundle it travelled in."""
        return {node: self._with_time(status, self._times[node]) for node, status in self._statuses.items()}

    def _with_time(self, status: NodeStatus, times: NodeTimes) -> NodeStatus:
        ran_s = _between(times.started_at, times.ended_at)
        return status if ran_s is None else replace(status, elapsed_s=ran_s)

    def _span(self) -> tuple[float, float]:
        row = self._record.row
        known = [at for one in self._times.values() for at in (one.started_at, one.ended_at) if at is not None]
        begin = min([row.started_at or row.created_at, *known])
        end = row.finished_at if row.state in f.FINISHED else self._here.clock.now()
        if row.state not in f.FINISHED and self._record.driver is None:
            end = max(known, default=begin)
        return begin, max([end or begin, *known])

    def _bar(self, step: StepView, critical: bool) -> TimelineRow:
        times = self._times[step.address]
        return TimelineRow(step.address, step.state, times.ready_at, times.started_at, times.ended_at, critical)

    # ---- a step

    def _step(self, state: NodeState, item: int | None) -> StepView:
        record, node = self._record, state.node
        single = item if item is not None else None if node.many else 0
        known = single is not None and single < state.length
        one = record.page(state, [single])[0] if known and single is not None else None
        times, status, told = self._times[node.id], self._statuses[node.id], self._told.get((node.id, item), _Told())
        log, cut = self._log(told)
        items = record.items.of(node.id)
        return StepView(
            address=node.id if item is None else f"{node.id}[{item}]",
            kind=node.kind,
            state=one.state if one is not None else status.state,
            counts=dict(status.counts) if item is None else {},
            many=node.many and item is None,
            steps=state.length if state.closed else None,
            stage=node.stage.ref.partition("#")[0] if node.stage else node.kind,
            source=f"{node.source.file}:{node.source.line}" if node.source else "",
            started=moment(one.started_at if one is not None else times.started_at),
            waited_s=_between(times.ready_at, times.started_at) if item is None else None,
            ran_s=one.elapsed_s if one is not None and one.elapsed_s is not None
            else _between(times.started_at, times.ended_at) if item is None else None,
            why=items.reason,
            needs=list(dict.fromkeys(ref.node for ref in dependencies(node))),
            failure=self._why_failed(state, one),
            inputs=self._inputs(state, item),
            output=None if single is None or not self._in_full else self._output(state, single),
            attempts=[] if single is None else self._attempts(node.id, single),
            reports=[] if single is None else items.metrics_of(single),
            item_reports=self._item_reports(node.id) if node.many and item is None else [],
            checks=[(one.state, one.name, one.message) for one in record.following.quality.totals(node.id)],
            log=log,
            log_cut=cut,
            items=self._items(state) if node.many and item is None and self._in_full else [],
            reasons=list(told.reasons),
        )  # fmt: skip

    def _why_failed(self, state: NodeState, one: Item | None) -> f.Failure | None:
        if one is not None:
            return one.failure if one.state not in ("succeeded", "cached") else None
        open_ = [index for index in sorted(state.failures) if state.status[index] != DONE or index in state.degraded]
        return state.failures[open_[0]] if open_ else None

    def _inputs(self, state: NodeState, item: int | None) -> list[tuple[str, str, str]]:
        """Arguments of a step; of an item of a map what is its own."""
        record, node = self._record, state.node
        if item is None or not node.is_map:
            return [(name, expr_text(expr), looks_like(record, expr)) for name, expr in node.args.items()]
        own = {one.name: one for one in inputs_of(self._here, record.fold, state, item)}
        return [(name, own[name].source or own[name].preview, own[name].preview if own[name].source else "")
                for name in node.args]  # fmt: skip

    def _output(self, state: NodeState, item: int) -> ValueView | None:
        span = state.outputs.find(item)
        if span is None:
            return None
        return Artifact(self._here, self._here.cells(self._record.row.id).at(span), state.node.id).view()

    def _attempts(self, node: str, item: int) -> list[tuple[str, str, str]]:
        found = []
        for one in self._record.items.of(node).attempts(item):
            said = "completed" if one.ended_at is not None else "under way"
            if one.failure is not None:
                said = f"{one.failure.name}: {one.failure.message}"
            found.append((moment(one.started_at), one.worker, said))
        return found

    def _item_reports(self, node: str) -> list[list[dict[str, float]]]:
        """What the first items that reported anything have reported."""
        found: dict[int, list[dict[str, float]]] = {}
        for one in self._record.items.of(node).metrics:
            if one.index in found or len(found) < _CURVES:
                found.setdefault(one.index, []).append(dict(one.metrics))
        return [found[index] for index in sorted(found)]

    def _items(self, state: NodeState) -> list[ItemRow]:
        """The first items, and the first that failed."""
        open_ = [index for index in sorted(state.failures) if state.status[index] != DONE][:_FAILED_ITEMS]
        wanted = sorted({*range(min(_ITEMS, state.length)), *open_})
        return [
            ItemRow(
                one.index, one.state, one.attempts, one.elapsed_s,
                f"{one.failure.name}: {one.failure.message}" if one.failure is not None and one.state == "failed"
                else described(one.cell) if one.state in ("succeeded", "cached", "degraded") else "",
            )
            for one in self._record.page(state, wanted)
        ]  # fmt: skip

    # ---- what is read from the journal once more

    def _read(self, wanted: Sequence[tuple[str, int | None]]) -> None:
        by_node: dict[str, list[int | None]] = {}
        for node, item in wanted:
            by_node.setdefault(node, []).append(item)
            self._told[node, item] = _Told()
        for recorded in self._here.journal.facts(self._record.row.id):
            for fact in f.apart(recorded.fact):
                named = getattr(fact, "node", None)
                told = [named] if isinstance(named, str) and named in by_node else []
                for about in by_node if isinstance(fact, f.CodeChanged) else told:
                    for item in by_node[about]:
                        self._note(about, item, fact, recorded.at)

    def _note(self, node: str, item: int | None, fact: f.Fact, at: float) -> None:
        told = self._told[node, item]
        if isinstance(fact, f.LogsWritten):
            told.logs.extend(part for _, part in written(fact, item))
        told.reasons.extend((moment(at), what, why) for what, why in reasons_of(fact, at, node, item))

    def _log(self, told: _Told) -> tuple[str, bool]:
        """The end of what was written, and whether there is more before it."""
        parts: list[LogRange] = []
        left, cut = LOG_BYTES, len(told.logs) == _SPANS
        for part in reversed(told.logs):
            parts.append(part._replace(start=max(part.start, part.stop - left)))
            left -= part.stop - part.start
            if left < 0:
                cut = True
                break
        return read_log(self._here.settings.logs_dir, reversed(parts)), cut


def write_page(installation: Installation, run: str, path: Path) -> Path:
    """Write all of a run into one HTML file.

    Raises:
        ConfigError: the file cannot be written.
    """
    page = run_page(Report(installation, run).run())
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"run {run} cannot be exported to {path}: {error.strerror}; name a file that can be written"
        ) from error
    return path


def moment(at: float | None) -> str:
    """A wall-clock time for people, in their time zone."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _between(start: float | None, stop: float | None) -> float | None:
    return None if start is None or stop is None else max(stop - start, 0.0)
