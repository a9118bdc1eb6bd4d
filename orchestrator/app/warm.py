"""Workers kept between the runs of one process: starting them takes longer than most small runs.

A pool whose run has ended in order waits here with its idle workers for the next run with the same settings,
environment and working directory, and ends after a while, with the process, or when another takes its place. Workers
that wait hold memory, but no CPU.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Hashable
from functools import cache
from typing import NamedTuple

from orchestrator.backends.bundles.pool import KEEP_S, Pool
from orchestrator.backends.bundles.transport import Transport


class Place(NamedTuple):
    """What a pool is for; a warm one serves only runs of the same place.

    Attributes:
        name: ``local`` or ``ray``; one pool of each is kept.
        what: Settings that its workers were started with.
    """

    name: str
    what: Hashable


class WarmPool(Pool):
    """A pool that is put aside when it is closed, if all is well with it.

    Args:
        alive: Whether what its workers live in is still there.
    """

    def __init__(
        self,
        transport: Transport,
        idle_s: float,
        leave_s: float | None,
        alive: Callable[[], bool],
        shelf: Shelf,
        place: Place,
    ) -> None:
        super().__init__(transport, idle_s, leave_s)
        self.place = place
        self.alive = alive
        self.started_in = surroundings()
        self._shelf = shelf

    def close(self) -> None:
        """See ``Executor``; workers that have nothing to do are kept."""
        if not (self.alive() and self.rest() and self._shelf.put(self)):
            self.end()

    def end(self) -> None:
        """End all workers."""
        super().close()


def surroundings() -> Hashable:
    """What a worker takes over from the process that starts it; Ray sets variables of its own on the way."""
    return os.getcwd(), tuple((name, value) for name, value in os.environ.items() if not name.startswith("RAY_"))


class Shelf:
    """Where pools wait; one of each name, because it holds the memory of several processes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[str, WarmPool] = {}
        self._expiries: dict[str, threading.Timer] = {}
        self._closed = False
        os.register_at_fork(after_in_child=self._forget)

    def take(self, place: Place) -> WarmPool | None:
        """The pool that waits for runs of this place, if there is one."""
        pool = self._replace(place.name, None)
        if pool is None:
            return None
        if pool.place == place and pool.started_in == surroundings() and pool.alive():
            return pool
        pool.end()
        return None

    def put(self, pool: WarmPool) -> bool:
        """Keep a pool; False if the process is about to end."""
        if self._closed:
            return False
        before = self._replace(pool.place.name, pool)
        if before is not None:
            before.end()
        atexit.unregister(self.close)
        atexit.register(self.close)  # again, so that it comes before the end of what was started meanwhile, like Ray
        return True

    def close(self) -> None:
        """End what waits, and keep nothing from now on."""
        self._closed = True
        for name in list(self._pools):
            self._expire(name)

    def _expire(self, name: str) -> None:
        pool = self._replace(name, None)
        if pool is not None:
            pool.end()

    def _replace(self, name: str, pool: WarmPool | None) -> WarmPool | None:
        with self._lock:
            expiry = self._expiries.pop(name, None)
            if expiry is not None:
                expiry.cancel()
            before = self._pools.pop(name, None)
            if pool is not None:
                self._pools[name] = pool
                expiry = self._expiries[name] = threading.Timer(KEEP_S, self._expire, (name,))
                expiry.daemon = True
                expiry.start()
            return before

    def _forget(self) -> None:
        """In a forked child: the workers belong to the parent."""
        self._lock = threading.Lock()
        self._pools, self._expiries = {}, {}


@cache
def shelf() -> Shelf:
    """The one of this process."""
    return Shelf()
