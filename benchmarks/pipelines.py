"""The graphs as pipelines of ours, for light work. A 60-bit salt goes through every step."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from orchestrator import dynamic, pipeline, stage


@stage
def seeds(salt: int, n: int) -> list[int]:
    return [salt + i for i in range(n)]


@stage
def follow(x: int) -> int:
    return x + 1


@stage(cache="1h")
def stored(x: int) -> int:
    return x + 1


@stage
def merge(a: int, b: int, c: int) -> int:
    return max(a, b, c) + 1


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@pipeline
def fan_out(salt: int, n: int) -> int:
    return total(follow.map(seeds(salt, n)))


@pipeline
def chain(salt: int, n: int) -> int:
    x = follow(salt)
    for _ in range(n - 1):
        x = follow(x)
    return x


@pipeline
def layers(salt: int, depth: int, width: int) -> int:
    layer = [follow(salt + i) for i in range(width)]
    for _ in range(depth - 1):
        layer = [merge(layer[i], layer[(7 * i + 3) % width], layer[(13 * i + 5) % width]) for i in range(width)]
    return total(layer)


@dynamic
def looping(salt: int, n: int) -> int:
    x = salt
    for _ in range(n):
        x = follow(x)
    return x


@pipeline
def loop(salt: int, n: int) -> int:
    return looping(salt, n)


@pipeline
def one(salt: int = 1) -> int:
    return follow(salt)


@pipeline
def plain_map(salt: int, n: int) -> list[int]:
    return follow.map([salt + i for i in range(n)])


@pipeline
def stored_map(salt: int, n: int) -> list[int]:
    return stored.map([salt + i for i in range(n)])


@stage
def gated(x: int, first: int, folder: str) -> int:
    """Numbers from ``first`` on wait for the gate, saying where; the first one through notes when that was."""
    if x >= first:
        if not os.path.exists(f"{folder}/open"):
            open(f"{folder}/waiting-{os.getpid()}", "w").close()
        while not os.path.exists(f"{folder}/open"):
            time.sleep(0.005)
        if not os.path.exists(f"{folder}/through"):
            with suppress(FileExistsError), open(f"{folder}/through", "x") as file:
                file.write(repr(time.time()))
    return x + 1


@pipeline
def half_gated(salt: int, n: int, folder: str) -> int:
    return total(gated.map(seeds(salt, n), first=salt + n // 2, folder=folder))


@stage(streaming=True)
def batches(salt: int, count: int, apart_s: float) -> Iterator[tuple[int, float]]:
    for number in range(count):
        if number:
            time.sleep(apart_s)
        yield salt + number, time.time()


@stage
def delay(batch: tuple[int, float]) -> tuple[int, float]:
    return batch[0] + 1, time.time() - batch[1]


@pipeline
def delays(salt: int, count: int, apart_s: float) -> list[tuple[int, float]]:
    return delay.map(batches(salt, count, apart_s))
