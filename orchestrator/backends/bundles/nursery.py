"""The process that local workers are forked from, and that ends them when their driver is gone.

It imports the engine once and then waits: a forked worker is ready in milliseconds, where a fresh interpreter takes
most of a second. It has one thread and runs none of the user's code, so forking is safe. It also buries the
workers: it tells the driver how each ended, and outlives the driver for as long as that takes.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from orchestrator.backends.bundles import orphans

READ_BYTES = 1 << 16
MOST_SOCKETS = 64

GRACE_S = 2.0
"""How long workers may take to end by themselves after their driver."""

EXIT_S = 3
"""How long a worker may take to leave once it has nothing more to do."""

Work = Callable[[socket.socket, dict[str, Any]], None]
"""Makes the calling process the worker that a request describes; returns when it has nothing more to do."""


class Nursery:
    """Takes requests ``{"start": …}`` (each with the worker's socket) and ``{"kill": pid}``, one JSON document a line.

    It answers ``{"started": name, "pid": pid}`` and ``{"ended": pid, "code": exit code or minus the signal}``.

    Args:
        connection: To the driver.
        mark: What the environment of all workers carries (``orphans.MARK``).
    """

    def __init__(self, connection: socket.socket, mark: str, work: Work) -> None:
        self._connection = connection
        self._mark = mark
        self._work = work
        self._workers: set[int] = set()
        self._received = b""
        self._sockets: deque[int] = deque()
        self._child_ended, wake = socket.socketpair()
        for end in (self._child_ended, wake):
            end.setblocking(False)
        self._wake = wake

    def run(self) -> None:
        """Serve until the driver is gone, then end what is left."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _note)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()  # pages stay shared with the workers
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ, self._read)
            selector.register(self._child_ended, selectors.EVENT_READ, self._bury)
            serving = True
            while serving:
                for key, _ in selector.select():
                    serving = key.data() and serving
        self._end_workers()

    def _read(self) -> bool:
        try:
            data, sockets, _, _ = socket.recv_fds(self._connection, READ_BYTES, MOST_SOCKETS)
        except OSError:
            return False
        self._sockets.extend(sockets)
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "start" in request:
                self._start(request["start"], self._sockets.popleft())
            elif request["kill"] in self._workers:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(request["kill"], signal.SIGKILL)  # it may not lead a group yet
                _kill_group(request["kill"])
        return bool(data)

    def _start(self, told: dict[str, Any], descriptor: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_worker(told, descriptor)
        os.close(descriptor)
        self._workers.add(pid)
        self._tell({"started": told["name"], "pid": pid})

    def _become_worker(self, told: dict[str, Any], descriptor: int) -> NoReturn:
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self._connection, self._child_ended, self._wake):
                end.close()
            for other in self._sockets:
                os.close(other)
            os.environ[orphans.MARK] = told["mark"]
            self._work(socket.socket(fileno=descriptor), told)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(EXIT_S)
            atexit._run_exitfuncs()
            code = 0
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    def _bury(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._child_ended.recv(READ_BYTES)
        for worker in list(self._workers):
            pid, status = os.waitpid(worker, os.WNOHANG)
            if pid:
                self._workers.remove(pid)
                _kill_group(pid)  # what it left behind; while the group has members its id is not given away
                self._tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})
        return True

    def _tell(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the driver is gone: the next read says so
            self._connection.sendall(json.dumps(answer).encode() + b"\n")

    def _end_workers(self) -> None:
        deadline = time.monotonic() + GRACE_S
        while self._workers and time.monotonic() < deadline:
            time.sleep(0.05)
            self._bury()
        for pid in self._workers:
            orphans.kill_children(f"{self._mark}/", pid)
        orphans.kill_children(f"{self._mark}/")


def _note(signum: int, frame: object) -> None:
    """The signal's number is in the wake-up socket; that is all that is needed."""


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
