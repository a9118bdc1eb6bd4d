"""The worker: takes frames, runs bundles, answers in frames. It knows neither transport nor engine.

``receive`` may be called from any thread and only notes what is to do. ``run`` executes bundles one after the
other in the thread that calls it; a host, whose bodies mostly wait, gives each bundle a thread of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from orchestrator.backends.bundles.bundle import RunningBundle
from orchestrator.backends.bundles.calls import Body, BodyCaller
from orchestrator.backends.bundles.chunks import ChunkWindow, chunks_of, inputs_of
from orchestrator.backends.bundles.context import Contexts
from orchestrator.backends.bundles.definitions import Code, Definition, Definitions
from orchestrator.backends.bundles.failure import describe_failure
from orchestrator.backends.bundles.light_calls import LightCalls
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.steps import StepRunner
from orchestrator.backends.bundles.versions import versions
from orchestrator.backends.bundles.watchdog import Watch, Watchdog
from orchestrator.graph.context import Caller, enter
from orchestrator.graph.node import Ref
from orchestrator.ports import frames
from orchestrator.types import Digest


class Worker:
    """Runs bundles of any run.

    Args:
        services: What steps are run with; their outbox sends through ``send``.
        code: Unpacks a capsule.
        send: Gives a frame to the transport; thread-safe, may block.
        end: Ends the process for good, with its children; called when a step cannot be interrupted.
        concurrent: True in a host: bundles run at the same time.
    """

    def __init__(
        self,
        services: Services,
        code: Callable[[Digest], Code],
        send: Callable[[bytes], None],
        end: Callable[[str], None],
        concurrent: bool = False,
    ) -> None:
        self._services = services
        self._outbox = services.outbox
        self._definitions = Definitions(code, services.read, services.ports.get("data"))
        self._send = send
        self._end = end
        self._concurrent = concurrent
        self._window = ChunkWindow()
        self._queue: SimpleQueue[RunningBundle | str | None] = SimpleQueue()
        self._bundles: dict[str, RunningBundle] = {}
        self._watches: dict[str, Watch] = {}
        self._callers: dict[tuple[str, int], BodyCaller] = {}
        self._light = LightCalls(services, self._definitions.of_call)
        self._calling = threading.Lock()
        self._watchdog = Watchdog(self._stuck, self._look_at_log, self._say_alive)

    # ---- life

    def start(self) -> None:
        """Start the threads beside the executing one, and say hello."""
        self._outbox.start()
        self._watchdog.start()
        self._send(frames.encode(frames.Hello(os.getpid(), os.uname().nodename, self._services.log.path, versions())))

    def run(self) -> None:
        """Execute bundles until told to stop."""
        bodies: list[threading.Thread] = []
        while (bundle := self._queue.get()) is not None:
            if isinstance(bundle, str):
                self._definitions.prepare(bundle)
            elif self._concurrent:
                body = threading.Thread(target=self._execute, args=(bundle,), name=bundle.id, daemon=True)
                body.start()
                bodies = [body, *(other for other in bodies if other.is_alive())]
            else:
                self._execute(bundle)
        for body in bodies:
            body.join()
        self.close()

    def close(self) -> None:
        """Stop the threads beside the executing one."""
        if self._services.spans is not None:
            self._services.spans.close()
        self._watchdog.stop()
        self._outbox.close()

    def step(self) -> bool:
        """Execute one queued bundle in the calling thread; False if there is none."""
        try:
            bundle = self._queue.get_nowait()
        except Empty:
            return False
        if isinstance(bundle, str):
            self._definitions.prepare(bundle)
        elif bundle is not None:
            self._execute(bundle)
        return True

    def note_fork(self) -> None:
        """This process is a child that a step has forked: if it comes back from the body, it must end."""
        for watch in self._watches.values():
            watch.forked = True

    def stop(self) -> None:
        """Let ``run`` return when it has done what is queued; from any thread."""
        self._queue.put(None)

    # ---- frames

    def receive(self, data: bytes) -> None:
        """Take one frame in; from any thread, never blocks on a step.

        Raises:
            msgspec.DecodeError: these bytes are no frame.
        """
        frame = frames.decode_to_worker(data)
        if isinstance(frame, frames.Run):
            self._enqueue(frame)
        elif isinstance(frame, frames.Define):
            if frame.graph:
                self._definitions.learn_graph(frame.run, frame.capsule, frame.graph)
                self._queue.put(frame.run)  # read by the executing thread, before a bundle comes if there is time
            else:
                self._definitions.learn(frame.run, frame.capsule, frame.body)
        elif isinstance(frame, frames.Release):
            bundle = self._bundles.get(frame.bundle)
            self._give_back(frame.bundle, bundle.release(frame.count) if bundle else [])
        elif isinstance(frame, frames.Cancel):
            self._cancel(frame.bundle)
        elif isinstance(frame, frames.Returned):
            caller = self._callers.get((frame.node, frame.index))
            if caller is not None:
                caller.returned(frame)
        elif isinstance(frame, frames.Lend | frames.Recall):
            self._slot(frame)
        elif isinstance(frame, frames.Acknowledge):
            self._outbox.acknowledge(frame.frames)
        elif isinstance(frame, frames.Continue):
            self._services.leave.extend(frame.for_s)
        elif isinstance(frame, frames.Forget):
            self._definitions.forget(frame.run)
        else:
            self.stop()

    def _slot(self, frame: frames.Lend | frames.Recall) -> None:
        with self._calling:
            slots = [caller.slot for caller in self._callers.values() if caller.bundle == frame.bundle]
        for slot in slots:
            if isinstance(frame, frames.Lend):
                slot.lent()
            else:
                slot.recalled()
        if not slots and isinstance(frame, frames.Lend):  # its body has ended meanwhile
            self._send(frames.encode(frames.HandBack(frame.bundle)))

    def _enqueue(self, frame: frames.Run) -> None:
        inline = self._window.use(chunks_of(inputs_of(frame.segments)), frame.chunks.get)
        bundle = RunningBundle(frame, inline)
        self._bundles[bundle.id] = bundle
        self._queue.put(bundle)

    def _cancel(self, bundle_id: str) -> None:
        bundle = self._bundles.get(bundle_id)
        if bundle is None:
            return
        self._give_back(bundle_id, bundle.drop())
        watch = self._watches.get(bundle_id)
        if watch is not None:
            watch.cancelled = True  # the watchdog sees to it

    def _give_back(self, bundle: str, steps: list[tuple[str, int, int]]) -> None:
        self._send(frames.encode(frames.Released(bundle, steps)))

    def _say_alive(self) -> None:
        self._send(frames.encode(frames.Alive(resident_bytes())))

    def _look_at_log(self) -> None:
        """Keep the log short, and let others read what the running step prints; of several at a time, of none."""
        log = self._services.log
        log.tick()
        running = [watch for watch in list(self._watches.values()) if watch.running]
        if len(running) == 1:
            watch = running[0]
            node, index = watch.node, watch.index
            log.show(watch.bundle, node, index, lambda: watch.running and (watch.node, watch.index) == (node, index))

    # ---- bundles

    def _execute(self, bundle: RunningBundle) -> None:
        alone = not self._watches
        watch = self._watches[bundle.id] = Watch(bundle.id)
        self._watchdog.add(watch)
        surroundings = None if self._concurrent else self._services.surroundings
        runner = StepRunner(self._services, bundle, watch, surroundings, self._give_back, self._caller, alone)
        try:
            for part in bundle.parts:
                runner.run_part(part, self._definitions)
        finally:
            enter(None)
            self._watchdog.remove(watch)
            if surroundings is not None:
                surroundings.restore_all()
            del self._watches[bundle.id], self._bundles[bundle.id]
            with self._calling:
                ended = {key: caller for key, caller in self._callers.items() if caller.bundle == bundle.id}
                for key, caller in ended.items():
                    del self._callers[key]
                    caller.slot.hand_back()
            self._outbox.flush(bundle.id, finished=True)

    def _caller(
        self, bundle: RunningBundle, definition: Definition, index: int, recorded: int, contexts: Contexts
    ) -> Caller:
        watch, node = self._watches[bundle.id], definition.node

        def send(frame: frames.FromWorker) -> None:
            data = frames.encode(frame)
            if threading.get_ident() == watch.thread and watch.running:
                with watch.shield():
                    self._send(data)
            else:
                self._send(data)

        body = Body(bundle.run, bundle.id, node, index, recorded)
        caller = BodyCaller(body, self._services, contexts, watch, self._light, send, self._load)
        with self._calling:
            self._callers[node.id, index] = caller
        return caller

    def _load(self, output: frames.Input, chunks: Mapping[Digest, bytes]) -> Any:
        outputs = {output.node: self._services.outputs_of(output, chunks)}
        argument = self._services.reader(outputs, 0, 0).argument(Ref(output.node))
        return argument.value if argument.get is None else argument.get(0)

    # ---- what cannot be interrupted

    def _stuck(self, watch: Watch) -> None:
        """A step did not end: deliver what is finished, say what became of the rest, and end the process."""
        self._outbox.fail(watch.bundle, describe_failure(watch.node, watch.index, watch.error()))
        for bundle in list(self._bundles.values()):
            steps = bundle.drop()
            if steps:
                self._give_back(bundle.id, steps)
        self._outbox.flush_last()
        self._end(f"{watch.error().message} and could not be interrupted")


def resident_bytes() -> int:
    """Memory of this process in bytes: what it has now where the system says so, else the most it ever had."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource
        import sys

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
