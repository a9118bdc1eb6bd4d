"""Cursors of runs: moved by success alone, read from where the run began, never moved twice from one place."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from orchestrator import Retry, RunFailed, approve, pipeline, stage, step
from orchestrator.app.runner import Runner
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.snapshot import decode_snapshot, encode_snapshot
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess


@stage
def load(n: int) -> list[int]:
    first = step().cursor or 0
    step().cursor = n
    return list(range(first, n))


@stage
def total(xs: list[int], marker: str = "") -> int:
    if marker and not Path(marker).exists():
        raise ValueError("not yet")
    return sum(xs)


@pipeline
def flow(n: int, marker: str = "") -> int:
    return total(load(n), marker)


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


def standing(here: InProcess, pipeline: str = "flow") -> dict[str, str]:
    return {name: at.value for name, at in here.installation.registry.positions(pipeline).items()}


def test_a_run_begins_where_the_last_one_that_succeeded_ended(here: InProcess, tmp_path: Path) -> None:
    assert here.run(flow, n=3)["load"].output == [0, 1, 2]
    with pytest.raises(RunFailed):
        here.run(flow, n=5, marker=str(tmp_path / "never"))
    assert standing(here) == {"load": "3"}
    assert here.run(flow, n=6)["load"].output == [3, 4, 5]
    assert standing(here) == {"load": "6"}


def test_a_rerun_that_keeps_what_finished_moves_what_that_proposed(here: InProcess, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(RunFailed) as failed:
        here.run(flow, n=4, marker=str(marker))
    marker.touch()
    again = here.runner.rerun(here.runner.renewal(failed.value.details["run"], keep=True)).wait()
    assert again["load"].attempts == []
    assert standing(here) == {"load": "4"}
    assert here.run(flow, n=4)["load"].output == []


def test_a_rerun_of_what_succeeded_reads_the_same_and_moves_nothing(here: InProcess) -> None:
    run = here.run(flow, n=3)
    here.run(flow, n=5)
    again = here.runner.rerun(here.runner.renewal(run.id)).wait()
    assert again.state == "succeeded"
    assert again["load"].output == [0, 1, 2]
    assert here.runner.rerun(here.runner.renewal(again.id)).wait().state == "succeeded"
    renewal = here.runner.renewal(run.id, verify=True)
    assert here.runner.rerun(renewal).wait()["load"].output == [0, 1, 2]
    assert standing(here) == {"load": "5"}


@stage
def wait_for(xs: list[int], answer: bool) -> int:
    return len(xs)


@pipeline
def asked(n: int) -> int:
    return wait_for(load(n), approve("go on?"))


def test_of_two_runs_from_one_place_the_later_one_fails_and_says_what_to_do(here: InProcess) -> None:
    first = here.start(asked, n=3)
    while first.state != "waiting":
        threading.Event().wait(0.01)
    first.stop()
    second = here.start(asked, n=4)
    while second.state != "waiting":
        threading.Event().wait(0.01)
    second.approve("approve")
    assert second.wait().state == "succeeded"
    first.approve("approve")
    assert here.resume(first.id).state == "failed"
    finished = first.finished
    assert finished is not None
    assert f"run {second.id} moved the cursor 'load' of asked" in finished.reason
    assert "Start a new run" in finished.reason
    assert standing(here, "asked") == {"load": "4"}
    fold = load_fold(here.installation.journal, first.id, here.installation.graph(here.installation.created(first.id)))
    assert fold.seq == here.installation.journal.run(first.id).seq


@stage(retries=Retry(attempts=3, backoff="0s..0s"), cache="1d")
def unsteady(n: int) -> list[int]:
    first = step().cursors["source"] or 0
    step().cursors["source"] = 100 * step().attempt
    if step().attempt < 2:
        raise OSError("again")
    return [first, step().cursors["source"]]


@pipeline
def retried(n: int) -> list[int]:
    return unsteady(n)


def test_only_the_attempt_that_completed_proposes_and_nothing_that_read_a_cursor_is_reused(here: InProcess) -> None:
    assert here.run(retried, n=1).result() == [0, 200]
    assert here.run(retried, n=1).result() == [200, 200]
    assert standing(here, "retried") == {"source": "200"}


@stage(fallback=[])
def broken(n: int) -> list[int]:
    step().cursor = n
    raise ValueError("no")


@pipeline
def degraded(n: int) -> tuple[list[int], list[int]]:
    return broken(n), load(n)


def test_a_degraded_run_moves_nothing(here: InProcess) -> None:
    assert here.run(degraded, n=3).state == "degraded"
    assert standing(here, "degraded") == {}


@stage
def of_source(name: str, n: int) -> int:
    last: int = step().cursors[name] or 0
    step().cursors[name] = last + n
    return last


@pipeline
def mapped(names: list[str]) -> list[int]:
    return of_source.map(names, n=2)


@pipeline
def items(ns: list[int]) -> list[list[int]]:
    return load.map(ns)


def test_items_of_a_map_name_their_cursors(here: InProcess) -> None:
    assert here.run(mapped, names=["a", "b"]).result() == [0, 0]
    assert here.run(mapped, names=["b", "c"]).result() == [2, 0]
    assert standing(here, "mapped") == {"a": "2", "b": "4", "c": "2"}
    with pytest.raises(RunFailed, match="name the cursor by what is read"):
        here.run(items, ns=[1, 2])


def test_two_steps_that_move_one_cursor_fail_the_run(here: InProcess) -> None:
    with pytest.raises(RunFailed, match=r"of_source\[0\] and of_source\[1\] both moved the cursor 'a'"):
        here.run(mapped, names=["a", "a"])
    assert standing(here, "mapped") == {}


@stage
def wrong() -> int:
    step().cursor = {1, 2}
    return 1


@pipeline
def unwritable() -> int:
    return wrong()


def test_a_cursor_is_plain_data(here: InProcess) -> None:
    with pytest.raises(RunFailed, match="JSON cannot hold"):
        here.run(unwritable)


def test_a_plain_call_has_a_cursor_of_its_own() -> None:
    assert load(3) == [0, 1, 2]
    assert load(2) == [0, 1]


def test_a_snapshot_holds_what_is_proposed(here: InProcess) -> None:
    fold = here.run(flow, n=3).fold()
    again = decode_snapshot(encode_snapshot(fold), fold.graph)
    assert again.nodes["load"].cursors == {0: {"load": "3"}}


def test_local_workers_have_cursors_too(tmp_path: Path) -> None:
    here = InProcess(tmp_path / "home").installation
    for n in (2, 5):
        run = Runner(here).run(flow, {"n": n}, RunOptions(on="local"))
    assert run["load"].output == [2, 3, 4]
