"""Time that moves only when the test says so."""

from __future__ import annotations


class FakeClock:
    """``ports.clock.Clock`` under a test's control; sleeping moves it.

    Args:
        now_s: Wall-clock seconds at the start.
    """

    def __init__(self, now_s: float = 1_000_000.0) -> None:
        self._now_s = now_s
        self._passed_s = 0.0

    def now(self) -> float:
        """Wall-clock seconds since the epoch."""
        return self._now_s

    def monotonic(self) -> float:
        """Seconds since the clock was made; not moved by ``step``."""
        return self._passed_s

    def sleep(self, duration_s: float) -> None:
        """Let time pass at once."""
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        self._now_s += duration_s
        self._passed_s += duration_s

    def step(self, duration_s: float) -> None:
        """Move the wall clock alone, forwards or backwards, as an administrator would."""
        self._now_s += duration_s
