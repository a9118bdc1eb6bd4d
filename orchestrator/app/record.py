"""What is on record of runs, kept at hand for pages: each run is read once and then only what is new.

A run is held under a lock while it is looked at, because many requests look at the same one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.app.following import CONTROL_KINDS, Following
from orchestrator.app.step_facts import StepFacts
from orchestrator.engine.state import (
    DONE,
    DROPPED,
    FAILED,
    OPEN,
    RETRY,
    SKIPPED,
    STATUS_NAMES,
    WAITING,
    NodeState,
)
from orchestrator.errors import NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.node import dependencies
from orchestrator.readers.cost import Use
from orchestrator.readers.items import Items
from orchestrator.readers.occupancy import Occupancy
from orchestrator.types import parse_address
from orchestrator.views.status import NodeStatus

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.state import RunFold
    from orchestrator.ports.journal import RunRow
    from orchestrator.ports.values import Cell

_KEPT = 32

ITEM_STATES = {
    "pending": OPEN, "succeeded": DONE, "failed": FAILED, "skipped": SKIPPED, "dropped": DROPPED, "retrying": RETRY,
    "waiting": WAITING,
}  # fmt: skip
"""States by which the items of a map can be picked out."""


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """When a node was ready, busy and done, in wall-clock seconds; ``ended_at`` is None while it goes on."""

    ready_at: float | None
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One step of a node."""

    index: int
    state: str
    attempts: int
    started_at: float | None
    elapsed_s: float | None
    worker: str
    failure: f.Failure | None
    cell: Cell


class RunRecord:
    """One run as far as its facts have been read."""

    def __init__(self, installation: Installation, run: str) -> None:
        self.installation = installation
        self.row: RunRow = installation.journal.run(run)
        self.following = Following(installation, run)
        self.items = Items()
        self.use = Use()
        self.occupancy = Occupancy()
        self.driver: str | None = None
        self.drivers: list[tuple[float, f.DriverStarted]] = []
        self.workers: list[tuple[float, f.WorkerStarted]] = []
        self._step_facts: OrderedDict[tuple[str, int | None], StepFacts] = OrderedDict()

    @property
    def fold(self) -> RunFold:
        """State of the run."""
        return self.following.fold

    @property
    def seq(self) -> int:
        """Number of the last fact that was read."""
        return self.following.seq

    def advance(self) -> None:
        """Read what is new."""
        journal = self.installation.journal
        self.row = journal.run(self.fold.run)
        if self.row.seq > self.seq:
            for recorded in self.following.advance():
                self.items.add(recorded.fact, recorded.at)
                self.use.add(recorded.fact, recorded.at)
                self.occupancy.add(recorded.fact, recorded.at)
                if isinstance(recorded.fact, f.DriverStarted):
                    self.drivers.append((recorded.at, recorded.fact))
                elif isinstance(recorded.fact, f.WorkerStarted):
                    self.workers.append((recorded.at, recorded.fact))
        self.driver = None if self.row.state in f.FINISHED else journal.owner(self.row.id)

    def statuses(self) -> dict[str, NodeStatus]:
        """State of each node; nothing is said to be running in a run that nobody drives."""
        found = self.following.statuses()
        if self.driver is not None:
            return found
        return {node: _at_rest(status) for node, status in found.items()}

    def times(self) -> dict[str, NodeTimes]:
        """When each node was ready (all that it needs was there), busy and done."""
        found: dict[str, NodeTimes] = {}
        begun = self.drivers[0][0] if self.drivers else self.row.started_at
        for node, state in self.fold.nodes.items():
            activity = self.following.activity.get(node)
            needs = [found[ref.node].ended_at for ref in dependencies(state.node) if ref.node in found]
            known = [at for at in needs if at is not None]
            ready = begun if not needs else max(known) if len(known) == len(needs) else None
            if state.parent is not None:
                ready = activity.since if activity else None
            ended = activity.until if activity is not None and state.is_settled else None
            if activity is None and state.is_settled:
                ended = ready
            since = activity.since if activity else None
            if not state.many and state.parent is None:
                since = self._began(state, since, ready, ended)
            found[node] = NodeTimes(ready if since is None or ready is None else min(ready, since), since, ended)
        return found

    def _began(self, state: NodeState, sent: float | None, ready: float | None, ended: float | None) -> float | None:
        """When a single step began: it may have been sent with what it needs, or to a worker that had to start."""
        if sent is None or ready is None or (ended is None and self.driver is None):
            return None
        ends = self.items.of(state.node.id).ends
        elapsed_s = ends[-1].elapsed_s(0) if ends else None
        return max(sent, ready, ended - elapsed_s if ended is not None and elapsed_s is not None else sent)

    def critical(self) -> list[str]:
        """The chain of nodes that the end of the run waited for, first to last; empty before anything has ended."""
        times = self.times()
        ended = {node: one.ended_at for node, one in times.items() if one.ended_at is not None and one.started_at}
        order = {node: place for place, node in enumerate(self.fold.nodes)}
        chain: list[str] = []

        def last(nodes: Iterable[str]) -> str | None:
            """What ended last; of what ended in one commit, what comes last in the graph."""
            return max(nodes, key=lambda name: (ended[name] or 0.0, order[name]), default=None)

        node = last(ended)
        while node is not None:
            chain.append(node)
            node = last(need for need in self.needs(node) if need in ended)
        return chain[::-1]

    def needs(self, node: str) -> set[str]:
        """Nodes with work of their own that a node needs, wiring left out."""
        found: set[str] = set()
        pending = [node]
        while pending:
            for ref in dependencies(self.fold.nodes[pending.pop()].node):
                if ref.node not in found and ref.node in self.fold.nodes:
                    if self.fold.nodes[ref.node].node.kind in CONTROL_KINDS:
                        pending.append(ref.node)
                    found.add(ref.node)
        return found

    # ---- steps

    def find(self, address: str) -> tuple[NodeState, int | None]:
        """A node and, if one was named, the item.

        Raises:
            NotFound: there is no such step.
            InvalidStepAddress: the text is no address.
        """
        name, index = parse_address(address)
        state = self.fold.nodes.get(name)
        if state is None:
            raise NotFound(f"run {self.row.id} has no step {name!r}")
        if index is not None and not 0 <= index < max(state.length, state.batches):
            raise NotFound(f"run {self.row.id}: {name} has {state.length} items, there is no item {index}")
        return state, index

    def page(self, state: NodeState, indexes: list[int]) -> list[Item]:
        """Some steps of a node, by ascending index."""
        times = self.items.of(state.node.id).page(indexes)
        cells = self.installation.cells(self.fold.run)
        found: list[Item] = []
        for index, time in zip(indexes, times, strict=True):
            span = state.outputs.find(index)
            found.append(
                Item(
                    index,
                    self._item_state(state, index, time),
                    time.attempts,
                    time.started_at,
                    time.elapsed_s,
                    time.worker,
                    state.failures.get(index),
                    cells.at(span) if span is not None else None,
                )
            )
        return found

    def step_facts(self, state: NodeState, index: int | None) -> StepFacts:
        """What the facts say about a step, as far as the run has been read; about a map as a whole without an item."""
        item = 0 if index is None and not state.node.many else index
        key, origin = (state.node.id, item), self.fold.created.origin if self.fold.created is not None else ""
        found = self._step_facts.setdefault(key, StepFacts(*key, origin))
        self._step_facts.move_to_end(key)
        if len(self._step_facts) > _KEPT:
            self._step_facts.popitem(last=False)
        if found.seq < self.seq:
            found.read(self.installation.journal.facts(self.row.id, found.seq))
        return found

    def indexes(self, state: NodeState, wanted: str, after: int, limit: int) -> list[int]:
        """Up to ``limit`` items behind ``after`` that are in a state; in any if ``wanted`` is empty."""
        if not wanted:
            return list(range(after + 1, min(after + 1 + limit, state.length)))
        found: list[int] = []
        mark, place = ITEM_STATES[wanted], after
        while len(found) < limit and (place := state.status.find(mark, place + 1)) >= 0:
            found.append(place)
        return found

    def _item_state(self, state: NodeState, index: int, time: Any) -> str:
        name = STATUS_NAMES[state.status[index]]
        if name == "done":
            return "degraded" if index in state.degraded else "cached" if time.cached else "succeeded"
        if name == "open":
            if self.row.state in f.FINISHED:
                return "cancelled"
            return "running" if time.running and self.driver is not None else "pending"
        return "retrying" if name == "retry" else name


def _at_rest(status: NodeStatus) -> NodeStatus:
    counts = dict(status.counts)
    running = counts.pop("running", 0)
    if running:
        counts["pending"] = counts.get("pending", 0) + running
    return NodeStatus(counts, status.elapsed_s, status.note)


class Records:
    """Records of the runs that were looked at last. Thread-safe."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[threading.Lock, list[RunRecord]]] = OrderedDict()

    @contextmanager
    def reading(self, run: str) -> Iterator[RunRecord]:
        """A run by its id or a unique beginning of it, up to date, for this caller alone.

        Raises:
            NotFound: no such run.
        """
        name = self._installation.journal.run(run).id
        with self._lock:
            lock, records = self._kept.setdefault(name, (threading.Lock(), []))
            self._kept.move_to_end(name)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        with lock:
            if not records:
                records.append(RunRecord(self._installation, name))
            records[0].advance()
            yield records[0]
