"""Runs on real worker processes: results, retries, cache, waiting, islands, streams, logs, secrets."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunCancelled, RunFailed, runs
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.engine import driver
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.snapshot import encode_snapshot
from orchestrator.errors import NotFound, RunError, RunOwned
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app import flows


@pytest.fixture
def here() -> Installation:
    return Installation()


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def promises_hold(run: Run, here: Installation, ledger: str | None = None) -> None:
    assert check_run(here.journal, run.id, read_ledger(ledger) if ledger else ()) == []


def test_result_of_a_pipeline_with_parts_and_maps(here: Installation) -> None:
    run = flows.sums.run(n=10, at=5)
    assert run.state == "succeeded"
    assert run.result() == {"small": 2 * (0 + 1 + 2 + 3 + 4), "large": 2 * (5 + 6 + 7 + 8 + 9)}
    assert run["split"].output == flows.Pair([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert run["double", 2].output == 4
    assert run["double"].output == [0, 2, 4, 6, 8]
    promises_hold(run, here)


def test_a_run_is_found_again_by_id_beginning_and_pipeline() -> None:
    run = flows.sums.run()
    found = Runs()
    assert found[run.id].result() == run.result()
    assert found[run.id[:-2]].id == run.id
    assert found.latest("sums").id == run.id
    assert [r.id for r in found.list("sums")] == [run.id]
    with pytest.raises(NotFound, match="nothing"):
        found.latest("nothing")
    assert runs.__class__ is Runs


def test_runs_are_those_of_the_home_that_the_environment_names_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = flows.sums.run()
    assert [run.id for run in runs.list()] == [first.id]
    monkeypatch.setenv("ORC_HOME", str(tmp_path / "another home"))
    assert runs.list() == []
    second = flows.sums.run()
    assert runs.latest().id == second.id


def test_what_a_run_held_is_freed_with_it_and_not_only_by_the_collector() -> None:
    run = flows.sums.run()
    assert run._session is not None
    machine = weakref.ref(run._session._machine)
    gc.disable()
    try:
        del run
        assert machine() is None
    finally:
        gc.enable()


def test_a_failed_attempt_is_repeated_and_on_record(ledger: str, here: Installation) -> None:
    run = flows.retried.run(ledger=ledger)
    assert run.result() == 7
    assert [line.attempt for line in read_ledger(ledger)] == [1, 2, 3]
    attempts = run["unsteady"].attempts
    assert [a.failure.name if a.failure else None for a in attempts] == ["ConnectionError", "ConnectionError", None]
    promises_hold(run, here, ledger)


def test_a_failed_step_fails_the_run_with_its_cause_and_place() -> None:
    with pytest.raises(RunFailed, match=r"step fail failed: ValueError: no good") as caught:
        flows.failing.run()
    assert caught.value.details["step"] == "fail[0]"
    assert any("flows.py" in frame for frame in caught.value.details["frames"])
    run = Runs().latest("failing")
    assert run.state == "failed"
    assert run["fail"].failure is not None
    with pytest.raises(RunFailed):
        run.result()


def test_cached_steps_are_reused_and_misses_say_why(ledger: str) -> None:
    first = flows.cached.run(ledger=ledger)
    assert first.result() == 60
    assert len(read_ledger(ledger)) == 3
    second = flows.cached.run(ledger=ledger)
    assert second.result() == 60
    assert len(read_ledger(ledger)) == 3
    reused = [e.fact for e in second.events() if isinstance(e.fact, f.StepsCompleted) and e.fact.cached]
    assert reused == [f.StepsCompleted("stored", 0, 3, reused[0].chunk, cached=first.id)]
    third = flows.cached.run(ledger=ledger, label="b")
    assert len(read_ledger(ledger)) == 6
    (missed,) = [e.fact for e in third.events() if isinstance(e.fact, f.CacheMissed)]
    assert missed.reason == "argument label changed"


def test_a_plan_says_what_would_run_and_runs_nothing(ledger: str) -> None:
    before = flows.cached.plan(ledger=ledger)
    assert [(p.node, p.action, p.steps) for p in before.nodes] == [("stored", "run", 3), ("total", "after", 1)]
    flows.cached.run(ledger=ledger)
    lines = len(read_ledger(ledger))
    after = flows.cached.plan(ledger=ledger)
    assert [(p.node, p.action, p.steps) for p in after.nodes] == [("stored", "reuse", 3), ("total", "run", 1)]
    assert len(read_ledger(ledger)) == lines
    assert len(Runs().list()) == 1


def test_a_file_is_keyed_by_content_not_by_path(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("one")
    assert flows.reading.run(path=str(path)).result() == "one"
    copy = tmp_path / "copy.txt"
    copy.write_text("one")
    again = flows.reading.run(path=str(copy))
    assert again["read"].attempts == []
    path.write_text("two")
    assert flows.reading.run(path=str(path)).result() == "two"


@pytest.mark.parametrize(("answer", "result"), [(True, "shipped"), (False, "kept")])
def test_an_approval_waits_without_a_worker_and_goes_on(answer: bool, result: str, here: Installation) -> None:
    run = flows.asking.start()
    for event in run.events(follow=True):
        if isinstance(event.fact, f.ApprovalRequested):
            break
    run.approve("ship it?", answer, by="ann")
    assert run.wait().result() == result
    promises_hold(run, here)


def test_a_signal_carries_a_value_and_may_come_early() -> None:
    run = flows.signalled.start()
    run.signal("labels", {"rows": [1, 2], "by": None})
    assert run.result() == {"rows": [1, 2], "by": None}
    with pytest.raises(NotFound, match="labels"):
        run.signal("other")


def test_a_dynamic_loop_makes_each_call_a_step(ledger: str, here: Installation) -> None:
    run = flows.islands.run(n=4, ledger=ledger)
    assert run.result() == 0
    assert run["countdown/minus"].output == 3
    assert run["countdown/minus#4"].output == 0
    assert len(read_ledger(ledger)) == 4
    promises_hold(run, here, ledger)


def test_a_dynamic_body_may_not_call_without_end(ledger: str) -> None:
    with pytest.raises(RunFailed, match="max_steps=20"):
        flows.islands.run(n=30, ledger=ledger)


def test_a_dynamic_body_may_catch_a_failed_step(here: Installation) -> None:
    run = flows.catching.run()
    assert run.result().startswith("caught")
    assert run["forgiving/fail"].state == "failed"
    promises_hold(run, here)


def test_four_islands_nested_three_deep_finish_on_one_slot(monkeypatch: pytest.MonkeyPatch, here: Installation) -> None:
    monkeypatch.setenv("ORC_SLOTS", "1")
    run = flows.four_nested.run()
    assert run.result() == 4 * (2 + 3 * 6)
    promises_hold(run, here)


def test_a_stream_feeds_a_map_batch_by_batch(here: Installation) -> None:
    run = flows.streamed.run(n=5)
    assert run.result() == 2 * (0 + 1 + 2 + 3 + 4)
    assert run["batches"].output == [0, 1, 2, 3, 4]
    promises_hold(run, here)


def test_secrets_are_resolved_in_the_worker_and_stay_out_of_everything_stored(
    monkeypatch: pytest.MonkeyPatch, here: Installation
) -> None:
    monkeypatch.setenv("FLOW_PASSWORD", "hunter2-canary")
    run = flows.secretive.run()
    assert run.result() == len("hunter2-canary")
    assert "the password is" in run["login"].logs
    for path in here.settings.home.rglob("*"):
        if path.is_file():
            assert b"hunter2-canary" not in path.read_bytes(), path


def test_metrics_and_logs_of_a_step_are_kept() -> None:
    run = flows.observed.run()
    assert [m["auc"] for m in run["reporting"].metrics] == [0.5, 0.6, 0.7]
    assert run["reporting"].logs == "trained\n"


def test_cancel_ends_a_run(ledger: str, here: Installation) -> None:
    run = flows.slow.start(ledger=ledger, n=20, seconds=5.0)
    for event in run.events(follow=True):
        if isinstance(event.fact, f.StepsStarted):
            break
    run.cancel("enough")
    with pytest.raises(RunCancelled, match="enough"):
        run.result()
    assert run.state == "cancelled"
    promises_hold(run, here)
    with pytest.raises(RunError, match="has ended"):
        run.resume()


def test_a_second_driver_is_told_who_has_the_run(ledger: str) -> None:
    run = flows.slow.start(ledger=ledger, n=2, seconds=1.0)
    with pytest.raises(RunOwned, match=str(run.driver)):
        Runs()[run.id].resume()
    assert run.result() == [1.0, 1.0]


def test_run_works_inside_a_running_event_loop() -> None:
    async def cell() -> Any:
        return flows.sums.run().result()

    assert asyncio.run(cell()) == flows.sums().copy()


def test_an_unknown_step_names_those_there_are() -> None:
    run = flows.sums.run()
    with pytest.raises(NotFound, match="numbers, split"):
        run["nubmers"]
    with pytest.raises(NotFound, match="no item 99"):
        run["double", 99]


def test_a_checkpoint_survives_failures_and_the_death_of_the_worker(ledger: str, here: Installation) -> None:
    run = flows.trained.run(n=6, ledger=ledger)
    assert run.result() == [0, 1, 2, 3, 4, 5]
    assert [line.payload for line in read_ledger(ledger)] == ["0", "1", "2", "3", "4", "5"]
    promises_hold(run, here, ledger)


def test_a_run_is_brought_back_from_its_snapshot_as_from_all_its_facts(
    ledger: str, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "SNAPSHOT_FACTS", 5)
    run = flows.everything.run(ledger=ledger)
    snapshot = here.journal.snapshot(run.id)
    assert snapshot is not None
    assert snapshot.seq > 5
    graph = here.graph(here.created(run.id))
    whole = load_fold(here.journal, run.id, graph, use_snapshot=False)
    assert encode_snapshot(load_fold(here.journal, run.id, graph)) == encode_snapshot(whole)


def test_steps_that_change_their_item_of_a_large_list_change_it_for_nobody_else(here: Installation) -> None:
    assert flows.grown_twice.run(n=20_000).result() == [[3] * 20_000] * 2
