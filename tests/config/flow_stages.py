"""Stages and pipelines that the pipeline files of these tests use."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import dynamic, pipeline, stage


@dataclass
class Parts:
    train: list[int]
    test: list[int]


@stage
def load(path: str, n: int = 3) -> list[int]:
    return list(range(n))


@stage
def split(xs: list[int]) -> Parts:
    return Parts(xs[:2], xs[2:])


@stage
def double(x: int, by: float = 2) -> float:
    return x * by


@stage
def total(xs: list[float]) -> float:
    return sum(xs)


@stage
def enough(x: float, at_least: float) -> bool:
    return x >= at_least


@stage
def publish(x: float, to: str) -> str:
    return f"{x:g} to {to}"


@dynamic(max_steps=3)
def search(xs: list[int]) -> float:
    return max(double(x) for x in xs)


@pipeline
def summed(path: str = "a.csv", n: int = 3, tag: str | None = None) -> float:
    rows = load(path, n)
    return total(double.map(rows))


def plain(x: int) -> int:
    return x
