"""What the bodies of a worker used: CPU time of the process and its children, and the most memory it held.

Asked after every long body, and for small ones when outcomes leave for the driver: what was used since the last time
is shared among the steps that have ended meanwhile. Where bodies run side by side in one process (a host) what they
used cannot be told apart, and goes to those that end.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

APART_S = 0.05
"""Asking the system about memory takes as long as a small step; it is not done more often than this."""


EXACT_US = 50_000
"""A body that took this long has figures of its own; to ask for them is nothing beside it."""


class Used(NamedTuple):
    """CPU time in microseconds, and the most resident memory in bytes."""

    cpu_us: int
    peak_bytes: int


class Usage:
    """Measures this process; one for a worker."""

    def __init__(self) -> None:
        self._cpu_us = 0
        self._peak = 0
        self._looked_at = self._reset_at = float("-inf")

    def begin(self) -> None:
        """Bodies start, or one has failed: what this process used before is nobody's."""
        self._cpu_us = cpu_us()
        self._start_peak(monotonic())

    def _start_peak(self, now: float) -> None:
        if now - self._reset_at > APART_S:
            self._reset_at, self._looked_at = now, float("-inf")
            _forget_peak()

    def take(self) -> Used:
        """What was used since this was asked last, or since the bundle started."""
        before, self._cpu_us = self._cpu_us, cpu_us()
        now = monotonic()
        if now - self._looked_at > APART_S:
            self._looked_at, self._peak = now, peak_bytes()
        found = Used(max(self._cpu_us - before, 0), self._peak)
        self._start_peak(now)
        return found


def cpu_us() -> int:
    """CPU time of this process and of those children that have ended."""
    mine, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime) * 1e6)


def peak_bytes() -> int:
    """The most memory that this process held; on Linux since ``_forget_peak``."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _forget_peak() -> None:
    """Let the kernel's mark of the most memory start anew; where it has none, the mark is that of the process."""
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, b"5")
    except OSError:
        pass  # a kernel without it
    finally:
        os.close(descriptor)


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A total divided as the weights say, evenly if they are all 0; the parts add up to it."""
    whole = sum(weights)
    if not weights:
        return []
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts, given, seen = [], 0, 0
    for weight in weights:
        seen += weight
        parts.append(total * seen // whole - given)
        given += parts[-1]
    return parts
