"""What goes on now in an installation: active runs, the steps on their workers, and what waits for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.app.explaining import for_worker
from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.record import RunRecord
from orchestrator.engine.state import OPEN
from orchestrator.graph import fact as f

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.ports.journal import RunRow

_STATES: tuple[f.RunState, ...] = ("running", "waiting", "queued")


class ActiveRun(NamedTuple):
    """A run that has not ended; ``driver`` is None if nobody drives it."""

    run: str
    pipeline: str
    state: str
    driver: str | None
    done: int
    running: int
    queued: int
    elapsed_s: float
    slots: int


class RunningSteps(NamedTuple):
    """Steps of one node on one worker, since when it has them (wall-clock seconds)."""

    run: str
    worker: str
    host: str
    node: str
    steps: int
    since: float


class QueuedSteps(NamedTuple):
    """Steps of one node whose inputs are there and that no worker has yet."""

    run: str
    node: str
    steps: int
    why: str


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it at one moment."""

    at: float
    runs: list[ActiveRun]
    workers: list[RunningSteps]
    queue: list[QueuedSteps]


@dataclass(slots=True)
class _Load:
    """Who works on what in one run: a fold over its facts."""

    seq: int = 0
    hosts: dict[str, str] = field(default_factory=dict)
    steps: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)

    def take(self, fact: f.Fact, at: float) -> None:
        """Take a fact in."""
        if isinstance(fact, f.DriverStarted):
            self.steps.clear()
        elif isinstance(fact, f.WorkerStarted):
            self.hosts[fact.worker] = fact.host
        elif isinstance(fact, f.WorkerLost):
            self.steps = {key: one for key, one in self.steps.items() if key[0] != fact.worker}
        elif isinstance(fact, f.StepsStarted):
            self.bundles[fact.bundle] = fact.worker
            self.steps.setdefault((fact.worker, fact.node), [at, 0])[1] += fact.stop - fact.start
        elif isinstance(fact, f.StepsCompleted) and fact.worker:
            self._over(fact.worker, fact.node, fact.stop - fact.start)
        elif isinstance(fact, f.AttemptFailed | f.StepFailed) and fact.bundle in self.bundles:
            self._over(self.bundles[fact.bundle], fact.node, 1)

    def _over(self, worker: str, node: str, count: int) -> None:
        known = self.steps.get((worker, node))
        if known is not None:
            known[1] -= count
            if known[1] <= 0:
                del self.steps[worker, node]


class Watching:
    """Looks at an installation again and again; each run is read once, and then only what is new.

    Args:
        most: Runs that are shown, newest first.
    """

    def __init__(self, here: Installation, most: int = 20) -> None:
        self._here = here
        self._most = most
        self._records: dict[str, tuple[RunRecord, _Load]] = {}

    def look(self) -> Overview:
        """What goes on now."""
        rows = [row for state in _STATES for row in self._here.journal.runs(state=state, limit=self._most)]
        self._records = {row.id: self._records.get(row.id) or self._opened(row) for row in rows}
        now = self._here.clock.now()
        found = Overview(now, [], [], [])
        for record, load in self._records.values():
            record.advance()
            for recorded in self._here.journal.facts(record.row.id, load.seq):
                load.seq = recorded.seq
                for fact in f.apart(recorded.fact):
                    load.take(fact, recorded.at)
            if record.row.state not in f.FINISHED:
                queue = list(_queue(record))
                found.runs.append(_active(record, load, sum(one.steps for one in queue), now))
                found.workers.extend(_workers(record, load))
                found.queue.extend(queue)
        return found

    def _opened(self, row: RunRow) -> tuple[RunRecord, _Load]:
        return RunRecord(self._here, row.id), _Load()


def _active(record: RunRecord, load: _Load, queued: int, now: float) -> ActiveRun:
    row, done, slots = record.row, 0, record.drivers[-1][1].slots if record.drivers else 0
    for state in record.fold.nodes.values():
        done += state.settled if state.node.kind not in CONTROL_KINDS else 0
    running = sum(int(one[1]) for one in load.steps.values()) if record.driver is not None else 0
    return ActiveRun(
        row.id, row.pipeline, row.state, record.driver, done, running, queued, now - (row.started_at or row.created_at),
        slots,
    )  # fmt: skip


def _workers(record: RunRecord, load: _Load) -> Iterator[RunningSteps]:
    if record.driver is None:
        return
    for (worker, node), (since, count) in sorted(load.steps.items()):
        yield RunningSteps(record.row.id, worker, load.hosts.get(worker, ""), node, int(count), since)


def _queue(record: RunRecord) -> Iterator[QueuedSteps]:
    """Nodes that are ready and not all on workers; nothing of a run that nobody drives."""
    if record.driver is None or record.fold.cancel is not None or record.fold.failed:
        return
    times = record.times()
    for node, own in times.items():
        state = record.fold.nodes[node]
        if state.is_settled or state.node.kind not in ("stage", "dynamic") or own.ready_at is None:
            continue
        activity = record.following.activity.get(node)
        waiting = state.status.count(OPEN) - (activity.in_flight if activity is not None else 0)
        if waiting > 0:
            yield QueuedSteps(record.row.id, node, waiting, for_worker(record, state, times, own.ready_at, None))
