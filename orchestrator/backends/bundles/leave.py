"""The driver's leave to start steps, where another driver may take the run over.

A driver that is frozen stops giving leave. By the time somebody may succeed it, its workers start nothing more, so no
step begins that its successor has finished already.
"""

from __future__ import annotations

import time

PARTS = 4
"""Leave is given anew when a part of it has passed."""

_LOOK_S = 0.05


class Leave:
    """For how long steps may be started; for ever until a driver says that it has an end."""

    def __init__(self) -> None:
        self._until: float | None = None

    def extend(self, duration_s: float) -> None:
        """The driver said so just now; from the thread that listens to it."""
        self._until = time.monotonic() + duration_s

    def wait(self) -> None:
        """Wait until a step may start; the step's own thread, which may be interrupted meanwhile."""
        while self._until is not None and time.monotonic() > self._until:
            time.sleep(_LOOK_S)
