"""Why steps ran, waited, missed the cache and failed: from the facts of their runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator import Retry, RunFailed, pipeline, stage, step, when
from orchestrator.app.explaining import Explanation, explain
from orchestrator.app.inputs import seal_inputs
from orchestrator.app.new_code import store_graph
from orchestrator.app.record import RunRecord
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, RunRow
from orchestrator.testing import InProcess


@stage(cache="1d")
def prepare(n: int, name: str) -> list[int]:
    time.sleep(0.02)
    return list(range(n))


@stage(retries=Retry(attempts=3, backoff="40ms..40ms"))
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


@stage(retries=Retry(attempts=2, backoff="400ms..400ms"))
def unsteady(x: int) -> int:
    if step().attempt == 1:
        raise OSError("not yet") if x % 2 else TimeoutError("late")
    return x


@pipeline(name="unsteadily")
def unsteadily() -> list[int]:
    return unsteady.map(list(range(6)))


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
    assert told(here, again.id, "when/then/broken").because == "its branch was not taken: heavy was false"
    other = here.run(explained, n=5, name="b")
    found = told(here, other.id, "prepare")
    assert found.because == "its output was not in the cache: argument n changed, argument name changed"
    assert found.nearest == first.id
    assert [tuple(part) for part in found.key_parts] == [("argument n", "4", "5"), ("argument name", "'a'", "'b'")]
    assert told(here, other.id, "work").because == "its stage has no cache, so it runs in every run"


TIMES: list[tuple[float, f.Fact]] = [
    (100.0, f.DriverStarted(1, "h:1", "h", 1, "local", 2)),
    (100.5, f.WorkerStarted("w", "h", 2)),
    (101.0, f.StepsStarted("prepare", 0, 1, "b1", "w")),
    (103.0, f.StepsCompleted("prepare", 0, 1, "0" * 64, length=4)),
    (103.0, f.MapExpanded("work", 4)),
    (105.0, f.StepsStarted("work", 0, 4, "b2", "w")),
    (106.0, f.AttemptFailed("work", 2, f.Failure(("builtins:OSError",), "away"), 109.0)),
    (107.0, f.StepsCompleted("work", 0, 2, "1" * 64)),
    (107.0, f.StepsCompleted("work", 3, 4, "1" * 64)),
    (110.0, f.StepsStarted("work", 2, 3, "b3", "w")),
    (111.0, f.StepsCompleted("work", 2, 3, "1" * 64)),
    (118.0, f.StepsStarted("heavy", 0, 1, "b4", "x")),
]


def test_what_it_waited_for(here: InProcess) -> None:
    there = here.installation
    graph, _ = seal_inputs(there, explained.graph())
    created = f.RunCreated("explained", store_graph(there, graph), "0" * 64, {})
    there.journal.create(RunRow("r1", "explained", "running", 1, 0, 100.0), [created], {})
    held = there.journal.own("r1", "h:1")
    for seq, (at, fact) in enumerate(TIMES, 1):
        there.journal.append(Append("r1", held.epoch, seq, at, [fact]))
    assert waits(here, "work[2]") == [
        ("input", 3.0, "for its input prepare"),
        ("worker", 2.0, "for a slot of 2, in the queue of light steps"),
        ("retry", 3.0, "after OSError, before it was tried again"),
    ]
    assert waits(here, "heavy") == [
        ("input", 11.0, "for its input work"),
        ("worker", 7.0, "for num_cpus=0.5, in the queue of heavy steps"),
    ]
    assert waits(here, "prepare") == [
        ("worker", 1.0, "for a slot of 2, in the queue of light steps; a worker had to be started")
    ]
    assert told(here, "r1", "when/then/broken").waits[0].why == "for its input heavy", "it still waits"


def waits(here: InProcess, address: str) -> list[tuple[str, float, str]]:
    return [(wait.for_, wait.waited_s, wait.why) for wait in told(here, "r1", address).waits]


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
    assert all(wait.until is None and wait.why == "for broken, which never came" for wait in after.waits)


def test_a_fork_says_that_it_is_one(here: InProcess) -> None:
    run = here.run(explained)
    fork = here.fork(run.id, "heavy")
    assert told(here, fork.id, "heavy").because.startswith("this run was forked from it; ")
    assert told(here, fork.id, "work[1]").because.startswith(f"history: taken over from run {run.id}")


def test_waits_of_a_map_between_attempts_are_told_together(here: InProcess) -> None:
    run = here.run(unsteadily).id
    waits = [one for one in told(here, run, "unsteady").waits if one.for_ == "retry"]
    assert sorted(one.why for one in waits) == [
        f"at most before an item was tried again after {error}, 3 times" for error in ("OSError", "TimeoutError")
    ]
