"""A worker process: opens what the settings name, puts a ``Worker`` together and connects it to its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.artifacts.signing import Signer
from orchestrator.artifacts.store import open_store
from orchestrator.artifacts.values import StoredValues
from orchestrator.backends import capsule
from orchestrator.backends.bundles import orphans
from orchestrator.backends.bundles.logs import Log, WorkerLog
from orchestrator.backends.bundles.nursery import Nursery
from orchestrator.backends.bundles.outbox import Outbox
from orchestrator.backends.bundles.services import Services
from orchestrator.backends.bundles.spans import attempt_spans
from orchestrator.backends.bundles.surroundings import Surroundings
from orchestrator.backends.bundles.transport import WorkerKind, WorkerSettings, log_path
from orchestrator.backends.bundles.watchdog import listen_for_wakeups
from orchestrator.backends.bundles.worker import Worker
from orchestrator.graph.secret import resolve_reference


def build_worker(
    settings: WorkerSettings,
    log: Log,
    send: Callable[[bytes], None],
    end: Callable[[str], None],
    *,
    concurrent: bool = False,
    surroundings: Surroundings | None = None,
    ports: dict[str, Any] | None = None,
) -> Worker:
    """A worker over the stores that the settings name, for any transport; see ``Worker`` for the arguments."""
    store = open_store(settings.artifacts)
    values = StoredValues(store, Signer(settings.keys))
    services = Services(
        values,
        store.get,
        resolve_reference,
        Outbox(send, store.put),
        log,
        surroundings,
        ports or {},
        spans=attempt_spans(),
    )
    capsules = Path(settings.capsules)
    return Worker(services, lambda digest: capsule.load(digest, store, capsules), send, end, concurrent)


def main(descriptor: str, mark: str, settings: str) -> None:
    """Become the process that local workers are forked from.

    Args:
        descriptor: Of the socket to the driver.
        mark: What the environment of all workers carries.
        settings: ``WorkerSettings`` in JSON.
    """
    shared = WorkerSettings(**json.loads(settings))

    def work(connection: socket.socket, told: dict[str, Any]) -> None:
        serve(connection, shared, told["name"], told["kind"], told["mark"])

    Nursery(socket.socket(fileno=int(descriptor)), mark, work).run()


def serve(
    connection: socket.socket,
    settings: WorkerSettings,
    name: str,
    kind: WorkerKind,
    mark: str,
    ports: dict[str, Any] | None = None,
) -> None:
    """Make this process a worker, until its driver says stop or is gone; from the main thread.

    Args:
        connection: To the driver; each frame has its length in front.
        mark: What the environment of the worker's children carries (``orphans.MARK``).
        ports: What steps may drive.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business
    log = WorkerLog(log_path(settings, name), settings.step_log_bytes)
    log.take_over()
    surroundings = Surroundings()
    surroundings.watch()
    listen_for_wakeups()
    sending = threading.Lock()

    def send(data: bytes) -> None:
        try:
            with sending:
                connection.sendall(len(data).to_bytes(4, "big") + data)
        except OSError:
            end("its driver is gone")

    def end(reason: str) -> None:
        orphans.kill_children(mark, os.getpid())
        os._exit(1)

    worker = build_worker(settings, log, send, end, concurrent=kind == "host", surroundings=surroundings, ports=ports)
    threading.Thread(target=_listen, args=(connection, worker, end), name="listener", daemon=True).start()
    os.register_at_fork(after_in_child=worker.note_fork)
    worker.start()
    worker.run()
    orphans.kill_children(mark, os.getpid())


def _listen(connection: socket.socket, worker: Worker, end: Callable[[str], None]) -> None:
    """Hand frames to the worker; the end of the stream is the end of the driver."""
    stream = connection.makefile("rb", buffering=1 << 16)
    while len(header := stream.read(4)) == 4:
        worker.receive(stream.read(int.from_bytes(header, "big")))
    end("its driver is gone")
