"""Pipelines whose runs, together, leave facts of every kind. What they do may change; runs on record do not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from orchestrator import Retry, approve, dynamic, pipeline, signal, stage, step, when
from orchestrator.serving import Handover, TagMove
from stages.quality import in_range, row_count


@stage(cache="1d")
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage
def double(x: int) -> int:
    print(f"doubling {x}")
    return 2 * x


@stage(retries=Retry(attempts=3, backoff="0s..0s"))
def unsteady(x: int) -> int:
    step().report(tries=step().attempt)
    step().checkpoint(step().attempt)
    if step().attempt < 3:
        raise OSError(f"attempt {step().attempt}")
    return x


@stage
def odd_only(x: int) -> int:
    if x % 2 == 0:
        raise ValueError("even")
    return x


@stage(fallback=-1)
def optional(x: int) -> int:
    raise ValueError("never mind")


@stage
def total(xs: list[int]) -> int:
    return sum(x for x in xs if isinstance(x, int))


@stage
def add(a: int, b: int) -> int:
    return a + b


@stage(streaming=True)
def batches(n: int) -> Iterator[int]:
    yield from range(n)


@dynamic(max_steps=9)
def climb(goal: int) -> int:
    reached = 0
    while reached < goal:
        reached = add(reached, 2)
    return total(double.map([reached, 1]))


@stage
def is_large(x: int) -> bool:
    return x > 10


@stage(timeout="300ms")
def late() -> int:
    time.sleep(30)
    return 1


@stage
def deadly(marker: str) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return 1


@stage(effects=True)
def ship(x: int, answer: object) -> str:
    return f"shipped {x} {answer}"


@stage
def broken() -> int:
    raise RuntimeError("this cannot work")


@stage
def waits(marker: str, x: int) -> int:
    while not Path(marker).exists():
        time.sleep(0.02)
    return x


@stage
def label(x: int) -> str:
    return f"old {x}"


@stage(checks=[row_count(1), in_range("x", high=1, severity="warn")])
def made(n: int) -> pa.Table:
    return pa.table({"x": list(range(n))})


@stage
def counted(table: pa.Table) -> int:
    return table.num_rows


@pipeline
def wide(marker: str) -> dict[str, object]:
    rows = numbers(6)
    steady = unsteady.map(double.map(rows))
    dropped = odd_only.options(on_item_error="drop").map(rows)
    kept = odd_only.options(on_item_error="keep").map(rows)
    large = is_large(total(steady))
    return {
        "chosen": when(large, then=lambda: total(double.map(dropped)), otherwise=lambda: total(double.map(kept))),
        "climbed": climb(5),
        "streamed": total(double.map(batches(3))),
        "optional": optional(1),
        "chain": add(add(add(1, 2), 3), 4),
        "dead": deadly(marker),
        "empty": total(double.map([])),
    }


@pipeline
def cached() -> int:
    return total(numbers(6))


@pipeline
def checked() -> int:
    return counted(made(3))


@stage(publish="data:numbers")
def more(n: int) -> list[int]:
    first = step().cursor or 0
    step().cursor = first + n
    return list(range(first, first + n))


@stage(effects=True)
def marked(rows: list[int]) -> Handover:
    return Handover("numbers", [TagMove("data:numbers", "whole", None, 1)], f"{len(rows)} of them")


@pipeline
def growing() -> int:
    rows = more(3)
    marked(rows)
    return total(rows)


@pipeline
def asking() -> str:
    return when(approve("Ship it?"), then=lambda: ship(1, signal("go")), otherwise=lambda: label(1))


@pipeline
def failing() -> int:
    return add(broken(), total(numbers(3)))


@pipeline
def slow() -> int:
    return late()


@pipeline
def held(marker: str) -> int:
    return waits(marker, total(double.map([1, 2, 3])))


@pipeline
def recoded(marker: str) -> str:
    return label(waits(marker, total(double.map([1, 2, 3]))))


@stage(name="label")
def relabel(x: int) -> str:
    return f"new {x}"


@pipeline(name="recoded")
def recoded_since(marker: str) -> str:
    return relabel(waits(marker, total(double.map([1, 2, 3]))))
