"""Pipelines that are forked: in two versions, with maps, branches, bodies that call stages, sweeps and effects."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator import approve, dynamic, pipeline, stage, step, sweep, when
from orchestrator.sweeps import Best
from orchestrator.testing.ledger import Started, append_line


def note(ledger: str, payload: str = "") -> None:
    """Leave a line that says which step began; ``write_ledger`` reads keys, which is a sign of effects."""
    here = step()
    began = Started(here.run_id, here.address, here.attempt, "", payload, os.getpid(), time.time(), here.epoch)
    append_line(ledger, began._asdict())


@stage
def load(n: int, ledger: str) -> list[int]:
    note(ledger)
    return list(range(n))


@stage(name="load")
def load_otherwise(n: int, ledger: str) -> list[int]:
    note(ledger)
    return list(range(100, 100 + n))


@stage
def scale(x: int, ledger: str) -> int:
    note(ledger)
    return 10 * x


@stage
def shift(x: int, ledger: str) -> int:
    note(ledger)
    return x + 1


@stage
def train(xs: list[int], lr: int, ledger: str) -> int:
    note(ledger)
    step().report(loss=1.0 / (1 + lr))
    return sum(xs) * lr


@stage(name="train")
def train_otherwise(xs: list[int], lr: int, ledger: str) -> int:
    note(ledger)
    step().report(loss=0.25 / (1 + lr))
    return -sum(xs) * lr


@stage
def beside(xs: list[int], ledger: str) -> int:
    note(ledger)
    return len(xs)


@stage(effects=True)
def publish(model: int, ledger: str) -> str:
    note(ledger, step().key)
    return f"published {model}"


@pipeline(name="job")
def job(ledger: str, n: int = 4, lr: int = 2) -> list[Any]:
    rows = load(n, ledger)
    xs = shift.map(scale.map(rows, ledger=ledger), ledger=ledger)
    return [publish(train(xs, lr, ledger), ledger), beside(rows, ledger)]


@pipeline(name="job")
def job_trained_otherwise(ledger: str, n: int = 4, lr: int = 2) -> list[Any]:
    rows = load_otherwise(n, ledger)
    xs = shift.map(scale.map(rows, ledger=ledger), ledger=ledger)
    return [publish(train_otherwise(xs, lr, ledger), ledger), beside(rows, ledger)]


@stage
def large(x: int) -> bool:
    return x > 5


@stage
def told(text: str, ledger: str) -> str:
    note(ledger)
    return text


@pipeline(name="branching")
def branching(ledger: str, n: int = 9) -> str:
    seen = large(n)
    return when(seen, then=lambda: told("large", ledger), otherwise=lambda: told("small", ledger))


@stage
def minus(n: int, ledger: str) -> int:
    note(ledger)
    return n - 1


@stage
def breaks(n: int, marker: str, ledger: str) -> int:
    note(ledger)
    if not Path(marker).exists():
        raise ValueError("it is not mended yet")
    return n


@dynamic(max_steps=40)
def countdown(n: int, marker: str, ledger: str) -> int:
    while n > 0:
        n = minus(n, ledger)
    return breaks(n, marker, ledger)


@dynamic
def outer(n: int, marker: str, ledger: str) -> int:
    first = minus(n, ledger)
    return countdown(first, marker, ledger) + minus(100, ledger)


@pipeline(name="islands")
def islands(n: int, marker: str, ledger: str) -> list[Any]:
    return [countdown(n, marker, ledger), told("x", ledger)]


@pipeline(name="nested")
def nested(n: int, marker: str, ledger: str) -> int:
    return outer(n, marker, ledger)


@stage
def score(x: int, ledger: str) -> dict[str, float]:
    note(ledger)
    return {"auc": float(x)}


@stage
def picked(best: dict[str, float], ledger: str) -> float:
    note(ledger)
    return best["auc"]


@pipeline(name="searched")
def searched(ledger: str) -> Any:
    best: Best[dict[str, float]] = sweep(
        score, over={"x": [1, 2, 3]}, fixed={"ledger": ledger}, metric="auc", mode="max", concurrency=1
    )
    return picked(best.output, ledger)


@stage(streaming=True)
def batches(n: int, ledger: str) -> Iterator[int]:
    for i in range(n):
        note(ledger)
        yield i


@stage
def total(xs: list[int], ledger: str) -> int:
    note(ledger)
    return sum(xs)


@pipeline(name="streamed")
def streamed(ledger: str, n: int = 3) -> int:
    return total(scale.map(batches(n, ledger), ledger=ledger), ledger)


@pipeline(name="asked")
def asked(ledger: str) -> str | int:
    rows = load(2, ledger)
    return when(approve("Ship it?"), then=lambda: told("shipped", ledger), otherwise=lambda: beside(rows, ledger))


@stage
def slow(x: int, seconds: float, ledger: str) -> int:
    note(ledger)
    time.sleep(seconds)
    return x


@pipeline(name="slowly")
def slowly(ledger: str, n: int = 12, seconds: float = 0.15) -> int:
    xs = scale.map(load(n, ledger), ledger=ledger)
    return total(slow.map(xs, seconds=seconds, ledger=ledger), ledger)
