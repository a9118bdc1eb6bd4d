"""A pipeline in two versions, for the tests of changed code on the command line."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator import File, pipeline, signal, stage, step


@stage
def load(n: int) -> list[int]:
    return list(range(n))


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage(name="total")
def total_corrected(xs: list[int]) -> int:
    return sum(xs) + 1


@stage(effects=True)
def publish(x: int, to: str) -> str:
    with Path(to).open("a") as file:
        file.write(f"{step().key} {x}\n")
    return "published"


@stage
def last(x: object) -> str:
    return f"first version of {x}"


@stage(name="last")
def last_corrected(x: object) -> str:
    return f"second version of {x}"


@stage(name="last")
def last_broken(x: object) -> str:
    raise ValueError("this cannot work")


@pipeline(name="job")
def job(to: str, n: int = 3) -> str:
    return last([publish(total(load(n)), to), signal("go")])


@pipeline(name="job")
def job_corrected(to: str, n: int = 3) -> str:
    return last_corrected([publish(total(load(n)), to), signal("go")])


@pipeline(name="job")
def job_with_another_total(to: str, n: int = 3) -> str:
    return last([publish(total_corrected(load(n)), to), signal("go")])


@pipeline(name="failing")
def failing(to: str) -> str:
    return last_broken(publish(total(load(3)), to))


@pipeline(name="failing")
def failing_no_more(to: str) -> str:
    return last_corrected(publish(total(load(3)), to))


@pipeline(name="failing")
def failing_no_more_otherwise(to: str) -> str:
    return last_corrected(publish(total_corrected(load(3)), to))


@stage
def length(path: File) -> int:
    return len(Path(path).read_text())


@stage
def clock(x: int) -> float:
    return time.time()


@stage
def later(at: float) -> float:
    return at + 1


@pipeline
def steady(path: str) -> int:
    return total([length(path), 1])


@pipeline
def unsteady() -> float:
    return later(clock(1))
