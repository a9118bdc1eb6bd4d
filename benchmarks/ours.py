"""The benchmark graphs as pipelines. A 60-bit salt goes through every step, so that nothing can be reused."""

from __future__ import annotations

from orchestrator import dynamic, pipeline, stage


@stage
def seeds(salt: int, n: int) -> list[int]:
    return [salt + i for i in range(n)]


@stage
def follow(x: int) -> int:
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
