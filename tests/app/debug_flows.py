"""Pipelines of which single steps are run again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from orchestrator import Secret, dynamic, pipeline, stage, step


@stage
def rows(n: int) -> list[dict[str, int]]:
    return [{"x": i} for i in range(n)] + [{"y": 3}]


@stage
def parse(row: dict[str, int], k: int) -> int:
    print("parsing", row)
    step().report(seen=1)
    return int(json.loads("{")) if row.get("x") == 1 else value_of(row) * k


def value_of(row: dict[str, int]) -> int:
    return row["x"]


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@pipeline
def parsing(n: int = 3, k: int = 2) -> int:
    return total(parse.map(rows(n), k=k))


@pipeline
def fine() -> int:
    return total(parse.map([{"x": 0}], k=1))


@stage
def draws(n: int) -> list[float]:
    return [random.random(), step().random.random(), float(n)]


@stage
def once(path: str) -> str:
    """Another output each time."""
    with Path(path).open("a") as file:
        file.write("x")
    return Path(path).read_text()


@stage(effects=True)
def publish(xs: list[float], path: str) -> str:
    with Path(path).open("a") as file:
        file.write(f"{step().key}\n")
    return step().key


@stage
def login(password: str) -> int:
    return len(password)


@pipeline
def steady(path: str) -> list[Any]:
    return [draws(7), once(path), publish(draws(8), f"{path}.sent"), login(Secret("env:DEBUG_PASSWORD"))]


@dynamic
def body(n: int, path: str) -> int:
    first = total([n, 1])
    publish([1.0], path)
    return total([first, 10]) // n


@pipeline
def calling(n: int, path: str) -> int:
    return body(n, path)
