"""Wall times of bodies as facts hold them: microseconds, little-endian uint32 each."""

from __future__ import annotations

from array import array
from sys import byteorder


def times_us(elapsed_us: bytes) -> array[int]:
    """The times one by one."""
    times = array("I")
    times.frombytes(elapsed_us)
    if byteorder == "big":
        times.byteswap()
    return times


def total_us(elapsed_us: bytes) -> int:
    """Time of all bodies together."""
    return sum(times_us(elapsed_us))


def part_of(amount: int, elapsed_us: bytes, place: int, whole_us: int | None = None) -> int:
    """What one body has of an amount that all used together: its part of their time.

    Args:
        whole_us: ``total_us``, for those who ask about every body.
    """
    whole_us = whole_us or total_us(elapsed_us)
    mine = int.from_bytes(elapsed_us[4 * place : 4 * place + 4], "little")
    return amount * mine // whole_us if whole_us else 0
