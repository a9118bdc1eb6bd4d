"""The cyclic garbage collector during short runs: one pass over a process with Ray and pandas takes 50 ms.

Everything there is when a run begins is set aside for the collector, so that its passes look at new objects only.
After a few seconds, or with the run, all of it is back: in a long run nobody notices the passes, and memory counts.
"""

from __future__ import annotations

import gc
import threading

SPARED_S = 5.0


class Spared:
    """Sets the process's objects aside until ``end``, for ``SPARED_S`` at most; nothing if somebody did so before."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        if gc.get_freeze_count() == 0:
            gc.freeze()
            self._timer = threading.Timer(SPARED_S, gc.unfreeze)
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        """The collector sees all objects again; no error if already done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.unfreeze()
