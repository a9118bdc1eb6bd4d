from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import approve, dynamic, pipeline, signal, stage, step, when
from orchestrator.errors import InvalidPipeline, InvalidStage, StepLimitExceeded
from orchestrator.graph.local import answering


@stage
def number(x: int = 0) -> int:
    return x


@stage
def key() -> str:
    return step().key


@stage(fallback=-1)
def fragile(x: int) -> int:
    if x > 1:
        raise RuntimeError("too big")
    return x


@stage(streaming=True)
def batches(n: int) -> Iterator[int]:
    yield from range(n)


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@dynamic(max_steps=3)
def climb(x: int, limit: int) -> int:
    while x < limit:
        x = number(x + 1)
    return x


def test_a_pipeline_called_as_a_function_runs_in_process() -> None:
    @pipeline
    def p(n: int) -> int:
        doubled = number.map([n, n])
        return when(total(doubled) > 3, then=lambda: climb(n, n + 2), otherwise=lambda: number(0))

    assert p(2) == 4
    assert p(1) == 0


def test_in_an_eager_pipeline_failures_fall_back() -> None:
    @pipeline
    def p() -> list[int]:
        return [fragile(1), fragile(2), *fragile.map([0, 5])]

    assert p() == [1, -1, 0, -1]
    with pytest.raises(RuntimeError):
        fragile(2)


def test_in_an_eager_pipeline_a_stream_is_the_list_at_its_end() -> None:
    @pipeline
    def p() -> list[int]:
        stream: Any = batches(3)
        return [total(stream), total(stream), *number.map(stream)]

    assert p() == [3, 3, 0, 1, 2]


def test_each_step_has_a_key_of_its_own() -> None:
    @pipeline
    def p() -> list[str]:
        return [key(), key()]

    first, second = p()
    assert first != second
    assert key() != key()


def test_max_steps_counts_calls() -> None:
    assert climb(0, 3) == 3
    with pytest.raises(StepLimitExceeded, match="'climb' made more than 3 calls"):
        climb(0, 4)


def test_a_stage_called_in_the_body_of_a_stage_is_a_function() -> None:
    @stage
    def outer() -> list[str]:
        return [step().key, key()]

    first, second = outer()
    assert first == second


def test_stages_and_pipelines_in_a_dynamic_body_go_through_its_caller() -> None:
    @pipeline
    def inner(x: int) -> int:
        return when(number(x) > 1, then=lambda: number(10), otherwise=lambda: number(20))

    @dynamic
    def body(x: int) -> list[Any]:
        return [inner(x), fragile(5), step().node]

    assert body(1) == [20, -1, "body"]
    assert body(2) == [10, -1, "body"]


def test_nested_dynamics() -> None:
    @dynamic(max_steps=2)
    def outer() -> int:
        return climb(0, 2) + climb(0, 3)

    assert outer() == 5


def test_approvals_and_signals_need_answers() -> None:
    @pipeline
    def p() -> Any:
        return when(approve("go?"), then=lambda: signal("payload"), otherwise=lambda: number(0))

    with pytest.raises(InvalidPipeline, match=r"answering\({'go\?': True}\)"):
        p()
    with answering({"go?": True}), answering({"payload": {"a": 1}}):
        assert p() == {"a": 1}
    with answering({"go?": False}):
        assert p() == 0
    with answering({"alone": 3}):
        assert signal("alone") == 3


def test_a_stage_cannot_wait() -> None:
    @stage
    def waits() -> bool:
        return approve("go?")

    with pytest.raises(InvalidPipeline, match="a stage cannot wait"), answering({"go?": True}):
        waits()


def test_step_outside_of_a_stage() -> None:
    with pytest.raises(InvalidStage, match="no stage runs"):
        step()
