"""Measures rows: the columns of a row in turn within each repetition, every one with a fresh salt."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.row import Column, Reading, Row

SALT_BITS = 60


class Disagreement(Exception):
    """A column did not come to the right answer, so its time means nothing."""


def timed(steps: int, work: Callable[[int], object]) -> Column:
    """A column of microseconds a step, from the call to its result."""

    def column(salt: int) -> Reading:
        begun = time.perf_counter()
        answer = work(salt)
        return Reading((time.perf_counter() - begun) / steps * 1e6, answer)

    return column


def seconds(work: Callable[[int], object]) -> Column:
    """A column of seconds, from the call to its result."""

    def column(salt: int) -> Reading:
        begun = time.perf_counter()
        answer = work(salt)
        return Reading(time.perf_counter() - begun, answer)

    return column


def measure(
    row: Row, repeat: int, home: Path, told: Callable[[str], None], warm: bool = True
) -> dict[str, list[Reading]]:
    """Readings of each column, one a repetition.

    Args:
        home: A new directory for what this row's runs keep.
        told: Hears what is being done.
        warm: Run a column in small before each measurement: who came before may have taken its workers' place.

    Raises:
        Disagreement: an answer is wrong.
    """
    os.environ["ORC_HOME"] = str(home)
    readings: dict[str, list[Reading]] = {name: [] for name in row.columns}
    repeat = min(repeat, row.most_repeats)
    for number in range(repeat):
        for name in _turned(list(row.columns), number):
            told(f"{row.key}: {name}, {number + 1} of {repeat}")
            if warm and name in row.warm:
                row.warm[name](secrets.randbits(SALT_BITS))
            salt = secrets.randbits(SALT_BITS)
            reading = row.columns[name](salt)
            if reading.answer != row.expected(salt):
                raise Disagreement(f"{row.key}, {name}: {reading.answer!r} instead of {row.expected(salt)!r}")
            readings[name].append(reading)
    return readings


def _turned(names: Sequence[str], by: int) -> list[str]:
    """Names beginning with another one each time: none is always first after the pause between repetitions."""
    by %= len(names)
    return [*names[by:], *names[:by]]
