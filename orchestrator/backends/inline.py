"""Steps in the caller's own process: the same worker and pool without any process or socket between them.

For tests of pipelines and for looking into them with a debugger. A time-out interrupts what runs in Python; what
cannot be interrupted goes on, and what ends the process ends this one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from orchestrator.backends.bundles.definitions import Code
from orchestrator.backends.bundles.logs import NoLog
from orchestrator.backends.bundles.outbox import Outbox
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.surroundings import BorrowedSurroundings
from orchestrator.backends.bundles.transport import START_S, Death, Sink, WorkerNeeds
from orchestrator.backends.bundles.watchdog import listen_for_wakeups
from orchestrator.backends.bundles.worker import Worker
from orchestrator.graph.secret import resolve_reference
from orchestrator.graph.stage import Stage, resolve
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.values import Values
from orchestrator.types import Digest


class LiveCode:
    """Stages of this process, without a capsule."""

    root = ""

    def __init__(self, stages: Mapping[str, Stage[..., Any]]) -> None:
        self._stages = stages

    def function(self, reference: str) -> Callable[..., Any]:
        """The author's function of a stage; raises ImportError or AttributeError."""
        found = self._stages.get(reference) or resolve(reference)
        function: Callable[..., Any] = found.function if isinstance(found, Stage) else found
        return function


class InlineChannel:
    """A worker in this process; see ``transport.Channel``."""

    start_s = START_S
    has_slot = True

    def __init__(self, name: str, worker: Worker, host: bool, sink: Sink) -> None:
        self.name = name
        self.worker = worker
        self.host = host
        self.alive = True
        self._sink = sink

    def send(self, data: bytes) -> None:
        """See ``Channel``."""
        if self.alive:
            self.worker.receive(data)

    def kill(self) -> None:
        """See ``Channel``; a step that runs in another thread goes on, but nobody listens any more."""
        self.end("it was ended")

    def park(self) -> bool:
        """See ``Channel``; an idle process here keeps nobody from anything."""
        return False

    def unpark(self) -> None:
        """See ``Channel``."""

    def close(self) -> None:
        """See ``Channel``."""
        self.end("it has nothing more to do")

    def end(self, reason: str) -> None:
        """Report its death once."""
        if self.alive:
            self.alive = False
            self.worker.stop()
            if not self.host:
                self.worker.close()
            self._sink(self.name, Death(reason))


class InlineTransport:
    """One pool worker, executed by ``pump``, and hosts with threads; see ``transport.Transport``.

    Args:
        ports: What ``step().data`` and its like hand out.
    """

    name = "inline"
    slots = 1

    def __init__(
        self,
        values: Values,
        store: ArtifactStore,
        code: Callable[[Digest], Code],
        secret: Callable[[str], str] = resolve_reference,
        ports: Mapping[str, Any] | None = None,
    ) -> None:
        self._values = values
        self._store = store
        self._code = code
        self._secret = secret
        self._ports = dict(ports or {})
        self._channels: list[InlineChannel] = []
        self._arrived = threading.Event()
        if threading.current_thread() is threading.main_thread():
            listen_for_wakeups()

    def refusal(self, needs: WorkerNeeds) -> str | None:
        """See ``Transport``; resources are not looked at."""
        missing = [use for use in needs.uses if use not in self._ports]
        return f"the step drives {', '.join(missing)}, which is not available in process" if missing else None

    def fits(self, needs: WorkerNeeds, without: Collection[str] = ()) -> bool:
        """See ``Transport``."""
        return True

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> InlineChannel:
        """See ``Transport``."""

        def send(data: bytes) -> None:
            sink(name, data)
            outbox.acknowledge(1)  # its reader may be the thread that runs the step
            self._arrived.set()

        outbox = Outbox(send, self._store.put)
        services = Services(
            self._values, self._store.get, self._secret, outbox, NoLog(), BorrowedSurroundings(), self._ports, True
        )
        host = needs.kind == "host"
        worker = Worker(services, self._code, send, lambda reason: None, concurrent=host)
        channel = InlineChannel(name, worker, host, sink)
        self._channels.append(channel)
        worker.start()
        if host:
            threading.Thread(target=worker.run, name=name, daemon=True).start()
        return channel

    def pump(self, timeout_s: float) -> None:
        """See ``Transport``; runs one bundle if there is one."""
        self._arrived.clear()
        self._channels = [channel for channel in self._channels if channel.alive]
        if not any(channel.worker.step() for channel in self._channels if not channel.host):
            self._arrived.wait(timeout_s)

    def rest(self) -> None:
        """See ``Transport``; there is nothing to look after."""

    def resume(self) -> None:
        """See ``Transport``."""

    def wake(self) -> None:
        """See ``Transport``."""
        self._arrived.set()

    def close(self) -> None:
        """See ``Transport``."""
        for channel in self._channels:
            channel.end("the executor was closed")


def inline_executor(
    values: Values,
    store: ArtifactStore,
    stages: Mapping[str, Stage[..., Any]],
    secret: Callable[[str], str] = resolve_reference,
    ports: Mapping[str, Any] | None = None,
) -> Pool:
    """An executor that runs these stages (``Traced.stages``) in the calling process."""
    code = LiveCode(stages)
    return Pool(InlineTransport(values, store, lambda capsule: code, secret, ports))
