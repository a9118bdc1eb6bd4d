"""The graphs as pipelines of ours, for steps that take time or move data."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import bodies
from benchmarks.pipelines import seeds, total
from orchestrator import fixed, pipeline, stage


@stage
def wait(x: int, wait_s: float) -> int:
    time.sleep(wait_s)
    return x + 1


@pipeline
def waits(salt: int, n: int, wait_s: float) -> int:
    return total(wait.map(seeds(salt, n), wait_s=wait_s))


@stage
def compute(x: int, rounds: int) -> int:
    bodies.busy(rounds)
    return x + 1


@pipeline
def computes(salt: int, n: int, rounds: int) -> int:
    return total(compute.map(seeds(salt, n), rounds=rounds))


@stage
def nap(x: int, nap_s: float) -> tuple[int, float, float]:
    return bodies.nap_span(x, nap_s)


@pipeline
def naps(salt: int, naps_s: list[float]) -> list[tuple[int, float, float]]:
    return nap.map([salt + i for i in range(len(naps_s))], naps_s)


@stage
def salted_array(salt: int, size_bytes: int) -> np.ndarray:
    return bodies.salted_array(salt, size_bytes)


@stage
def part_sum(array: np.ndarray, part: int) -> int:
    return bodies.slice_sum(array, part)


@pipeline
def array_to_parts(salt: int, size_bytes: int, parts: int) -> int:
    return total(part_sum.map(fixed(salted_array(salt, size_bytes)), list(range(parts))))
