"""One thread that ends what runs too long, for all steps of a worker.

A step only writes its deadline down. The watchdog looks ten times a second; past a deadline
it raises ``Interrupted`` inside the step, and if that is not enough after two seconds it tells the worker to end.
The same thread says once a second that the worker is alive, and keeps logs short.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from orchestrator.errors import StepCancelled, StepError, StepTimedOut

TICK_S = 0.1
ALIVE_S = 1.0
GRACE_S = 2.0

Cause = Literal["", "timed_out", "cancelled"]
_NEVER = float("inf")


class Interrupted(BaseException):
    """Raised inside a step that has to end; not an Exception, so that ordinary handlers let it through."""


class Watch:
    """What one executing thread does right now.

    Attributes:
        bundle, node, index: The running step.
        deadline: When it must be over (monotonic seconds).
        cancelled: No step of the bundle is to go on.
        cause: Why it was interrupted; empty if it was not.
        forked: True in a child process that the step has forked.
    """

    __slots__ = (
        "bundle", "cancelled", "cause", "deadline", "fired_at", "forked", "index", "lock", "node", "running", "thread",
        "timeout_s",
    )  # fmt: skip

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        self.node = ""
        self.index = 0
        self.thread = threading.get_ident()
        self.timeout_s: float | None = None
        self.deadline = _NEVER
        self.running = False
        self.cancelled = False
        self.cause: Cause = ""
        self.fired_at = 0.0
        self.forked = False
        self.lock = threading.Lock()

    def begin(self, node: str, index: int) -> None:
        """A step starts now."""
        self.node = node
        self.index = index
        if self.timeout_s is not None:
            self.deadline = time.monotonic() + self.timeout_s
        self.cause = ""
        self.running = True

    def end(self) -> None:
        """The step is over. An interruption that has not reached it yet is taken back; may be called twice."""
        with self.lock:
            self.running = False
            if self.cause:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), None)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let nothing interrupt what must not stop halfway, like a frame on its way; called by the step itself."""
        with self.lock:
            self.running = False
            if self.cause:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), None)
                raise Interrupted
        try:
            yield
        finally:
            self.running = True

    def interrupt(self, cause: Cause) -> None:
        """End the running step, if there is one; from another thread."""
        with self.lock:
            if not self.running or self.cause:
                return
            self.cause = cause
            self.fired_at = time.monotonic()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(Interrupted))
        if self.thread == threading.main_thread().ident:
            signal.pthread_kill(self.thread, signal.SIGURG)  # wakes it from a blocking system call

    def error(self) -> StepError:
        """What the interruption means for the step."""
        if self.cause == "cancelled":
            return StepCancelled(f"step {self.node}[{self.index}] was cancelled while it ran")
        return StepTimedOut(f"step {self.node}[{self.index}] ran longer than its time-out of {self.timeout_s:g} s")


def listen_for_wakeups() -> None:
    """Let ``Watch.interrupt`` reach the main thread inside a system call; call from the main thread."""
    signal.signal(signal.SIGURG, _wake)


def _wake(signum: int, frame: object) -> None:
    """Nothing to do: returning to Python code is what raises the pending exception."""


class Watchdog:
    """Looks after the watches of a worker.

    Args:
        stuck: Called with a watch whose step did not end within the grace period; ends the worker.
        tick: Called ten times a second, ``alive`` once a second.
    """

    def __init__(self, stuck: Callable[[Watch], None], tick: Callable[[], None], alive: Callable[[], None]) -> None:
        self._stuck = stuck
        self._tick = tick
        self._alive = alive
        self._watches: list[Watch] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def add(self, watch: Watch) -> None:
        """Look after one more thread."""
        self._watches.append(watch)

    def remove(self, watch: Watch) -> None:
        """Forget a thread."""
        self._watches.remove(watch)

    def _run(self) -> None:
        next_alive = time.monotonic() + ALIVE_S
        while not self._stopped.wait(TICK_S):
            now = time.monotonic()
            for watch in list(self._watches):
                if watch.running and not watch.cause and (watch.cancelled or now >= watch.deadline):
                    watch.interrupt("cancelled" if watch.cancelled else "timed_out")
                elif watch.running and watch.cause and now >= watch.fired_at + GRACE_S:
                    watch.fired_at = _NEVER
                    self._stuck(watch)
            self._tick()
            if now >= next_alive:
                next_alive = now + ALIVE_S
                self._alive()
