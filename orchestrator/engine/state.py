"""The durable state of a run: a fold over its facts.

Compact by design: a node with a million items is one bytearray of statuses and a few thousand spans,
never a million objects. What may start next is not kept here (see ``frontier``), because it follows from this.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from orchestrator.errors import JournalCorrupt
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_from_json, node_from_json
from orchestrator.graph.node import Graph, Node
from orchestrator.ports.frames import Span

OPEN, DONE, FAILED, SKIPPED, DROPPED, RETRY, WAITING = range(7)
STATUS_NAMES = ("open", "done", "failed", "skipped", "dropped", "retry", "waiting")
SETTLED = frozenset({DONE, FAILED, SKIPPED, DROPPED})

_start = attrgetter("start")


class Outputs:
    """Where the outputs of a node's items are: spans in order of items, merged where they touch."""

    __slots__ = ("spans",)

    def __init__(self, spans: list[Span] | None = None) -> None:
        self.spans: list[Span] = spans or []

    def add(self, start: int, stop: int, chunk: str, at: int) -> None:
        """Record outputs of items ``start..stop``; they must not be there yet."""
        place = bisect_right(self.spans, start, key=_start) if self.spans else 0
        if place:
            before = self.spans[place - 1]
            if before.stop == start and before.chunk == chunk and before.at + (start - before.start) == at:
                self.spans[place - 1] = Span(before.start, stop, chunk, before.at)
                return
        self.spans.insert(place, Span(start, stop, chunk, at))

    def find(self, index: int) -> Span | None:
        """The one-item span of an item, if it has an output."""
        place = bisect_right(self.spans, index, key=_start) - 1
        if place < 0 or self.spans[place].stop <= index:
            return None
        span = self.spans[place]
        return Span(index, index + 1, span.chunk, span.at + index - span.start)

    def within(self, start: int, stop: int) -> list[Span]:
        """Spans of the items ``start..stop`` that have outputs, cut to that range."""
        found = []
        place = max(bisect_right(self.spans, start, key=_start) - 1, 0)
        while place < len(self.spans) and self.spans[place].start < stop:
            span = self.spans[place]
            low, high = max(span.start, start), min(span.stop, stop)
            if low < high:
                found.append(Span(low, high, span.chunk, span.at + low - span.start))
            place += 1
        return found


class NodeState:
    """What has become of the steps of one node.

    Attributes:
        many: As ``Node.many``, which is asked for often.
        length: Number of steps known so far; 1 for a node without items.
        closed: True when ``length`` is final.
        outputs: Of the steps; for a streaming node of its batches (then ``batches`` counts them).
        failed_attempts: Charged failures by item, for items that had any; ``deaths`` counts uncharged ones.
        checkpoints: Where the last checkpoint of an item is, until it is done.
        cursors: What items that read cursors propose, JSON by name; there is one for each that did.
    """

    __slots__ = (
        "batches", "checkpoints", "closed", "cursors", "deaths", "degraded", "failed_attempts", "failures", "length",
        "many", "node", "order", "output_length", "outputs", "parent", "reused", "settled", "status", "truth",
    )  # fmt: skip

    def __init__(self, node: Node, order: int, parent: tuple[str, int, int] | None = None) -> None:
        self.node = node
        self.order = order
        self.parent = parent
        self.many = node.many
        self.closed = not node.mapped
        self.length = 1 if self.closed else 0
        self.status = bytearray(self.length)
        self.outputs = Outputs()
        self.batches = 0
        self.settled = 0
        self.failed_attempts: dict[int, int] = {}
        self.deaths: dict[int, int] = {}
        self.checkpoints: dict[int, Span] = {}
        self.cursors: dict[int, Mapping[str, str]] = {}
        self.failures: dict[int, f.Failure] = {}
        self.degraded: set[int] = set()
        self.truth: bool | None = None
        self.output_length: int | None = None
        self.reused = 0

    @property
    def is_settled(self) -> bool:
        """True when every step has its outcome and no more can come."""
        return self.closed and self.settled == self.length

    @property
    def has_output(self) -> bool:
        """True when dependents of the whole output may use it: all settled, none failed or skipped by a branch."""
        if (not self.settled and self.length) or not self.is_settled:
            return False
        if not self.node.mapped:
            return self.status[0] == DONE
        return self.status.count(FAILED) == 0 and not self.skipped

    @property
    def skipped(self) -> bool:
        """True if a branch went the other way (for a map of width 0 that is ``truth`` False)."""
        return self.status.count(SKIPPED) > 0 or (self.node.is_map and self.length == 0 and self.truth is False)

    @property
    def items(self) -> int:
        """Number of outputs that dependents item by item can count on so far."""
        return self.batches if self.node.policy.streaming else self.length

    @property
    def items_closed(self) -> bool:
        """True when no more items can come."""
        return self.is_settled if self.node.policy.streaming else self.closed

    def grow(self, length: int) -> None:
        """Make room for items up to ``length``."""
        if length > self.length:
            self.status.extend(bytes(length - self.length))
            self.length = length

    def attempt(self, index: int) -> int:
        """Number of the attempt that comes next (or runs), from 1."""
        return 1 + self.failed_attempts.get(index, 0) + self.deaths.get(index, 0)


@dataclass(slots=True)
class RunFold:
    """All of a run that its facts say.

    Attributes:
        calls: Calls of ``@dynamic`` steps in order: (node of the call, its key), by parent node and item.
        retrying: When steps in back-off are due, in wall-clock seconds.
        failed: Steps whose failure fails the run: not those inside a ``@dynamic`` body, which may catch them.
        revision: How often the code of the run was changed; ``graph`` and ``created`` are those of the last one.
    """

    run: str
    graph: Graph
    nodes: dict[str, NodeState] = field(default_factory=dict)
    calls: dict[tuple[str, int], list[tuple[str, str]]] = field(default_factory=dict)
    created: f.RunCreated | None = None
    epoch: int = 0
    seq: int = 0
    cancel: f.CancelRequested | None = None
    finished: f.RunFinished | None = None
    waiting: dict[str, f.ApprovalRequested] = field(default_factory=dict)
    retrying: dict[tuple[str, int], float] = field(default_factory=dict)
    failed: list[tuple[str, int]] = field(default_factory=list)
    revision: int = 0

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            self.nodes[node.id] = NodeState(node, len(self.nodes))

    def apply(self, fact: f.Fact, at: float) -> None:
        """Take one fact in. Facts about attempts under way, logs and metrics leave no trace here.

        Raises:
            JournalCorrupt: the fact contradicts what came before (an outcome for a settled step, an unknown node).
        """
        handler = _HANDLERS.get(type(fact))
        if handler is not None:
            handler(self, fact, at)

    def state(self, node: str) -> NodeState:
        """State of a node; raises JournalCorrupt if the graph has no such node."""
        try:
            return self.nodes[node]
        except KeyError:
            raise JournalCorrupt(f"run {self.run}: a fact names the step {node!r}, which its graph lacks") from None

    @property
    def is_degraded(self) -> bool:
        """True if some output is a fallback, or an item was dropped or kept as an error."""
        return any(state.degraded or state.status.count(DROPPED) for state in self.nodes.values())

    def _settle(self, state: NodeState, start: int, stop: int, status: int) -> None:
        current = state.status[start:stop]
        if stop > state.length or any(current.count(s) for s in SETTLED):
            raise self._second_outcome(state, start, stop)
        state.status[start:stop] = bytes([status]) * (stop - start)
        state.settled += stop - start
        if self.retrying or state.checkpoints:
            for index in range(start, stop):
                self._forget_attempts(state, index)

    def _forget_attempts(self, state: NodeState, index: int) -> None:
        self.retrying.pop((state.node.id, index), None)
        state.checkpoints.pop(index, None)

    def _second_outcome(self, state: NodeState, start: int, stop: int) -> JournalCorrupt:
        return JournalCorrupt(
            f"run {self.run}: a second outcome for {state.node.id}[{start}:{stop}]; the journal contradicts itself"
        )

    def _on_created(self, fact: f.RunCreated, at: float) -> None:
        self.created = fact

    def _on_driver(self, fact: f.DriverStarted, at: float) -> None:
        self.epoch = fact.epoch

    def _on_code(self, fact: f.CodeChanged, at: float) -> None:
        before, self.graph, self.nodes = self.nodes, graph_from_json(fact.document), {}
        now = {was: node for node, was in fact.kept.items()}
        for node in self.graph.nodes:
            self._carry(before.get(fact.kept.get(node.id, "")), node)
        for name, state in before.items():  # calls of kept @dynamic steps, each after its parent
            if state.parent is not None and state.parent[0] in now:
                now[name] = name
                self._carry(state, state.node)
        self.calls = {(now[node], index): made for (node, index), made in self.calls.items() if node in now}
        self.retrying = {(now[node], index): due for (node, index), due in self.retrying.items() if node in now}
        self.failed = [(now[node], index) for node, index in self.failed if node in now]
        self.waiting = {
            now[node]: replace(asked, node=now[node]) for node, asked in self.waiting.items() if node in now
        }
        if self.created is not None:
            self.created = replace(
                self.created, graph=fact.graph, capsule=fact.capsule, git_commit=fact.git_commit, files=fact.files
            )
        self.revision += 1

    def _carry(self, state: NodeState | None, node: Node) -> None:
        """Take a node into the changed graph, with what was known of it before."""
        if state is None:
            state = NodeState(node, len(self.nodes))
        state.node, state.many, state.order = node, node.many, len(self.nodes)
        self.nodes[node.id] = state

    def _on_added(self, fact: f.NodeAdded, at: float) -> None:
        node = node_from_json(fact.node)
        self.nodes[node.id] = NodeState(node, len(self.nodes), (fact.parent, fact.index, fact.ordinal))
        self.calls.setdefault((fact.parent, fact.index), []).append((node.id, fact.key))

    def _on_expanded(self, fact: f.MapExpanded, at: float) -> None:
        state = self.state(fact.node)
        state.grow(fact.width)
        state.closed = True

    def _on_completed(self, fact: f.StepsCompleted, at: float) -> None:
        state = self.state(fact.node)
        state.grow(fact.stop)
        self._settle(state, fact.start, fact.stop, DONE)
        if not state.node.policy.streaming:
            state.outputs.add(fact.start, fact.stop, fact.chunk, fact.at)
        if fact.truth is not None:
            state.truth = fact.truth
        if fact.length is not None:
            state.output_length = fact.length
        if fact.cached:
            state.reused += fact.stop - fact.start
        if fact.degraded:
            state.degraded.update(range(fact.start, fact.stop))
        self.waiting.pop(fact.node, None)

    def _on_nodes_completed(self, fact: f.NodesCompleted, at: float) -> None:
        for place, node in enumerate(fact.nodes):
            state = self.state(node)
            if state.status[0] in SETTLED:
                raise self._second_outcome(state, 0, 1)
            state.status[0] = DONE
            state.settled = 1
            state.outputs.add(0, 1, fact.chunk, fact.at + place)
            if self.retrying or state.checkpoints:
                self._forget_attempts(state, 0)
        for place, truth in fact.truths.items():
            self.nodes[fact.nodes[place]].truth = truth
        for place, length in fact.lengths.items():
            self.nodes[fact.nodes[place]].output_length = length

    def _on_batches(self, fact: f.BatchesProduced, at: float) -> None:
        state = self.state(fact.node)
        if fact.start != state.batches:
            raise JournalCorrupt(f"run {self.run}: batches of {fact.node} go from {state.batches} to {fact.start}")
        state.outputs.add(fact.start, fact.stop, fact.chunk, fact.at)
        state.batches = fact.stop

    def _on_cursors(self, fact: f.CursorsRead, at: float) -> None:
        self.state(fact.node).cursors[fact.index] = fact.proposed

    def _on_checkpoint(self, fact: f.CheckpointSaved, at: float) -> None:
        span = Span(fact.index, fact.index + 1, fact.chunk, fact.at)
        self.state(fact.node).checkpoints[fact.index] = span

    def _on_attempt_failed(self, fact: f.AttemptFailed, at: float) -> None:
        state = self.state(fact.node)
        state.grow(fact.index + 1)  # a map's items may run before its width is known
        tally = state.failed_attempts if fact.failure.charged else state.deaths
        tally[fact.index] = tally.get(fact.index, 0) + 1
        state.status[fact.index] = RETRY
        self.retrying[fact.node, fact.index] = fact.retry_at
        state.failures[fact.index] = fact.failure

    def _on_step_failed(self, fact: f.StepFailed, at: float) -> None:
        state = self.state(fact.node)
        state.grow(fact.index + 1)
        state.failures[fact.index] = fact.failure
        if fact.failure.charged:
            state.failed_attempts[fact.index] = state.failed_attempts.get(fact.index, 0) + 1
        if fact.action in ("fail", "drop"):
            self._settle(state, fact.index, fact.index + 1, FAILED if fact.action == "fail" else DROPPED)
        if fact.action == "fail" and state.parent is None:
            self.failed.append((fact.node, fact.index))
        self.waiting.pop(fact.node, None)

    def _on_skipped(self, fact: f.StepsSkipped, at: float) -> None:
        state = self.state(fact.node)
        if fact.reason == "branch" and state.node.is_map:
            state.closed, state.truth = True, False
        if fact.stop > fact.start:
            state.grow(fact.stop)
            self._settle(state, fact.start, fact.stop, DROPPED if fact.reason == "dropped" else SKIPPED)

    def _on_approval(self, fact: f.ApprovalRequested, at: float) -> None:
        self.state(fact.node).status[0] = WAITING
        self.waiting[fact.node] = fact

    def _on_cancel(self, fact: f.CancelRequested, at: float) -> None:
        self.cancel = fact

    def _on_finished(self, fact: f.RunFinished, at: float) -> None:
        self.finished = fact


_HANDLERS: Mapping[type, Any] = {
    f.RunCreated: RunFold._on_created,
    f.DriverStarted: RunFold._on_driver,
    f.CodeChanged: RunFold._on_code,
    f.NodeAdded: RunFold._on_added,
    f.MapExpanded: RunFold._on_expanded,
    f.StepsCompleted: RunFold._on_completed,
    f.NodesCompleted: RunFold._on_nodes_completed,
    f.BatchesProduced: RunFold._on_batches,
    f.CheckpointSaved: RunFold._on_checkpoint,
    f.CursorsRead: RunFold._on_cursors,
    f.AttemptFailed: RunFold._on_attempt_failed,
    f.StepFailed: RunFold._on_step_failed,
    f.StepsSkipped: RunFold._on_skipped,
    f.ApprovalRequested: RunFold._on_approval,
    f.CancelRequested: RunFold._on_cancel,
    f.RunFinished: RunFold._on_finished,
}
