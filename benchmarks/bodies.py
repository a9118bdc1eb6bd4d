"""What the steps of real work do; the same functions run in ours, in raw Ray and in bare processes."""

from __future__ import annotations

import statistics
import time

import numpy as np


def busy(rounds: int) -> int:
    """Keep a processor busy: ``rounds`` of arithmetic that cannot be skipped."""
    x = 1
    for _ in range(rounds):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x


def rounds_for(cpu_s: float) -> int:
    """Rounds of ``busy`` that take this much processor time here, by the clock of the process's own CPU time."""
    trial = 200_000
    took_s = []
    for _ in range(5):
        begun = time.process_time()
        busy(trial)
        took_s.append(time.process_time() - begun)
    return max(1, int(trial * cpu_s / statistics.median(took_s)))


def nap_span(x: int, nap_s: float) -> tuple[int, float, float]:
    """Sleep; the next number, and when this began and ended (wall-clock seconds)."""
    begun = time.time()
    time.sleep(nap_s)
    return x + 1, begun, time.time()


def salted_array(salt: int, size_bytes: int) -> np.ndarray:
    """Whole numbers from ``salt`` up."""
    return np.arange(salt, salt + size_bytes // 8, dtype=np.int64)


def slice_sum(array: np.ndarray, part: int) -> int:
    """Sum of the array without its first numbers, as 64 bits hold it."""
    return int(array[part:].sum())
