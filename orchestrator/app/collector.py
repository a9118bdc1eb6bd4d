"""The cyclic garbage collector during short runs: one pass over a process with Ray and pandas takes 50 ms.

Everything there is when a run begins is set aside for the collector, so that its passes look at new objects only, and
they come less often: a graph of a thousand nodes is nothing to collect. After a few seconds, or with the run, all of it
is back: in a long run nobody notices the passes, and memory counts.
"""

from __future__ import annotations

import gc
import threading

SPARED_S = 5.0

PASS_OBJECTS = 50_000
"""New objects from which on there is a pass, while a run is short: a few thousand steps make fewer."""


class Spared:
    """Sets the process's objects aside until ``end``, for ``SPARED_S`` at most; nothing if somebody did so before."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._before = gc.get_threshold()
        if gc.get_freeze_count() == 0 and gc.isenabled():
            gc.freeze()
            gc.set_threshold(max(PASS_OBJECTS, self._before[0]), *self._before[1:])
            self._timer = threading.Timer(SPARED_S, self._as_before)
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """The collector sees all objects again; no error if already done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._as_before()

    def _as_before(self) -> None:
        gc.set_threshold(*self._before)
        gc.unfreeze()
