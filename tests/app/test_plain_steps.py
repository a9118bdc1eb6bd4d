"""Chains of steps that only compute: they share a bundle with steps that do more, and fail, end and are kept alike."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from orchestrator import Run, pipeline, stage, step
from orchestrator.errors import RunFailed
from orchestrator.graph import fact as f


@stage
def twice(x: int) -> int:
    return x * 2


@stage
def divide(x: int, y: int) -> int:
    return x // y


@stage(timeout="1s")
def for_ever(x: int) -> int:
    while True:
        x += 1


@stage
def spread(x: int) -> list[int]:
    return [x, x + 1]


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@stage
def text(x: int) -> str:
    return "\udce4" * (x & 3)


@stage
def length(x: str) -> int:
    return len(x)


@stage
def named(x: int) -> str:
    print(f"it is {x}")
    os.environ["PLAIN_STEPS"] = "changed"
    return step().run_id


@stage
def drawn(run_id: str) -> float:
    assert "PLAIN_STEPS" not in os.environ
    return random.random()


@stage
def rounded(x: float) -> int:
    return round(x * 1000)


@pipeline
def growing(x: int, n: int) -> int:
    for _ in range(n):
        x = twice(x)
    return x


@pipeline
def dividing(x: int, y: int) -> int:
    return twice(divide(twice(x), twice(y)))


@pipeline
def waiting(x: int) -> int:
    return twice(for_ever(twice(x)))


@pipeline
def mixed(x: int) -> tuple[int, int, int]:
    doubled = twice(x)
    return total(spread(doubled)), length(text(doubled)), rounded(drawn(named(doubled)))


def outcomes(run: Run) -> dict[str, str]:
    return {name: run[name].state for name in run.fold().nodes}


def warm(graph: Any, **params: int) -> Run:
    """The second of two runs: its worker has loaded the code, so that all steps but the first are plain ones."""
    graph.options(on="local").start(**params).wait()
    run: Run = graph.options(on="local").start(**params).wait()
    return run


def test_numbers_beyond_64_bits_go_through_a_chain() -> None:
    assert warm(growing, x=3, n=80).result() == 3 * 2**80


def test_a_step_that_fails_stops_those_that_follow_it() -> None:
    run = warm(dividing, x=3, y=0)
    with pytest.raises(RunFailed, match="step divide failed: ZeroDivisionError"):
        run.result()
    assert outcomes(run) == {"twice": "done", "twice#2": "done", "divide": "failed", "twice#3": "open"}
    failure = run["divide"].failure
    assert failure is not None
    assert "divide" in failure.frames[-1]
    assert dividing.options(on="local").run(x=6, y=1).result() == 12


def test_a_step_that_does_not_end_is_interrupted() -> None:
    run = warm(waiting, x=1)
    with pytest.raises(RunFailed, match="longer than its time-out"):
        run.result()
    assert outcomes(run) == {"twice": "done", "for_ever": "failed", "twice#2": "open"}


def test_steps_that_do_more_find_their_surroundings_in_between() -> None:
    run = warm(mixed, x=5)
    assert run.result()[:2] == (21, 2)
    assert run["named"].output == run.id
    assert run["named"].logs == "it is 10\n"
    logged = [fact.node for r in run.events() for fact in f.apart(r.fact) if isinstance(fact, f.LogsWritten)]
    assert logged == ["named"]
