from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from orchestrator import stage, step
from orchestrator.errors import BackendError, InvalidStage, WrongType
from orchestrator.graph.context import StepContext, active, current


def test_the_key_is_the_same_for_every_attempt_and_different_for_every_step() -> None:
    first = StepContext("r", "train", 7, attempt=1)
    assert first.key == StepContext("r", "train", 7, attempt=2).key
    others = [StepContext("r", "train", 8), StepContext("r", "train#2", 7), StepContext("s", "train", 7)]
    assert len({first.key, *(other.key for other in others)}) == 4


def test_reading_the_key_is_noticed() -> None:
    context = StepContext("r", "n")
    assert not context.key_was_read
    assert context.key
    assert context.key_was_read


def test_random_numbers_follow_the_seed() -> None:
    draws = [StepContext("r", "n", attempt=attempt, seed=5).random.random() for attempt in (1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != StepContext("r", "n", seed=6).random.random()


def test_reports_are_numbers() -> None:
    seen: list[Any] = []
    context = StepContext("r", "n", on_report=seen.append)
    context.report(auc=1, loss=0.5)
    assert seen == [{"auc": 1.0, "loss": 0.5}]
    with pytest.raises(WrongType, match="report"):
        context.report(auc="high")  # type: ignore[arg-type]


def test_checkpoints() -> None:
    context = StepContext("r", "n")
    assert context.restored() is None
    context.checkpoint({"epoch": 3})
    assert context.restored() == {"epoch": 3}
    saved: list[Any] = []
    context = StepContext("r", "n", save=saved.append, restore=lambda: saved[-1] if saved else None)
    context.checkpoint(1)
    assert (context.restored(), saved) == (1, [1])


def test_ports_have_to_be_declared_and_there() -> None:
    with pytest.raises(InvalidStage, match=r"@stage\(uses=\('serving',\)\)"):
        _ = StepContext("r", "n").serving
    with pytest.raises(BackendError, match="not available here"):
        _ = StepContext("r", "n", uses=("data",)).data
    assert StepContext("r", "n", uses=("data",), ports={"data": 3}).data == 3
    assert StepContext("r", "n", uses=("serving",), ports={"routing": 4}).routing == 4
    with pytest.raises(InvalidStage, match=r"reads step\(\).routing, .*@stage\(uses=\('serving',\)\)"):
        _ = StepContext("r", "n", uses=("data",)).routing


def test_the_context_is_that_of_the_running_step() -> None:
    assert current() is None
    with active(StepContext("r", "outer")):
        with active(StepContext("r", "inner")):
            assert step().node == "inner"
        assert step().address == "outer[0]"
    assert current() is None


def test_threads_of_a_body_have_no_context() -> None:
    seen: list[Any] = []
    with active(StepContext("r", "n")):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join(10)
    assert seen == [None]


def test_log_records_carry_the_step(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "orchestrator.step"):
        StepContext("r", "train", 2).log.info("epoch %d", 3)
    record = caplog.records[0]
    assert (record.getMessage(), record.step) == ("epoch 3", "train[2]")  # type: ignore[attr-defined]


def test_a_plain_call_has_a_local_context() -> None:
    @stage(uses="data")
    def body() -> tuple[str, int, float]:
        context = step()
        context.report(x=1)
        assert context.now() > 1_000_000_000
        assert 0 <= context.random.random() < 1
        return context.run_id, context.attempt, context.seed

    run_id, attempt, seed = body()
    assert run_id.startswith("local-")
    assert (attempt, seed) == (1, 0)
