"""An executor (``ports.executor.Executor``) whose workers, bodies and frames are events: they die, hang and go astray.

Frames of one worker arrive in order, those of different workers in any; what a dead worker had not delivered is lost. A
``@dynamic`` body is a generator that yields its calls; light ones may run where it runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from orchestrator.backends.bundles.calls import call_key
from orchestrator.errors import ArtifactMissing
from orchestrator.graph.context import idempotency_key
from orchestrator.graph.json import StoredNodes, node_to_bytes
from orchestrator.graph.node import Const, Graph, Node, Ref
from orchestrator.ports import frames
from orchestrator.ports.executor import Accepted, Bundle, ExecutorEvent, FromBundle, Joined, Lost, RunCode
from orchestrator.ports.values import encode_chunk
from orchestrator.testing.simulator.connection import Place
from orchestrator.testing.simulator.graphs import FUNCTIONS, ISLANDS, call_template
from orchestrator.testing.simulator.load import Load, shown
from orchestrator.testing.simulator.values import MemoryArtifacts, Reader, encode
from orchestrator.types import Digest

MOST_DEATHS = 2
MOST_FAILURES = 5
"""So often the weather strikes one step; once more, and its budget would be spent, which is no longer a fault."""

STEP_S = 0.004
"""Longest usual duration of a body, and of a frame's way."""

RETRYABLE = ("builtins:ConnectionError", "builtins:OSError", "builtins:Exception", "builtins:BaseException")
_CANCELLED = ["orchestrator.errors:StepCancelled", "builtins:Exception", "builtins:BaseException"]


class World(Protocol):
    """What is outside of every process: it sees bodies begin and what they send."""

    deaths: dict[tuple[str, int], int]
    failures: dict[tuple[str, int], int]

    def begun(self, place: Place, node: str, index: int, key: str, payload: str) -> None:
        """A body begins."""
        ...

    def nonce(self) -> int:
        """A new number each time."""
        ...


@dataclass(slots=True)
class SimulatedWorker:
    """A worker with at most two bundles."""

    name: str
    loads: deque[Load] = field(default_factory=deque)
    alive: bool = True
    last_arrival_s: float = 0.0


class SimulatedExecutor:
    """Workers of one driver's process."""

    name = "simulated"

    def __init__(self, place: Place, world: World, graph: Graph, artifacts: MemoryArtifacts, slots: int) -> None:
        self.slots = slots
        self._place = place
        self._world = world
        self._nodes = {node.id: node for node in graph.nodes}
        self._artifacts = artifacts
        self._code: RunCode | None = None
        self._workers: list[SimulatedWorker] = []
        self._hosts: list[SimulatedWorker] = []
        self._arrived: list[ExecutorEvent] = []
        self._count = 0
        self._woken = False

    # ---- the driver's side

    def open(self, code: RunCode) -> None:
        """See ``Executor``."""
        self._code = code

    def room(self) -> int:
        """See ``Executor``."""
        return 2 * self.slots - sum(len(worker.loads) for worker in self._workers)

    def idle(self) -> int:
        """See ``Executor``."""
        return self.slots - sum(bool(worker.loads) for worker in self._workers)

    def submit(self, bundle: Bundle) -> None:
        """See ``Executor``."""
        code = self._code
        assert code is not None
        wanted = {span.chunk for s in bundle.segments for i in s.inputs for span in i.spans if span.chunk}
        for segment in bundle.segments:
            if segment.node not in self._nodes:
                added = StoredNodes(msgspec.json.decode(code.define([segment.node])))
                self._nodes[segment.node] = added.node(segment.node)
        todo = deque((segment, index) for segment in bundle.segments for index in range(segment.start, segment.stop))
        load = Load(bundle, {digest: code.chunk(digest) for digest in wanted}, todo)
        worker = self._worker(bundle)
        worker.loads.append(load)
        if self._place.clockwork.trace is not None:
            steps = ", ".join(f"{s.node}[{s.start}:{s.stop}]" for s in bundle.segments)
            self._place.note(f"submits {bundle.id[:6]} to {worker.name}: {steps}")
        self._tell(worker, Accepted(bundle.id, worker.name))
        if len(worker.loads) == 1:
            self._later(worker, self._duration_s(), self._next)

    def release(self, bundle: str, count: int) -> None:
        """See ``Executor``."""
        worker, load = self._find(bundle)
        if worker is not None and load is not None:
            self._later(worker, self._duration_s(), lambda w: self._give_back(w, load, count))

    def cancel(self, bundle: str) -> None:
        """See ``Executor``."""
        worker, load = self._find(bundle)
        if worker is not None and load is not None:
            self._later(worker, self._duration_s(), lambda w: self._interrupt(w, load))

    def answer(self, bundle: str, returned: frames.Returned) -> None:
        """See ``Executor``."""
        worker, load = self._find(bundle)
        if worker is not None and load is not None:
            self._later(worker, self._duration_s(), lambda w: self._returned(w, load, returned))

    def poll(self, timeout_s: float) -> list[ExecutorEvent]:
        """See ``Executor``."""
        self._place.point()
        self._place.step()
        if not self._arrived and not self._woken and timeout_s > 0:
            self._place.clockwork.wait(self._place.process, timeout_s)
        self._woken = False
        arrived, self._arrived = self._arrived, []
        return arrived

    def wake(self) -> None:
        """See ``Executor``."""
        self._woken = True
        self._place.clockwork.wake(self._place.process)

    def close(self) -> None:
        """See ``Executor``."""
        for worker in (*self._workers, *self._hosts):
            worker.alive = False

    def end_workers(self) -> None:
        """A later driver ends the workers that there are; this one, if it still lives, hears of it."""
        for worker in (*self._workers, *self._hosts):
            self._die(worker, "a later driver ended it")

    # ---- workers

    def _worker(self, bundle: Bundle) -> SimulatedWorker:
        pooled = bundle.heavy is None and not bundle.host
        if pooled:
            free = [w for w in self._workers if len(w.loads) < 2 and not any(load.bundle.alone for load in w.loads)]
            if bundle.alone:
                free = [worker for worker in free if not worker.loads]
            if free and (len(self._workers) >= self.slots or not free[0].loads):
                return min(free, key=lambda worker: len(worker.loads))
        self._count += 1
        worker = SimulatedWorker(f"{self._place.process.name}.w{self._count}")
        (self._workers if pooled else self._hosts).append(worker)
        self._tell(worker, Joined(worker.name, "simulated", self._count))
        return worker

    def _find(self, bundle: str) -> tuple[SimulatedWorker | None, Load | None]:
        for worker in (*self._workers, *self._hosts):
            for load in worker.loads:
                if load.bundle.id == bundle:
                    return worker, load
        return None, None

    def _duration_s(self) -> float:
        return self._place.chance.random() * STEP_S

    def _later(self, worker: SimulatedWorker, delay_s: float, action: Callable[[SimulatedWorker], None]) -> None:
        def happen() -> None:
            process = self._place.process  # frozen, its workers go on; dead, they end
            if process.doomed or process.ended:
                worker.alive = False
            if worker.alive:
                action(worker)

        self._place.clockwork.after(delay_s, worker.name, happen)

    def _tell(self, worker: SimulatedWorker, event: ExecutorEvent, delay_s: float = 0.0) -> None:
        """Let an event arrive at the driver, after those the worker sent before."""
        now_s = self._place.clockwork.now_s
        due_s = max(now_s + delay_s, worker.last_arrival_s)
        if due_s <= now_s:
            self._arrive(event)
        else:
            worker.last_arrival_s = due_s
            self._place.clockwork.after(due_s - now_s, worker.name, lambda: self._arrive(event))

    def _arrive(self, event: ExecutorEvent) -> None:
        self._arrived.append(event)
        self._place.clockwork.wake(self._place.process)

    def _die(self, worker: SimulatedWorker, reason: str, timed_out: bool = False) -> None:
        worker.alive = False
        for pool in (self._workers, self._hosts):
            if worker in pool:
                pool.remove(worker)
        self._place.note(f"{worker.name} dies: {reason}")
        bundles = tuple(load.bundle.id for load in worker.loads)
        # Delivered before it died, or not at all: nothing of it comes later.
        self._tell(worker, Lost(worker.name, reason, bundles, timed_out), self._duration_s())

    # ---- steps

    def _next(self, worker: SimulatedWorker) -> None:
        """Begin the next step of the worker's first bundle, or end the bundle."""
        load = worker.loads[0]
        if not load.todo:
            self._finish(worker, load)
            return
        segment, index = load.todo.popleft()
        load.step = (segment, index)
        node = self._nodes[segment.node]
        reader = self._reader(load, segment)
        if reader.incomplete:
            self._tell(worker, FromBundle(worker.name, frames.Released(load.bundle.id, [(node.id, index, index + 1)])))
            self._next(worker)
            return
        place, world, step = self._place, self._world, (node.id, index)
        failed = world.failures.get(step, 0)
        try:
            args = {n: reader.value(e, index if n in node.mapped else None) for n, e in node.args.items()}
        except ArtifactMissing as error:
            load.fail_with(node.id, index, ["orchestrator.errors:ArtifactMissing", *RETRYABLE], str(error))
            self._later(worker, 0.0, self._next)
            return
        effects = node.policy.effects
        key = idempotency_key(load.bundle.run, *step) if effects else ""
        world.begun(place, *step, key, repr(args) if effects else "")
        if place.likely("kill_worker") and self._may_die(worker):
            self._later(worker, self._duration_s(), lambda w: self._die(w, "killed in a body"))
        elif failed < MOST_FAILURES and _is_patient(node) and place.likely("hang"):
            world.failures[step] = failed + 1
            self._later(worker, 0.5, lambda w: self._die(w, "it overran its time-out", timed_out=True))
        elif failed < MOST_FAILURES and _is_patient(node) and place.likely("fail"):
            world.failures[step] = failed + 1
            load.fail_with(*step, list(RETRYABLE), "try again")
            self._later(worker, self._duration_s(), self._next)
        else:
            self._later(worker, self._duration_s(), lambda w: self._run(w, load, node, index, args))

    def _may_die(self, worker: SimulatedWorker) -> bool:
        """Charge a death to every step that could be blamed for it, unless one of them has had enough."""
        deaths = self._world.deaths
        steps = {(s.node, i) for load in worker.loads for s in load.bundle.segments for i in range(s.start, s.stop)}
        if any(deaths.get(step, 0) >= MOST_DEATHS for step in steps):
            return False
        for step in steps:
            deaths[step] = deaths.get(step, 0) + 1
        return True

    def _reader(self, load: Load, segment: frames.Segment) -> Reader:
        def chunk(digest: Digest) -> bytes | memoryview:
            data = load.chunks.get(digest)
            return data if data is not None else self._artifacts.get(digest)

        return Reader(segment.inputs, load.here, chunk)

    def _run(self, worker: SimulatedWorker, load: Load, node: Node, index: int, args: dict[str, Any]) -> None:
        """The body, to its end or to its first call."""
        segment = load.step[0] if load.step else load.bundle.segments[0]
        try:
            if node.kind == "dynamic":
                assert node.stage is not None
                load.body = ISLANDS[node.stage.name](**args)
                load.ordinal, load.names = 0, {}
                self._go_on(worker, load, None)
                return
            value = self._compute(node, args)
            if node.policy.streaming:
                known = len(self._reader(load, segment).batches(node.id))
                for number, batch in enumerate(value):
                    if number >= known:
                        load.batches.append(frames.Completed(node.id, number, number + 1, len(load.cells)))
                        load.cells.append(encode(batch))
                        if self._place.chance.random() < 0.5:
                            self._send(worker, load)
                value = None
        except Exception as error:
            load.fail(node.id, index, error)
        else:
            load.complete(node, index, value, self._duration_s())
        self._after_step(worker, load)

    def _compute(self, node: Node, args: dict[str, Any]) -> Any:
        if node.kind == "branch":
            return bool(args["value"])
        if node.kind == "pack":
            return args["value"]
        assert node.stage is not None
        if node.stage.name == "draw":
            return [args["x"], self._world.nonce()]
        return FUNCTIONS[node.stage.name](**args)

    def _after_step(self, worker: SimulatedWorker, load: Load) -> None:
        load.step = None
        if self._place.likely("kill_silent") and self._may_die(worker):
            self._die(worker, "killed before it reported")
            return
        if load.todo and self._place.chance.random() < 0.3:
            self._send(worker, load)
        self._later(worker, 0.0, self._next)

    def _finish(self, worker: SimulatedWorker, load: Load) -> None:
        self._send(worker, load, finished=True)
        if not worker.alive:
            return
        worker.loads.popleft()
        if load.bundle.heavy is not None or load.bundle.host:
            worker.alive = False
            self._hosts.remove(worker)
        elif worker.loads:
            self._next(worker)

    # ---- frames

    def _send(self, worker: SimulatedWorker, load: Load, finished: bool = False) -> None:
        """Send what has gathered; by the weather late, twice, or not at all, and then the worker is given up."""
        place = self._place
        inline = True
        if load.cells and place.likely("artifact"):
            inline = False
            digest = self._artifacts.put(encode_chunk(load.cells))
            if place.likely("damage"):
                place.note(f"artifact {digest[:6]} cannot be read for a while")
                self._artifacts.missing.add(digest)
        frame = load.take(self._nodes, inline, place.chance.random() < 0.5, finished)
        if place.likely("drop") and self._may_die(worker):
            self._die(worker, "its frame was lost")
            return
        if place.clockwork.trace is not None:
            place.note(f"{worker.name} reports {load.bundle.id[:6]}{' to its end' if finished else ''}: {shown(frame)}")
        delay_s = 0.05 * place.chance.random() if place.likely("delay") else 0.0
        self._tell(worker, FromBundle(worker.name, frame), delay_s)
        if place.likely("double"):
            self._tell(worker, FromBundle(worker.name, frame), delay_s)

    def _give_back(self, worker: SimulatedWorker, load: Load, count: int) -> None:
        back: list[tuple[str, int, int]] = []
        while load.todo and len(back) < count:
            segment, index = load.todo.pop()
            back.append((segment.node, index, index + 1))
        self._tell(worker, FromBundle(worker.name, frames.Released(load.bundle.id, back)))

    def _interrupt(self, worker: SimulatedWorker, load: Load) -> None:
        if load not in worker.loads:
            return
        self._give_back(worker, load, len(load.todo))
        if load.step is None:
            return
        segment, index = load.step
        if self._place.chance.random() < 0.5 or not load.bundle.host:
            self._die(worker, "it was ended")
            return
        load.fail_with(segment.node, index, _CANCELLED, "cancelled")
        load.body, load.step = None, None
        self._later(worker, 0.0, self._next)

    # ---- bodies that call

    def _go_on(self, worker: SimulatedWorker, load: Load, value: Any, error: Exception | None = None) -> None:
        """Let a body run to its next call, or to its end."""
        assert load.step is not None
        segment, index = load.step
        node = self._nodes[segment.node]
        try:
            name, values, mapped = load.body.throw(error) if error is not None else load.body.send(value)
        except StopIteration as end:
            load.body = None
            load.complete(node, index, end.value, self._duration_s())
            self._after_step(worker, load)
            return
        except Exception as raised:
            load.body = None
            load.fail(node.id, index, raised)
            self._after_step(worker, load)
            return
        call, child = self._call(load, node, index, name, values[0], mapped)
        here = load.ordinal > segment.calls and not mapped and not child.policy.barrier
        if here and self._place.chance.random() < 0.4:
            self._world.begun(self._place, child.id, 0, "", "")
            result = self._compute(child, {next(iter(child.args)): values[0]})
            load.made.append(frames.Made(call, len(load.cells), 10))
            load.cells.append(encode(result))
            self._later(worker, self._duration_s(), lambda w: self._go_on(w, load, result))
            return
        if load.made:
            self._send(worker, load)
        if worker.alive:
            self._tell(worker, FromBundle(worker.name, call))

    def _call(
        self, load: Load, parent: Node, index: int, name: str, value: Any, mapped: bool
    ) -> tuple[frames.Call, Node]:
        scope = f"{parent.id}[{index}]" if parent.is_map else parent.id
        load.names[name] = count = load.names.get(name, 0) + 1
        template, argument = call_template(name, mapped)
        child = template._replace(
            id=f"{scope}/{name}" if count == 1 else f"{scope}/{name}#{count}",
            args={argument: Const(None, encode(value))},
        )  # fmt: skip
        ordinal, load.ordinal = load.ordinal, load.ordinal + 1
        return frames.Call(parent.id, index, ordinal, call_key(child), node_to_bytes(child)), child

    def _returned(self, worker: SimulatedWorker, load: Load, returned: frames.Returned) -> None:
        if load.body is None or returned.ordinal != load.ordinal - 1:
            return
        if returned.output is None:
            self._go_on(worker, load, None, RuntimeError(returned.message))
            return
        output = returned.output
        reader = Reader([output], {}, lambda digest: returned.chunks.get(digest) or self._artifacts.get(digest))
        try:
            value = reader.value(Ref(output.node))
        except ArtifactMissing as error:
            self._go_on(worker, load, None, error)
        else:
            self._go_on(worker, load, value)


def _is_patient(node: Node) -> bool:
    return node.policy.retry.attempts > MOST_FAILURES
