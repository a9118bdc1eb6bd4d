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
