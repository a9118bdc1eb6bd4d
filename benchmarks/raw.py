"""The graphs written straight in ``ray.remote``: nothing is durable."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import ray

from benchmarks.bodies import busy, nap_span, slice_sum
from benchmarks.bodies import salted_array as make_array


@ray.remote
def follow(x: int) -> int:
    return x + 1


@ray.remote
def follow_many(xs: list[int]) -> list[int]:
    return [x + 1 for x in xs]


@ray.remote
def merge(a: int, b: int, c: int) -> int:
    return max(a, b, c) + 1


@ray.remote
def total(*xs: int) -> int:
    return sum(xs)


@ray.remote
def wait(x: int, wait_s: float) -> int:
    time.sleep(wait_s)
    return x + 1


@ray.remote
def compute(x: int, rounds: int) -> int:
    busy(rounds)
    return x + 1


@ray.remote
def nap(x: int, nap_s: float) -> tuple[int, float, float]:
    return nap_span(x, nap_s)


@ray.remote
def array_and_file(salt: int, size_bytes: int, path: str) -> np.ndarray:
    array = make_array(salt, size_bytes)
    with open(path, "wb") as file:
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())
    return array


@ray.remote
def part_sum(array: np.ndarray, part: int) -> int:
    return slice_sum(array, part)


@ray.remote
def batches(salt: int, count: int, apart_s: float) -> Iterator[tuple[int, float]]:
    for number in range(count):
        if number:
            time.sleep(apart_s)
        yield salt + number, time.time()


@ray.remote
def delay(batch: tuple[int, float]) -> tuple[int, float]:
    return batch[0] + 1, time.time() - batch[1]


def fan_out(salt: int, n: int) -> int:
    return sum(ray.get([follow.remote(salt + i) for i in range(n)]))


def fan_out_by_hand(salt: int, n: int, a_task: int = 50) -> int:
    parts = [[salt + i for i in range(start, min(start + a_task, n))] for start in range(0, n, a_task)]
    return sum(x for part in ray.get([follow_many.remote(part) for part in parts]) for x in part)


def chain(salt: int, n: int) -> int:
    x = follow.remote(salt)
    for _ in range(n - 1):
        x = follow.remote(x)
    return ray.get(x)


def layers(salt: int, depth: int, width: int) -> int:
    layer = [follow.remote(salt + i) for i in range(width)]
    for _ in range(depth - 1):
        layer = [merge.remote(layer[i], layer[(7 * i + 3) % width], layer[(13 * i + 5) % width]) for i in range(width)]
    return ray.get(total.remote(*layer))


def loop(salt: int, n: int) -> int:
    x = salt
    for _ in range(n):
        x = ray.get(follow.remote(x))
    return x


def waits(salt: int, n: int, wait_s: float) -> int:
    return sum(ray.get([wait.remote(salt + i, wait_s) for i in range(n)]))


def computes(salt: int, n: int, rounds: int) -> int:
    return sum(ray.get([compute.remote(salt + i, rounds) for i in range(n)]))


def naps(salt: int, naps_s: list[float]) -> list[tuple[int, float, float]]:
    return ray.get([nap.remote(salt + i, nap_s) for i, nap_s in enumerate(naps_s)])


def array_to_parts(salt: int, size_bytes: int, parts: int, path: str) -> int:
    array = array_and_file.remote(salt, size_bytes, path)
    return sum(ray.get([part_sum.remote(array, part) for part in range(parts)]))


def delays(salt: int, count: int, apart_s: float) -> list[tuple[int, float]]:
    stream = batches.options(num_returns="streaming", num_cpus=0).remote(salt, count, apart_s)
    return ray.get([delay.remote(batch) for batch in stream])
