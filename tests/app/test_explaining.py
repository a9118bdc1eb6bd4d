"""Why steps ran, waited, missed the cache and failed: from the facts of their runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator import Retry, RunFailed, pipeline, stage, step, when
from orchestrator.app.explaining import Explanation, explain
from orchestrator.app.record import RunRecord
from orchestrator.app.run import Run
from orchestrator.testing import InProcess


@stage(cache="1d")
def prepare(n: int, name: str) -> list[int]:
    time.sleep(0.02)
    return list(range(n))


@stage(retries=Retry(attempts=3, backoff="30ms..40ms"))
def work(x: int) -> int:
    time.sleep(0.02)
    if step().attempt == 1 and x == 2:
        raise OSError("the network is away")
    return x


@stage(num_cpus=0.5)
def heavy(xs: list[int]) -> bool:
    return len(xs) > 100


@stage
def broken(xs: list[int]) -> int:
    raise ValueError("never")


@pipeline(name="explained")
def explained(n: int = 4, name: str = "a") -> object:
    xs = work.map(prepare(n, name))
    return when(heavy(xs), then=lambda: broken(xs), otherwise=lambda: xs)


@pipeline(name="failing_late")
def failing_late() -> int:
    return work(broken([1, 2]))


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


def told(here: InProcess, run: str, address: str) -> Explanation:
    record = RunRecord(here.installation, run)
    record.advance()
    return explain(record, *record.find(address))


def test_what_the_cache_had_to_do_with_it(here: InProcess) -> None:
    first = here.run(explained)
    assert (
        told(here, first.id, "prepare").because == "its output was not in the cache: nothing stored for this stage yet"
    )
    again = here.run(explained)
    assert (
        told(here, again.id, "prepare").because
        == f"its output was in the cache: same code and inputs as in run {first.id}"
    )
    other = here.run(explained, n=5, name="b")
    found = told(here, other.id, "prepare")
    assert found.because == "its output was not in the cache: argument n changed, argument name changed"
    assert found.nearest == first.id
    assert [tuple(part) for part in found.key_parts] == [("argument n", "4", "5"), ("argument name", "'a'", "'b'")]
    assert told(here, other.id, "work").because == "its stage has no cache, so it runs in every run"


def test_what_it_waited_for(here: InProcess) -> None:
    run = here.run(explained)
    waits = {wait.for_: wait for wait in told(here, run.id, "work[2]").waits}
    assert waits["input"].why == "for its input prepare"
    assert "after OSError, before it was tried again" in waits["retry"].why
    assert 0.0 < waits["retry"].waited_s <= 0.04
    late = {wait.for_: wait for wait in told(here, run.id, "heavy").waits}
    assert late["input"].why == "for its input work"
    assert late["input"].waited_s >= 4 * 0.02
    assert late.get("worker") is None or "num_cpus=0.5, in the queue of heavy steps" in late["worker"].why
    for wait in (*waits.values(), *late.values()):
        assert wait.until is None or abs(wait.until - wait.since - wait.waited_s) < 1e-6
    skipped = told(here, run.id, "when/then/broken")
    assert skipped.because == "its branch was not taken: heavy was false"


def test_a_failure_comes_with_the_input_that_broke_it(here: InProcess) -> None:
    with pytest.raises(RunFailed) as caught:
        here.run(failing_late)
    run = caught.value.details["run"]
    found = told(here, run, "broken")
    assert found.failure is not None
    assert (found.failure.name, found.failure.message) == ("ValueError", "never")
    assert found.inputs[0][:2] == ("xs", "")
    after = told(here, run, "work")
    assert after.because == "it did not run: what it needs failed, or the run ended before it"
    assert [(wait.for_, wait.until) for wait in after.waits if wait.for_ == "input"] in ([], [("input", None)])


def test_a_fork_says_that_it_is_one(here: InProcess) -> None:
    run = here.run(explained)
    fork: Run = here.fork(run.id, "heavy")
    assert told(here, fork.id, "heavy").because.startswith("this run was forked from it; ")
    assert told(here, fork.id, "work[1]").because.startswith(f"history: taken over from run {run.id}")
