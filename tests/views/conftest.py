from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import Graph, approve, dynamic, pipeline, signal, stage, when


@dataclass
class Report:
    passed: bool


@stage(cache="1d", retries=3)
def load(path: str = "x") -> list[int]:
    return []


@stage
def scale(x: int) -> int:
    return x


@stage(num_gpus=0.25, memory="2GiB", effects=True)
def train(xs: Any) -> Report:
    return Report(True)


@stage(streaming=True)
def stream() -> Iterator[int]:
    yield 1


@dynamic(max_steps=9)
def improve(report: Report) -> Report:
    return report


@pipeline
def inner(xs: Any) -> Report:
    return improve(train(xs))


@pipeline
def outer() -> Any:
    rows = load()
    known = scale.map([1, 2, 3])
    further = scale.options(name="a_long_name_that_is_not_to_be_cut_anywhere").map(known)
    report = inner([scale.map(rows), further, stream()])
    released = when(report.passed, then=lambda: train.options(name="release")(report), otherwise=lambda: load("b"))
    when(approve('Really "release" <it> & more?'), then=lambda: signal("ready"))
    return {"a": released, "b": rows}


@pytest.fixture(scope="session")
def graph() -> Graph:
    """A graph with everything that is drawn in its own way."""
    return outer.graph()
