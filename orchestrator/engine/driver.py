"""The driver: one loop that lets the machine decide and acts on it.

Each turn drains what workers, the inbox and the clock say, applies the facts that follow, submits what became
ready and hands the facts to the committer. A pure step may start before its input's fact is committed; because facts
are committed in the order they were applied, its own fact never comes first. Steps with effects wait for the commit.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

import msgspec

from orchestrator.engine.cells import Cells
from orchestrator.engine.committer import RETRY_S, Committer
from orchestrator.engine.islands import Islands
from orchestrator.engine.lookups import Lookups
from orchestrator.engine.machine import Machine
from orchestrator.engine.pace import Pace
from orchestrator.engine.planner import Planner, pace_key
from orchestrator.engine.publications import Publications
from orchestrator.engine.snapshot import encode_snapshot
from orchestrator.errors import StoreUnavailable
from orchestrator.graph import fact as f
from orchestrator.graph.json import nodes_to_bytes
from orchestrator.graph.node import Node
from orchestrator.ports import frames
from orchestrator.ports.clock import Clock
from orchestrator.ports.executor import Accepted, Executor, ExecutorEvent, FromBundle, Joined, Lost, Refused, RunCode
from orchestrator.ports.files import Files
from orchestrator.ports.journal import Append, CacheEntry, Journal, Ownership, Snapshot
from orchestrator.ports.values import Values

POLL_S = 0.25
"""Longest wait for workers before the inbox and the clock are looked at again."""

SNAPSHOT_FACTS = 20_000
"""Facts between two snapshots."""

GROUP_FACTS = 512
GROUP_S = 0.005
"""A transaction begins with this many facts, or when the first of them has waited this long."""

MOST_UNCOMMITTED = 4096
"""Facts applied beyond the last commit before the loop waits for the disk."""

_STORE_AWAY = "orchestrator.backends.bundles.failure:StoreAway"
"""What a worker says of a step that it could not give its inputs, or whose output it could not store."""

_log = logging.getLogger(__name__)

T = TypeVar("T")

_stage = attrgetter("stage")


@dataclass(slots=True)
class Transaction:
    """Facts applied but not yet committed, with what belongs to them; ``since`` the first (monotonic seconds)."""

    facts: list[f.Fact] = field(default_factory=list)
    since: float | None = None
    taken: list[str] = field(default_factory=list)
    cache: dict[str, CacheEntry] = field(default_factory=dict)


Observer = Callable[[Iterable[f.Fact], float], None]


class Driver:
    """Runs one run to its end, or until it is interrupted.

    Args:
        machine: The run's machine, after recovery if there was a run before.
        ownership: The hold on the run; its epoch goes with every commit.
        on_facts: Told of each committed group of facts (progress, tests) from another thread; must not block.
        detach: Return while the run waits for a person instead of going on waiting.
        chance: Back-off and attempt ids come from here; the system's randomness when None.
        commits: Makes the committer.
        large_table_bytes: Tables larger than this are divided by Ray Data.
        first: What ``Pace`` knows from earlier runs.
    """

    def __init__(
        self,
        machine: Machine,
        ownership: Ownership,
        journal: Journal,
        executor: Executor,
        cells: Cells,
        values: Values,
        files: Files,
        clock: Clock,
        on_facts: Observer | None = None,
        detach: bool = False,
        chance: random.Random | None = None,
        commits: Callable[..., Committer] = Committer,
        large_table_bytes: float = math.inf,
        first: MutableMapping[str, int] | None = None,
    ) -> None:
        created = machine.fold.created
        assert created is not None
        self._machine = machine
        self._ownership = ownership
        self._journal = journal
        self._executor = executor
        self._cells = cells
        self._values = values
        self._clock = clock
        self._on_facts = on_facts
        self._detach = detach
        self._random = chance or random.SystemRandom()
        self._pending = Transaction()
        self._handed_over: tuple[str, ...] = ()
        self._state: f.RunState = "queued"
        self._pace = Pace(first)
        self._planner = Planner(machine, self._pace, lambda: executor.slots, created.seed, self._new_id)
        self._lookups = Lookups(machine, journal, cells, files, self.take, large_table_bytes)
        self._islands = Islands(machine, executor, cells)
        self._versions = Publications(machine, cells)
        self._inbox_read_at = clock.monotonic() if machine.fold.seq == 1 else 0.0  # nobody can have asked a new run yet
        self._committer = commits(journal, clock, self._committed, executor.wake)
        self._last_snapshot = machine.fold.seq
        self._interrupted = False
        self._submit_at = 0.0
        executor.open(RunCode(machine.fold.run, created.capsule, self._define, cells.inline_chunk, created.graph))

    # ---- from outside

    def interrupt(self) -> None:
        """Make ``run`` return soon, leaving the run to be resumed; from any thread or a signal handler."""
        self._interrupted = True
        self._executor.wake()

    def run(self) -> f.RunState:
        """Drive until the run has ended (its state), waits and ``detach`` is set, or is interrupted (``running``)."""
        fold = self._machine.fold
        try:
            self._lookups.settle(self._clock.now())
            while True:
                self._submit(barriers=False)
                self._commit()
                if fold.finished is not None or self._interrupted or (self._detach and self._state == "waiting"):
                    self._flush()
                    self._end_otherwise()
                    return fold.finished.state if fold.finished is not None else self._state
                if self._planner.holds_barriers():
                    self._flush()
                    self._submit(barriers=True)
                self._turn(self._executor.poll(self._wait_s()))
                self._committer.raise_failure()
        finally:
            self._committer.close()

    def forget(self) -> None:
        """Let go of the parts that refer back to this, after ``run``: without that only the garbage collector, which
        short runs keep away, would ever free what a run held."""
        del self._lookups, self._planner, self._committer

    # ---- one turn

    def _turn(self, events: list[ExecutorEvent]) -> None:
        now = self._clock.now()
        for event in events:
            self._observe(event, now)
        if self._clock.monotonic() - self._inbox_read_at >= POLL_S:
            self._read_inbox()
        self.take(self._machine.observe_due(now))
        self._lookups.settle(self._clock.now())
        if self._machine.flights and not self._machine.frontier.ready:
            idle = self._executor.idle()
            if idle:
                self._machine.releases += self._planner.take_back(idle)
        self._act()

    def take(self, facts: Iterable[f.Fact]) -> None:
        """Apply facts one by one and put them into the next commit."""
        now = self._clock.now()
        for fact in facts:
            if self._pending.since is None:
                self._pending.since = self._clock.monotonic()
            self._machine.apply(fact, now)
            self._pending.facts.append(fact)
            if isinstance(fact, f.NodesCompleted | f.StepsCompleted):
                self.take(self._versions.published(fact))
                if isinstance(fact, f.NodesCompleted) or not fact.cached:
                    self._learn(fact, now)

    def _observe(self, event: ExecutorEvent, now: float) -> None:
        machine, jitter = self._machine, self._random.random
        if isinstance(event, FromBundle):
            frame = event.frame
            if isinstance(frame, frames.Outcomes):
                frame = self._hold_back(frame)
                self.take(self._islands.made(frame, event.worker, now, jitter))
                self.take(machine.observe_outcomes(frame, event.worker, now, jitter))
            elif isinstance(frame, frames.Released):
                machine.observe_released(frame)
            else:
                self.take(self._islands.called(frame))
        elif isinstance(event, Joined):
            self.take([f.WorkerStarted(event.worker, event.host, event.pid)])
        elif isinstance(event, Accepted):
            self._accepted(event)
        elif isinstance(event, Lost):
            self.take(machine.observe_lost(event.worker, event.reason, event.bundles, event.timed_out, now, jitter))
        elif isinstance(event, Refused):
            self.take(machine.observe_refused(event.bundle, event.message))

    def _hold_back(self, frame: frames.Outcomes) -> frames.Outcomes:
        """Without the steps that found the artifact store full or away: nobody's failure, they are sent again later."""
        away = [failed for failed in frame.failed if _STORE_AWAY in failed.classes]
        if not away:
            return frame
        if self._clock.monotonic() > self._submit_at + RETRY_S:
            _log.warning("run %s holds steps back: %s", self._machine.fold.run, away[0].message)
        self._submit_at = self._clock.monotonic() + RETRY_S
        return msgspec.structs.replace(frame, failed=[failed for failed in frame.failed if failed not in away])

    def _accepted(self, event: Accepted) -> None:
        flight = self._machine.flights.get(event.bundle)
        if flight is not None:
            flight.worker = event.worker
            started = f.BundleStarted(tuple(flight.segments), event.bundle, event.worker)
            self.take([started] if len(flight.segments) > 1 else f.apart(started))

    def _read_inbox(self) -> None:
        """Turn requests of others into facts. An answer that comes before its question stays until it is asked.

        A driver with nothing to submit learns here that another has taken over; a store that is away is asked later.
        """
        self._inbox_read_at = self._clock.monotonic()
        self._ownership.verify()  # also one that only waits finds out that it lost the run
        fold = self._machine.fold
        try:
            self._ownership.verify()
            rows = self._journal.inbox(fold.run)
        except StoreUnavailable:
            return
        for row in rows:
            body = row.body
            if body["kind"] == "cancel":
                self.take(self._machine.observe_cancel(str(body.get("by", "")), str(body.get("reason", ""))))
            elif body["node"] in fold.waiting:
                self.take(self._machine.observe_answer(body["node"], self._values.encode(body["value"])))
            elif body["node"] not in fold.nodes or not fold.nodes[body["node"]].is_settled:
                continue
            self._pending.taken.append(row.key)
            self._pending.since = self._pending.since or self._clock.monotonic()

    def _act(self) -> None:
        machine, executor = self._machine, self._executor
        for bundle, count in _drain(machine.releases):
            executor.release(bundle, count)
        for bundle in _drain(machine.cancels):
            executor.cancel(bundle)
        for answer in _drain(machine.answers):
            self._islands.answer(answer)

    def _submit(self, barriers: bool) -> None:
        if not self._machine.ending and self._machine.frontier.ready and self._may_submit():
            for bundle in self._planner.plan(self._executor.room(), barriers):
                self._executor.submit(bundle)

    def _may_submit(self) -> bool:
        """Not while a store is in trouble, and never for a run that another driver has taken over meanwhile."""
        if self._committer.in_trouble or self._clock.monotonic() < self._submit_at:
            return False
        try:
            self._ownership.verify()
        except StoreUnavailable:
            return False
        return True

    def _wait_s(self) -> float:
        due = self._machine.next_due()
        wait_s = POLL_S if due is None else min(POLL_S, max(0.0, due - self._clock.now()))
        return wait_s if self._committer.busy else min(wait_s, max(0.0, self._due_s()))

    def _due_s(self) -> float:
        """How long what has been applied may still wait for company before it is committed."""
        since = self._pending.since
        return POLL_S if since is None else since + GROUP_S - self._clock.monotonic()

    def _new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _define(self, nodes: Sequence[str]) -> bytes:
        states = (self._machine.fold.nodes[node] for node in nodes)
        added = [state.node for state in states if state.parent is not None]
        return nodes_to_bytes(added) if added else b""

    def _learn(self, fact: f.StepsCompleted | f.NodesCompleted, now: float) -> None:
        """Remember the pace of stages, and make outputs of cached stages reusable."""
        states = self._machine.fold.nodes
        if isinstance(fact, f.StepsCompleted):
            node = states[fact.node].node
            self._pace.completed(pace_key(node), fact.elapsed_us)
            self._make_reusable(fact, node, now)
            return
        elapsed_us: dict[str, bytes] = {}
        start = 0
        for stage, alike in groupby([states[name].node for name in fact.nodes], key=_stage):
            nodes = list(alike)
            stop, key = start + len(nodes), pace_key(nodes[0])
            elapsed_us[key] = elapsed_us.get(key, b"") + fact.elapsed_us[4 * start : 4 * stop]
            if stage is not None and stage.policy.cache_s is not None:
                for place, node in enumerate(nodes, start):
                    self._make_reusable(fact.one(place), node, now)
            start = stop
        for key, durations in elapsed_us.items():
            self._pace.completed(key, durations)

    def _make_reusable(self, fact: f.StepsCompleted, node: Node, now: float) -> None:
        if node.policy.cache_s is not None and not fact.degraded:
            for index in range(fact.start, fact.stop):
                entry = self._lookups.entry(fact, index, node.policy.cache_s, now)
                if entry is not None and index not in self._machine.fold.nodes[node.id].cursors:
                    self._pending.cache[entry[0]] = entry[1]

    # ---- commit

    def _commit(self) -> None:
        """Hand what has been applied to the committer, unless it is busy: then it goes with the next transaction."""
        waiting = len(self._pending.facts)
        if waiting < MOST_UNCOMMITTED and (self._committer.busy or (waiting < GROUP_FACTS and not self._due_s() <= 0)):
            return
        self._begin_commit()

    def _begin_commit(self) -> None:
        self._committer.flush()
        self._cells.remember({digest: self._machine.chunks.pop(digest) for digest in self._handed_over})
        self._handed_over = ()
        pending, fold = self._pending, self._machine.fold
        state = self._run_state()
        if not pending.facts and not pending.taken and state == self._state:
            return
        chunks = dict(self._machine.chunks)
        self._committer.commit(Append(
            fold.run, self._ownership.epoch, fold.seq, self._clock.now(), pending.facts, chunks, pending.taken,
            pending.cache, None if state == self._state else state,
        ))  # fmt: skip
        fold.seq += len(pending.facts)
        self._state = state
        self._handed_over = tuple(chunks)
        self._pending = Transaction()
        if fold.seq - self._last_snapshot >= SNAPSHOT_FACTS:
            self._committer.flush()
            self._journal.save_snapshot(fold.run, Snapshot(fold.seq, encode_snapshot(fold)))
            self._last_snapshot = fold.seq

    def _flush(self) -> None:
        """Make everything applied so far durable."""
        self._begin_commit()
        self._committer.flush()

    def _end_otherwise(self) -> None:
        """If another run has moved a cursor that this one read, its end was refused: then it fails."""
        if self._committer.refused is None:
            return
        append, error = self._committer.refused
        self._committer.refused = None
        self._machine.fold.finished = ended = f.RunFinished("failed", error.message)
        facts = [fact for fact in append.facts if not isinstance(fact, f.CursorMoved | f.RunFinished)]
        self._machine.fold.seq = append.seq + len(facts) + 1
        self._state = "failed"
        self._committer.commit(replace(append, facts=[*facts, ended], state="failed"))
        self._committer.flush()

    def _committed(self, append: Append) -> None:
        if self._on_facts is not None:
            self._on_facts(append.facts, append.at)

    def _run_state(self) -> f.RunState:
        machine = self._machine
        if machine.fold.finished is not None:
            return machine.fold.finished.state
        busy = machine.flights or machine.frontier.ready or machine.fold.retrying
        return "waiting" if machine.fold.waiting and not busy else "running"


def _drain(items: list[T]) -> list[T]:
    taken = items[:]
    items.clear()
    return taken
