"""Pipelines that the tests of the command line run."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa

from orchestrator import Retry, approve, pipeline, signal, stage, when


@stage(cache="1d")
def load(n: int) -> list[int]:
    print(f"loading {n}")
    return list(range(n))


@stage
def square(x: int) -> int:
    return x * x


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def as_table(xs: list[int]) -> pa.Table:
    return pa.table({"x": xs})


@stage(retries=Retry(attempts=2, backoff="10ms"))
def flaky(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        raise OSError("not yet")
    return "ok"


@stage
def broken(x: int) -> int:
    raise ValueError("this cannot work")


@stage(fallback=-1)
def optional(x: int) -> int:
    raise ValueError("never mind")


@stage
def slow(marker: str) -> str:
    Path(marker).touch()
    time.sleep(60)
    return "late"


@stage
def ship(answer: object) -> str:
    return f"shipped {answer}"


@pipeline
def numbers(n: int = 4, marker: str = "marker") -> dict[str, object]:
    rows = load(n)
    return {"total": total(square.map(rows)), "table": as_table(rows), "flaky": flaky(marker)}


@pipeline
def failing(n: int = 3) -> int:
    return total(broken.map(load(n)))


@pipeline
def degrading() -> int:
    return optional(1)


@pipeline
def sleeping(marker: str) -> str:
    return slow(marker)


@pipeline
def asking() -> str | None:
    agreed = approve("Ship it?")
    return when(agreed, then=lambda: ship(signal("go")))


@pipeline
def miswired() -> int:
    return total(load("three"))


@pipeline
def raising() -> int:
    return 1 // 0


@stage
def after(x: int, folder: str) -> int:
    while x == 3:
        (Path(folder) / "reached").touch()
        if (Path(folder) / "gate").exists():
            break
        time.sleep(0.05)
    return x + 1


@pipeline
def stepwise(folder: str) -> int:
    """Twenty steps in a row; the fourth waits until there is a file ``gate``."""
    x: int = 0
    for _ in range(20):
        x = after(x, folder)
    return x
