"""The floor: what durable bundles cost when nothing else is done. No retries, no types, no cache, no resuming.

Two worker actors, bundles of steps, and one row a step, committed in groups with fsync. What an engine takes beyond
this is the price of its features.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ray

BUNDLE = 512
IN_FLIGHT = 4
GROUP = 4096


@ray.remote(num_cpus=0)
class Hand:
    """A worker: calls a function once for each step of a bundle."""

    def follow(self, xs: list[int]) -> list[int]:
        return [_follow(x) for x in xs]

    def chain(self, x: int, n: int) -> list[int]:
        return [x := _follow(x) for _ in range(n)]

    def merge(self, triples: list[tuple[int, int, int]]) -> list[int]:
        return [_merge(a, b, c) for a, b, c in triples]

    def seeds(self, salt: int, n: int) -> list[list[int]]:
        return [[salt + i for i in range(n)]]

    def total(self, xs: list[int]) -> list[int]:
        return [sum(xs)]


class Floor:
    """The loop, with its two workers and its rows in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._hands = [Hand.remote(), Hand.remote()]
        self._rows: list[tuple[str, int, bytes]] = []
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute("CREATE TABLE IF NOT EXISTS done (step TEXT, item INTEGER, output BLOB)")

    def fan_out(self, salt: int, n: int) -> int:
        """Sum of n numbers, each a step of its own."""
        (xs,) = self._one("seeds", salt, n)
        bundles = (("follow", start, [xs[start : start + BUNDLE]]) for start in range(0, n, BUNDLE))
        return self._end(self._go(bundles, n))

    def chain(self, salt: int, n: int) -> int:
        """n steps after each other, in one bundle."""
        outputs = self._one("chain", salt, n)
        self._commit()
        answer: int = outputs[-1]
        return answer

    def layers(self, salt: int, depth: int, width: int) -> int:
        """Layers of steps with three inputs each; half a layer to each worker."""
        layer, half = [salt + i for i in range(width)], (width + 1) // 2
        spans = [(start, layer[start : start + half]) for start in (0, half)]
        layer = self._go((("follow", start, [xs]) for start, xs in spans), width)
        for _ in range(depth - 1):
            inputs = [(layer[i], layer[(7 * i + 3) % width], layer[(13 * i + 5) % width]) for i in range(width)]
            layer = self._go((("merge", start, [inputs[start : start + half]]) for start in (0, half)), width)
        return self._end(layer)

    def _end(self, xs: list[int]) -> int:
        answer: int = self._one("total", xs)[0]
        self._commit()
        return answer

    def _one(self, step: str, *arguments: Any) -> list[Any]:
        outputs: list[Any] = ray.get(getattr(self._hands[0], step).remote(*arguments))
        self._record(step, 0, outputs)
        return outputs

    def _go(self, bundles: Iterable[tuple[str, int, Sequence[Any]]], n: int) -> list[int]:
        """Keep both workers busy; outputs in order. Commits whenever a group is full."""
        outputs, waiting = [0] * n, enumerate(bundles)
        under_way: dict[Any, tuple[str, int]] = {}
        while True:
            while len(under_way) < IN_FLIGHT and (after := next(waiting, None)) is not None:
                number, (step, start, arguments) = after
                under_way[getattr(self._hands[number % 2], step).remote(*arguments)] = (step, start)
            if not under_way:
                return outputs
            for ref in ray.wait(list(under_way), num_returns=1)[0]:
                step, start = under_way.pop(ref)
                found = ray.get(ref)
                outputs[start : start + len(found)] = found
                self._record(step, start, found)

    def _record(self, step: str, start: int, outputs: list[Any]) -> None:
        self._rows += ((step, start + i, repr(output).encode()) for i, output in enumerate(outputs))
        if len(self._rows) >= GROUP:
            self._commit()

    def _commit(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO done VALUES (?, ?, ?)", self._rows)
        self._database.execute("COMMIT")
        self._rows = []

    def close(self) -> None:
        """End the workers and the file."""
        for hand in self._hands:
            ray.kill(hand)
        self._database.close()


def _follow(x: int) -> int:
    return x + 1


def _merge(a: int, b: int, c: int) -> int:
    return max(a, b, c) + 1
