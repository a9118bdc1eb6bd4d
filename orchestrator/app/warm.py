"""Local workers kept between the runs of one process: starting them takes longer than most small runs.

A pool whose run has ended in order waits here with its idle workers for the next run with the same settings, environment
and working directory, and ends after a while, with the process, or when another takes its place.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Hashable
from functools import cache

from orchestrator.backends.bundles.pipes import PipeTransport
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.transport import WorkerSettings

KEEP_S = 60.0
"""How long workers are kept without work: they hold memory, but no CPU."""


class WarmPool(Pool):
    """A pool of local workers that is put aside when it is closed, if all is well with it."""

    def __init__(self, settings: WorkerSettings, slots: int, shelf: Shelf, key: Hashable) -> None:
        transport = PipeTransport(settings, slots)
        transport.warm()
        super().__init__(transport, idle_s=KEEP_S)
        self.key = key
        self._shelf = shelf

    def close(self) -> None:
        """See ``Executor``; workers that have nothing to do are kept."""
        if not (self.rest() and self._shelf.put(self)):
            self.end()

    def end(self) -> None:
        """End all workers."""
        super().close()


class Shelf:
    """Where a pool waits; one at a time, because it holds the memory of several processes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: WarmPool | None = None
        self._expiry: threading.Timer | None = None
        self._closed = False
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def take(self, settings: WorkerSettings, slots: int) -> WarmPool:
        """A pool for a run: the one that waits if it suits, else a new one."""
        key = (settings, slots, os.getcwd(), tuple(os.environ.items()))
        pool = self._replace(None)
        if pool is not None and pool.key == key:
            return pool
        if pool is not None:
            pool.end()
        return WarmPool(settings, slots, self, key)

    def put(self, pool: WarmPool) -> bool:
        """Keep a pool; False if there is no more need."""
        if self._closed:
            return False
        before = self._replace(pool)
        if before is not None:
            before.end()
        return True

    def close(self) -> None:
        """End what waits, and keep nothing from now on."""
        self._closed = True
        self._expire()

    def _expire(self) -> None:
        pool = self._replace(None)
        if pool is not None:
            pool.end()

    def _replace(self, pool: WarmPool | None) -> WarmPool | None:
        with self._lock:
            if self._expiry is not None:
                self._expiry.cancel()
            before, self._pool, self._expiry = self._pool, pool, None
            if pool is not None:
                self._expiry = threading.Timer(KEEP_S, self._expire)
                self._expiry.daemon = True
                self._expiry.start()
            return before

    def _forget(self) -> None:
        """In a forked child: the workers belong to the parent."""
        self._lock = threading.Lock()
        self._pool = self._expiry = None


@cache
def shelf() -> Shelf:
    """The one of this process."""
    return Shelf()
