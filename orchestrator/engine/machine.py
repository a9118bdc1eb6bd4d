"""The machine: pure decisions. What workers, people and clocks say goes in; facts come out.

``observe_*`` judge one event against the state and return the facts that follow; ``derive`` returns what
follows from the state alone (skipped branches, chosen sides, widths, the end of the run). Every fact is
applied by ``apply`` before the next decision, and the driver commits them in that order. No I/O and no clock here:
``now`` comes in as an argument, randomness as ``jitter`` (0 to 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engine.consequences import Consequences, Measure
from orchestrator.engine.flights import Flight, runs
from orchestrator.engine.front import RUNNING
from orchestrator.engine.frontier import Frontier
from orchestrator.engine.state import OPEN, SETTLED, NodeState, RunFold
from orchestrator.graph import fact as f
from orchestrator.ports import frames
from orchestrator.ports.values import decode_cell, describe, digest_bytes, encode_chunk

DEATH_BUDGET = 3
"""How often workers may die under a step before that counts as its failure."""


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """Instruction: tell a ``@dynamic`` body what its call came to."""

    parent: str
    index: int
    ordinal: int
    child: str


class Machine:
    """State of one run and every decision about it.

    Args:
        fold: The durable state, possibly after replay.
        encode_error: Makes the (chunk digest, chunk bytes) of an ``ItemError`` from a failure; pure data, no loading.
    """

    def __init__(self, fold: RunFold, encode_error: Callable[[f.Failure], tuple[str, bytes]]) -> None:
        self.fold = fold
        self.frontier = Frontier(fold)
        self.flights: dict[str, Flight] = {}
        self.chunks: dict[str, bytes] = {}
        self.measures: list[Measure] = []
        self.answers: list[AnswerCall] = []
        self.cancels: list[str] = []
        self.releases: list[tuple[str, int]] = []
        self._encode_error = encode_error
        self._consequences = Consequences(self)
        self._ended: set[str] = {s.node.id for s in fold.nodes.values() if s.is_settled}

    # ---- taking facts in

    def apply(self, fact: f.Fact, at: float) -> None:
        """Fold one fact in and bring readiness up to date."""
        self.fold.apply(fact, at)
        if isinstance(fact, f.StepsCompleted):
            state = self.fold.nodes[fact.node]
            front = self.frontier.fronts[fact.node]
            front.grow()
            front.stop_running(fact.start, fact.stop)
            if not state.node.policy.streaming:
                self.frontier.outputs_added(state, fact.start, fact.stop)
            self._settled(state)
        elif isinstance(fact, f.NodesCompleted):
            for node in fact.nodes:
                state = self.fold.nodes[node]
                self.frontier.single_done(state)
                self._ended_now(state)
        elif isinstance(fact, f.BatchesProduced):
            self.frontier.outputs_added(self.fold.nodes[fact.node], fact.start, fact.stop)
        elif isinstance(fact, f.StepFailed | f.AttemptFailed):
            state = self.fold.nodes[fact.node]
            front = self.frontier.fronts[fact.node]
            front.grow()
            front.stop_running(fact.index, fact.index + 1)
            if isinstance(fact, f.StepFailed) and fact.action in ("fail", "drop"):
                self._settled(state)
        elif isinstance(fact, f.StepsSkipped):
            front = self.frontier.fronts[fact.node]
            front.grow()
            front.stop_running(fact.start, fact.stop)
            self._settled(self.fold.nodes[fact.node])
        elif isinstance(fact, f.MapExpanded):
            state = self.fold.nodes[fact.node]
            self.frontier.width_known(state)
            self._settled(state)
        elif isinstance(fact, f.NodeAdded):
            self.frontier.add(self.fold.nodes[next(reversed(self.fold.nodes))])

    def _settled(self, state: NodeState) -> None:
        self.frontier.step_settled(state)
        if state.is_settled:
            self._ended_now(state)

    def _ended_now(self, state: NodeState) -> None:
        """Every step of a node has its outcome."""
        if state.node.id not in self._ended:
            self._ended.add(state.node.id)
            self.frontier.node_settled(state)
            if state.parent is not None:
                self.answers.append(AnswerCall(*state.parent, child=state.node.id))

    # ---- what workers say

    def observe_outcomes(
        self, frame: frames.Outcomes, worker: str, now: float, jitter: Callable[[], float]
    ) -> Iterator[f.Fact]:
        """Facts of a frame; outcomes of bundles and steps that are no longer out there are ignored."""
        flight = self.flights.get(frame.bundle)
        if flight is None:
            return
        ranges = flight.ranges()
        if frame.data is not None:
            self.chunks[frame.chunk] = frame.data
        for batch in frame.batches:
            yield from self._batches(batch, frame.chunk)
        for kept in frame.checkpoints:
            if self.fold.state(kept.node).status[kept.start] not in SETTLED:
                yield f.CheckpointSaved(kept.node, kept.start, frame.chunk, kept.at)
        for read in frame.cursors:  # before the outcomes that they belong to, which are in the same frame
            for index, _ in self._owed(ranges, read.node, read.index, read.index + 1):
                yield f.CursorsRead(read.node, index, read.proposed)
        for looked in frame.checks:
            kept_rows = any(result.rows is not None for result in looked.results)
            yield f.ChecksReported(
                looked.node, looked.index, tuple(looked.results), frame.chunk if kept_rows else "", looked.attempt
            )
        for seen in frame.profiles:
            yield f.TableProfiled(seen.node, seen.start, frame.chunk, seen.at)
        for done in frame.completed:
            for start, stop in self._owed(ranges, done.node, done.start, done.stop):
                yield f.StepsCompleted(
                    done.node, start, stop, frame.chunk, done.at + start - done.start,
                    done.elapsed_us[4 * (start - done.start) : 4 * (stop - done.start)],
                    done.truth, done.length, worker=worker, peak_bytes=done.peak_bytes,
                    cpu_us=done.cpu_us * (stop - start) // (done.stop - done.start),
                )  # fmt: skip
        for one in frame.singles:
            told = f.NodesCompleted(
                tuple(one.nodes), frame.chunk, one.at, one.elapsed_us, one.truths, one.lengths, worker,
                one.cpu_us, one.peak_bytes,
            )  # fmt: skip
            yield from self._singles(told, ranges)
        for failed in frame.failed:
            for _ in self._owed(ranges, failed.node, failed.index, failed.index + 1):
                if _CANCELLED in failed.classes:
                    yield f.StepsSkipped(failed.node, failed.index, failed.index + 1, "cancelled")
                    continue
                failure = f.Failure(tuple(failed.classes), failed.message, tuple(failed.frames))
                yield from self.failed(failed.node, failed.index, failure, frame.bundle, now, jitter)
        for metric in frame.metrics:
            yield f.MetricsReported(metric.node, metric.index, metric.metrics)
        for log in frame.logs:
            yield f.LogsWritten(log.node, log.start, log.stop, worker, tuple(log.offsets))
        if frame.finished:
            self._close_flight(frame.bundle)

    def _batches(self, batch: frames.Completed, chunk: str) -> Iterator[f.Fact]:
        known = self.fold.state(batch.node).batches
        start = max(batch.start, known)  # a repeated attempt produces the recorded ones again
        if start < batch.stop:
            yield f.BatchesProduced(batch.node, start, batch.stop, chunk, batch.at + start - batch.start)

    def _singles(self, told: f.NodesCompleted, ranges: Mapping[str, object]) -> Iterator[f.Fact]:
        """What is owed of a frame's single steps: as one fact if that is all of several."""
        nodes = self.fold.nodes
        owed = [
            place for place, node in enumerate(told.nodes) if node in ranges and nodes[node].status[0] not in SETTLED
        ]
        if len(owed) == len(told.nodes) > 1:
            yield told
        else:
            yield from map(told.one, owed)

    def _owed(
        self, ranges: Mapping[str, Sequence[tuple[int, int]]], node: str, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Parts of ``start..stop`` of a node that lie in what a flight owes and have no outcome yet."""
        state = self.fold.state(node)
        for a, b in ranges.get(node, ()):
            low, high = max(start, a), min(stop, b)
            if low >= high:
                continue
            if state.status.count(OPEN, low, high) == high - low:
                yield low, high
            else:
                yield from ((i, i + 1) for i in range(low, high) if state.status[i] not in SETTLED)

    def failed(
        self, node: str, index: int, failure: f.Failure, bundle: str, now: float, jitter: Callable[[], float]
    ) -> Iterator[f.Fact]:
        """A failed attempt becomes a retry, or the step's failure with what the policy makes of it."""
        state = self.fold.state(node)
        retry = state.node.policy.retry
        failures = state.failed_attempts.get(index, 0)
        if not failure.charged:
            deaths = state.deaths.get(index, 0)
            if deaths + 1 < DEATH_BUDGET:
                yield f.AttemptFailed(node, index, failure, now, bundle)
                return
        elif failures + 1 < retry.attempts and _is_repeated(failure, retry.on) and not self.ending:
            delay_s = jitter() * min(retry.cap_s, retry.base_s * 2.0**failures)
            yield f.AttemptFailed(node, index, failure, now + delay_s, bundle)
            return
        yield from self.failed_for_good(state, index, failure, bundle)

    def failed_for_good(self, state: NodeState, index: int, failure: f.Failure, bundle: str = "") -> Iterator[f.Fact]:
        """A step's failure, with what the policy makes of it: fallback, kept error, dropped item, or the end."""
        node, policy = state.node, state.node.policy
        if policy.has_fallback and node.fallback is not None and node.fallback.cell is not None:
            yield f.StepFailed(node.id, index, failure, "fallback", bundle)
            yield self.completed_here(node.id, index, node.fallback.cell, degraded=True)
        elif node.is_map and policy.on_item_error == "keep":
            yield f.StepFailed(node.id, index, failure, "keep", bundle)
            digest, data = self._encode_error(failure)
            self.chunks[digest] = data
            yield f.StepsCompleted(node.id, index, index + 1, digest, degraded=True)
        elif node.is_map and policy.on_item_error == "drop":
            yield f.StepFailed(node.id, index, failure, "drop", bundle)
        else:
            yield f.StepFailed(node.id, index, failure, "fail", bundle)

    def completed_here(self, node: str, index: int, cell: bytes, degraded: bool = False) -> f.StepsCompleted:
        """Completion with a cell that the driver has, not a worker."""
        digest, data = one_cell_chunk(cell)
        self.chunks[digest] = data
        seen = describe(decode_cell(cell))
        return f.StepsCompleted(node, index, index + 1, digest, truth=seen.truth, length=seen.length, degraded=degraded)

    def observe_released(self, frame: frames.Released) -> None:
        """Steps given back unstarted: offer them again. No fact: nothing durable happened."""
        flight = self.flights.get(frame.bundle)
        if flight is None:
            return
        flight.releasing = False
        for node, start, stop in frame.steps:
            flight.give_back(node, start, stop)
            self.frontier.offer_again(self.fold.state(node), start, stop)

    def observe_lost(
        self, worker: str, reason: str, bundles: Sequence[str], timed_out: bool, now: float, jitter: Callable[[], float]
    ) -> Iterator[f.Fact]:
        """A worker died: a step that was alone on it is charged, others run again, each alone."""
        fronts = self.frontier.fronts
        owed = [(bundle, n, i) for bundle in bundles if bundle in self.flights
                for n, a, b in self.flights[bundle].segments for i in range(a, b)
                if fronts[n].state.status[i] not in SETTLED and fronts[n].live[i] == RUNNING]  # fmt: skip
        yield f.WorkerLost(worker, reason)
        cancelled = {bundle for bundle in bundles if bundle in self.flights and self.flights[bundle].cancelled}
        if len(owed) == 1 and not cancelled:
            bundle, node, index = owed[0]
            yield from self.failed(node, index, self._death(node, worker, reason, timed_out), bundle, now, jitter)
        for bundle, node, index in owed:
            if bundle in cancelled:
                yield f.StepsSkipped(node, index, index + 1, "cancelled")
        for bundle in bundles:  # after the facts: what has failed is not offered again at once
            self._close_flight(bundle, solo=len(owed) > 1)

    def _death(self, node: str, worker: str, reason: str, timed_out: bool) -> f.Failure:
        if timed_out:
            timeout_s = self.fold.nodes[node].node.policy.timeout_s
            return f.Failure(_TIMED_OUT, f"ran longer than its time-out of {timeout_s} s and did not answer")
        return f.Failure(_WORKER_DIED, f"the worker {worker} died while the step ran: {reason}", (), False)

    def observe_refused(self, bundle: str, message: str) -> Iterator[f.Fact]:
        """A bundle can never be placed."""
        flight = self.flights.get(bundle)
        for node, start, stop in flight.segments if flight else ():
            for index in range(start, stop):
                yield from self.failed_for_good(self.fold.state(node), index, f.Failure(_UNSCHEDULABLE, message))
        self._close_flight(bundle)

    def _close_flight(self, bundle: str, solo: bool = False) -> None:
        """Forget a bundle; what it still owes is offered again."""
        flight = self.flights.pop(bundle, None)
        if flight is None:
            return
        for node, start, stop in flight.segments:
            front = self.frontier.fronts[node]
            if front.live.count(RUNNING, start, stop):
                if solo:
                    front.solo.update(i for i in range(start, stop) if front.live[i] == RUNNING)
                for low, high in runs(front.live, RUNNING, start, stop):
                    self.frontier.offer_again(front.state, low, high)

    # ---- what people, clocks and the driver say

    def observe_due(self, now: float) -> Iterator[f.Fact]:
        """Retries whose back-off is over become ready; approvals past their deadline fail."""
        if self.fold.retrying and not self.ending:
            for (name, index), due in list(self.fold.retrying.items()):
                state = self.fold.nodes[name]
                # Further away than the back-off can be: the clock has been set back, by hours perhaps.
                if due <= now or due > now + state.node.policy.retry.cap_s:
                    self.frontier.retry_due(state, index)
        for node, asked in list(self.fold.waiting.items()):
            if asked.deadline is not None and asked.deadline <= now:
                failure = f.Failure(_TIMED_OUT, f"nobody answered {asked.text!r} in time")
                yield from self.failed_for_good(self.fold.state(node), 0, failure)

    def next_due(self) -> float | None:
        """When ``observe_due`` has something to do next, in wall-clock seconds."""
        times = [] if self.ending else list(self.fold.retrying.values())
        times += [asked.deadline for asked in self.fold.waiting.values() if asked.deadline is not None]
        return min(times, default=None)

    def observe_answer(self, node: str, cell: bytes) -> Iterator[f.Fact]:
        """A person or program answered an approval or signal; ignored if it does not wait (any more)."""
        if node in self.fold.waiting:
            yield self.completed_here(node, 0, cell)

    def observe_cancel(self, by: str, reason: str) -> Iterator[f.Fact]:
        """Somebody wants the run to end."""
        if self.fold.cancel is None and self.fold.finished is None:
            yield f.CancelRequested(by, reason)

    # ---- what follows from the state

    @property
    def ending(self) -> bool:
        """True once nothing new may start: a step has failed for good, or the run was cancelled."""
        return self.fold.cancel is not None or bool(self.fold.failed)

    def derive(self, now: float) -> Iterator[f.Fact]:
        """Facts that follow from the state; the caller applies each before taking the next."""
        yield from self._consequences.derive(now)

    def measured(self, node: str, width: int | None, problem: str = "") -> Iterator[f.Fact]:
        """Answer to ``Measure``: the width of a map, or why it cannot be known."""
        yield from self._consequences.measured(node, width, problem)


_EXCEPTION = ("builtins:Exception", "builtins:BaseException")
_STEP_ERROR = ("orchestrator.errors:StepError", "orchestrator.errors:OrchestratorError", *_EXCEPTION)
_TIMED_OUT = ("orchestrator.errors:StepTimedOut", "builtins:TimeoutError", *_STEP_ERROR)
_WORKER_DIED = ("orchestrator.errors:WorkerDied", *_STEP_ERROR)
_CHECKS_FAILED = "orchestrator.errors:ChecksFailed"
_CANCELLED = "orchestrator.errors:StepCancelled"
_UNSCHEDULABLE = ("orchestrator.errors:Unschedulable", "orchestrator.errors:BackendError", *_EXCEPTION)


def _is_repeated(failure: f.Failure, on: Sequence[str]) -> bool:
    """True if a stage wants such a failure repeated. Checks fail again on the same rows: they have to be named."""
    classes = set(failure.classes)
    return bool(classes & set(on)) and (_CHECKS_FAILED not in classes or _CHECKS_FAILED in on)


def one_cell_chunk(cell: bytes) -> tuple[str, bytes]:
    """A chunk with one cell, and its digest."""
    data = encode_chunk([cell])
    return digest_bytes(data), data
