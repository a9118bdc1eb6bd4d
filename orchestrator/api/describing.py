"""Records of runs as documents of the API; pages show the same documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

from orchestrator.api import schemas as s
from orchestrator.app.arguments import expr_text, looks_like
from orchestrator.app.costs import consumed_by_node
from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.record import Item, NodeTimes, RunRecord
from orchestrator.app.step_inputs import inputs_of
from orchestrator.artifacts.preview import described
from orchestrator.config.prices import read_prices
from orchestrator.engine.state import DONE, NodeState
from orchestrator.graph import fact as f
from orchestrator.graph.node import Expr, Ref, dependencies
from orchestrator.ports.journal import RunRow
from orchestrator.readers.cost import Consumed, consumed, cost_of, total
from orchestrator.views.status import LOOKS, NodeStatus


def iso(at: float | None) -> str | None:
    """A wall-clock time as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def run_of(row: RunRow, driver: str | None) -> s.Run:
    """A run."""
    return s.Run(
        id=row.id, pipeline=row.pipeline, state=row.state, driver=driver, created_at=iso(row.created_at) or "",
        started_at=iso(row.started_at), finished_at=iso(row.finished_at), tags=dict(row.tags), seq=row.seq,
    )  # fmt: skip


def detail_of(record: RunRecord) -> s.RunDetail:
    """A run with what it was started with and how it ended."""
    fold, row = record.fold, record.row
    created, finished = fold.created, fold.finished
    counts: Counter[str] = Counter()
    for node, status in record.statuses().items():
        if fold.nodes[node].node.kind not in CONTROL_KINDS:
            counts.update(status.counts)
    waiting = [
        s.Waiting(step=node, kind=fold.nodes[node].node.kind, text=asked.text, deadline=iso(asked.deadline))
        for node, asked in fold.waiting.items()
        if row.state not in f.FINISHED
    ]
    return s.RunDetail(
        run=run_of(row, record.driver),
        params=dict(created.params) if created else {},
        backend=record.drivers[-1][1].backend if record.drivers else "",
        git_commit=created.git_commit if created else "",
        origin=created.origin if created else "",
        forked=created.forked if created else "",
        reason=finished.reason if finished else "",
        outcome=finished.outcome if finished else "",
        nodes=sum(state.node.kind not in CONTROL_KINDS for state in fold.nodes.values()),
        counts={state: counts[state] for state in LOOKS if counts[state]},
        waiting=waiting,
        critical=record.critical(),
        used=used_by(record, consumed_by_node(fold, record.use).values()),
        actions=_actions(record, bool(waiting)),
    )


def _actions(record: RunRecord, waiting: bool) -> list[Literal["cancel", "resume", "answer"]]:
    if record.row.state in f.FINISHED:
        return []
    found: list[Literal["cancel", "resume", "answer"]] = ["answer"] if waiting else []
    return [*found, *(["resume"] if record.driver is None else []), "cancel"]  # type: ignore[list-item]


def nodes_of(record: RunRecord, control: bool = False) -> list[s.Node]:
    """Nodes of a run in the order of the graph; wiring only if asked for."""
    statuses, times = record.statuses(), record.times()
    return [
        node_of(record, state, statuses[name], times[name])
        for name, state in record.fold.nodes.items()
        if control or state.node.kind not in CONTROL_KINDS
    ]


def one_node(record: RunRecord, state: NodeState) -> s.Node:
    """One node of a run."""
    name = state.node.id
    return node_of(record, state, record.statuses()[name], record.times()[name])


def node_of(record: RunRecord, state: NodeState, status: NodeStatus, times: NodeTimes) -> s.Node:
    """A node with its state and times."""
    node = state.node
    failures = [index for index in sorted(state.failures) if state.status[index] != DONE or index in state.degraded]
    checks = Counter(total.state for total in record.following.quality.totals(node.id))
    return s.Node(
        address=node.id,
        kind=node.kind,
        stage=node.stage.ref if node.stage else "",
        is_map=node.many,
        state=cast(s.StepStateName, status.state),
        steps=state.length if state.closed else None,
        counts=dict(status.ordered()),
        ready_at=iso(times.ready_at),
        started_at=iso(times.started_at),
        ended_at=iso(times.ended_at),
        needs=list(dict.fromkeys(ref.node for ref in dependencies(node))),
        reason=record.items.of(node.id).reason,
        checks=", ".join(f"{checks[name]} {name}" for name in ("failed", "warned", "passed") if checks[name]),
        error=failure_of(state.failures[failures[0]]) if failures else None,
        source=f"{node.source.file}:{node.source.line}" if node.source else "",
    )


def failure_of(failure: f.Failure | None) -> s.Failure | None:
    """A failure."""
    if failure is None:
        return None
    return s.Failure(error=failure.name, message=failure.message, frames=list(failure.frames))


def item_of(item: Item) -> s.Item:
    """One step of a node."""
    failed = None if item.state in ("succeeded", "cached") else failure_of(item.failure)
    seen = "" if item.state in _EMPTY else described(item.cell)
    return s.Item(
        index=item.index, state=cast(s.StepStateName, item.state), attempts=item.attempts,
        started_at=iso(item.started_at), elapsed_s=item.elapsed_s, worker=item.worker, error=failed, preview=seen,
    )  # fmt: skip


_EMPTY = frozenset({"pending", "running", "waiting", "retrying", "failed", "dropped", "skipped", "cancelled"})


def step_of(record: RunRecord, state: NodeState, index: int | None) -> s.StepDetail:
    """One step, or a map as a whole."""
    single = index if index is not None else None if state.node.many else 0
    item = record.page(state, [single])[0] if single is not None and single < state.length else None
    node = state.node.id
    checks = [
        s.Check(name=one.name, severity=one.severity, state=one.state, message=one.message)
        for one in record.following.quality.totals(node)
    ]
    return s.StepDetail(
        run=record.row.id,
        address=node if index is None else f"{node}[{index}]",
        node=one_node(record, state),
        item=item_of(item) if item else None,
        attempts=[] if single is None else _attempts(record, node, single),
        inputs=_inputs(record, state, index),
        checks=checks,
        metrics=[] if single is None else record.items.of(node).metrics_of(single),
        has_output=single is not None and state.outputs.find(single) is not None,
        used=used_by(record, [consumed(record.use.nodes[node], state.node.policy.resources)])
        if node in record.use.nodes
        else None,
    )


def used_by(record: RunRecord, parts: Iterable[Consumed]) -> s.Used | None:
    """What was used and what it costs; None before anything has run."""
    found, prices = total(parts), read_prices(record.installation.settings.home)
    if not found.wall_s:
        return None
    cost = cost_of(found, prices)
    return s.Used(
        wall_s=found.wall_s, cpu_s=found.used_cpu_s, reserved_cpu_s=found.reserved_cpu_s, gpu_s=found.gpu_s,
        peak_bytes=found.peak_bytes, amount=cost.amount, idle_share=cost.idle_share, currency=prices.currency,
    )  # fmt: skip


def _attempts(record: RunRecord, node: str, item: int) -> list[s.Attempt]:
    return [
        s.Attempt(
            number=number, started_at=iso(one.started_at), ended_at=iso(one.ended_at), worker=one.worker,
            error=failure_of(one.failure), retry_at=iso(one.retry_at),
        )
        for number, one in enumerate(record.items.of(node).attempts(item), 1)
    ]  # fmt: skip


def _inputs(record: RunRecord, state: NodeState, index: int | None) -> list[s.Input]:
    """Arguments of a step; of an item of a map what is its own."""
    if index is None or not state.node.is_map:
        return [input_of(record, name, expr) for name, expr in state.node.args.items()]
    own = {one.name: one for one in inputs_of(record.installation, record.fold, state, index)}
    steps = {name: expr.node if isinstance(expr, Ref) else None for name, expr in state.node.args.items()}
    return [
        s.Input(
            name=name, value=own[name].source or own[name].preview, step=step,
            preview=own[name].preview if own[name].source else "",
        )
        for name, step in steps.items()
    ]  # fmt: skip


def input_of(record: RunRecord, name: str, expr: Expr) -> s.Input:
    """An argument of a step."""
    if not isinstance(expr, Ref):
        return s.Input(name=name, value=expr_text(expr), step=None, preview="")
    return s.Input(name=name, value=expr_text(expr), step=expr.node, preview=looks_like(record, expr))


def reasons(record: RunRecord, node: str, item: int | None) -> list[s.Reason]:
    """What happened to a step, in order; the last of it if that is very much."""
    told = record.step_facts(record.fold.nodes[node], item).reasons
    found = [s.Reason(at=iso(at), what=what, why=why) for at, what, why in told]
    if not found:
        state = record.fold.nodes[node]
        needs = dict.fromkeys(ref.node for ref in dependencies(state.node))
        open_ = [need for need in needs if need in record.fold.nodes and not record.fold.nodes[need].is_settled]
        if not state.is_settled:
            found = [s.Reason(at=None, what="waits", why=f"needs {', '.join(open_)}" if open_ else "for a worker")]
    return found


def facts_of(recorded: f.Recorded) -> Sequence[s.Fact]:
    """A fact as the stream tells it: several lines with one number if it is about several nodes."""
    return [_fact(recorded.seq, recorded.at, fact) for fact in f.apart(recorded.fact)]


def _fact(seq: int, at: float, fact: f.Fact) -> s.Fact:
    index, node = getattr(fact, "index", None), getattr(fact, "node", "")
    failure = getattr(fact, "failure", None)
    message = f"{failure.name}: {failure.message}" if failure else getattr(fact, "reason", "")
    name = "".join(f"_{char.lower()}" if char.isupper() else char for char in type(fact).__name__).lstrip("_")
    return s.Fact(
        event=name, at=iso(at) or "", seq=seq, node=node if isinstance(node, str) else "",
        start=getattr(fact, "start", index), stop=getattr(fact, "stop", None if index is None else index + 1),
        state=getattr(fact, "state", ""), message=message or getattr(fact, "text", ""),
    )  # fmt: skip
