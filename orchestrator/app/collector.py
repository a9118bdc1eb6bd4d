"""The cyclic garbage collector during short runs: one pass over a process with Ray and pandas takes 50 ms.

Everything there is when a run begins is set aside for the collector, so that its passes look at new objects only, and
they come less often: a graph of a thousand nodes is nothing to collect. After a few seconds all of it is back: in a
long run nobody notices the passes, and memory counts. The end of a run changes nothing: a pass right there would be
part of every short run.
"""

from __future__ import annotations

import gc
import threading
from functools import cache

SPARED_S = 5.0

PASS_OBJECTS = 50_000
"""New objects from which on there is a pass, while a run is short: a few thousand steps make fewer."""


class Collector:
    """The collector of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spared = False

    def spare(self) -> None:
        """Set the process's objects aside for ``SPARED_S``; nothing if somebody has done so."""
        with self._lock:
            if self._spared or gc.get_freeze_count() or not gc.isenabled():
                return
            self._spared = True
            before = gc.get_threshold()
            gc.freeze()
            gc.set_threshold(max(PASS_OBJECTS, before[0]), *before[1:])
            back = threading.Timer(SPARED_S, self._as_before, before)
            back.daemon = True
            back.start()

    def _as_before(self, *threshold: int) -> None:
        """The collector sees all objects again."""
        with self._lock:
            self._spared = False
            gc.set_threshold(*threshold)
            gc.unfreeze()


@cache
def collector() -> Collector:
    """The one of this process."""
    return Collector()
