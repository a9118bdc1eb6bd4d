"""The machine's own time."""

from __future__ import annotations

import time


class SystemClock:
    """``ports.clock.Clock`` of this machine."""

    def now(self) -> float:
        """Wall-clock seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        time.sleep(duration_s)
