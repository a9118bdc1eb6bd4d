"""Ports for time and secrets."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time as the engine sees it; tests use a fake one."""

    def now(self) -> float:
        """Wall-clock seconds since the epoch; may step."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        ...


class Secrets(Protocol):
    """Resolves references like ``env:NAME`` and ``file:PATH`` where a step runs."""

    def resolve(self, reference: str) -> str:
        """The secret's value; raises NotFound naming the reference, never a value."""
        ...
