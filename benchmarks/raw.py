"""The same graphs written straight in ``ray.remote``: nothing is durable."""

from __future__ import annotations

import ray


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
