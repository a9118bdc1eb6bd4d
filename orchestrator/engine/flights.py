"""Bundles on their way: what each still owes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Flight:
    """A bundle on a worker: what it still owes.

    Attributes:
        since_s: When the worker got it, in monotonic seconds.
    """

    segments: Sequence[tuple[str, int, int]]
    alone: bool = False
    host: bool = False
    heavy: bool = False
    worker: str = ""
    since_s: float = 0.0
    size: int = 0
    releasing: bool = False
    cancelled: bool = False
    level: int = 0
    _ranges: dict[str, list[tuple[int, int]]] | None = None

    def ranges(self) -> Mapping[str, Sequence[tuple[int, int]]]:
        """What it owes by node."""
        if self._ranges is None:
            self._ranges = {}
            for node, start, stop in self.segments:
                self._ranges.setdefault(node, []).append((start, stop))
        return self._ranges

    def give_back(self, node: str, start: int, stop: int) -> None:
        """It owes these steps no more."""
        self.segments = list(without(self.segments, node, start, stop))
        self._ranges = None


def without(
    segments: Iterable[tuple[str, int, int]], node: str, start: int, stop: int
) -> Iterator[tuple[str, int, int]]:
    for name, a, b in segments:
        if name != node or stop <= a or b <= start:
            yield name, a, b
            continue
        if a < start:
            yield name, a, start
        if stop < b:
            yield name, stop, b


def runs(marks: bytearray, mark: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Maximal ranges inside ``start..stop`` whose bytes are ``mark``."""
    index = marks.find(mark, start, stop)
    while index >= 0:
        end = index
        while end < stop and marks[end] == mark:
            end += 1
        yield index, end
        index = marks.find(mark, end, stop)
