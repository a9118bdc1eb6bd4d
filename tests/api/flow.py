"""Pipelines whose runs the tests of API and pages look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator import Retry, approve, pipeline, signal, stage, step, when

OPENED: list[str] = []
"""What unpickling an ``Opened`` leaves behind."""


@dataclass
class Parts:
    left: pa.Table
    right: dict[str, object]


class Opened:
    def __reduce__(self) -> tuple[object, ...]:
        return _opened, ()


def _opened() -> Opened:
    OPENED.append("unpickled")
    return Opened()


@stage(cache="1d")
def load(n: int) -> list[int]:
    print(f"loading {n}\nand <b>more</b>")
    return list(range(n))


@stage
def table(xs: list[int]) -> pa.Table:
    return pa.table({"x": xs, "<name>": [f"row {x}" for x in xs]})


@stage
def parts(rows: pa.Table) -> Parts:
    return Parts(rows, {"a": 1.5, "nan": float("nan"), "text": "<script>alert(1)</script>"})


@stage(publish="model:toy")
def fit(xs: list[int]) -> dict[str, int]:
    return {"width": len(xs)}


@stage
def picture(xs: list[int]) -> np.ndarray:
    return np.zeros((20, 30, 3), np.uint8)


@stage
def pickled(xs: list[int]) -> Opened:
    return Opened()


@stage(retries=Retry(attempts=2, backoff="10ms"))
def flaky(x: list[int]) -> int:
    step().report(auc=0.5)
    if step().attempt == 1:
        raise OSError("not yet")
    return 1


@stage
def square(x: int) -> int:
    if x % 5_000 == 4_999:
        raise ValueError(f"{x} is not liked")
    return x * x


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def broken(xs: list[int]) -> int:
    return _inner(xs)


def _inner(xs: list[int]) -> int:
    raise ValueError("the list has no <end>")


@stage
def ship(answer: object) -> str:
    return f"shipped {answer}"


@pipeline
def shapes(n: int = 80) -> int:
    xs = load(n)
    rows = table(xs)
    parts(rows)
    picture(xs)
    fit(xs)
    pickled(xs)
    return flaky(xs)


@pipeline
def wide(n: int = 20_000) -> int:
    return total(square.options(on_item_error="drop").map(load(n)))


@pipeline
def failing(n: int = 3) -> int:
    return total([broken(load(n))])


@pipeline
def asking() -> str | None:
    return when(approve("Ship it?"), then=lambda: ship(signal("go")))
