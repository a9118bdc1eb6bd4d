"""Other code under a run: what stays valid, what is asked again or refused; new runs that keep what finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.app.run import Run
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.snapshot import encode_snapshot
from orchestrator.errors import ConfigError, MissingArgument, RunError, RunFailed
from orchestrator.graph import fact as f
from orchestrator.testing import InProcess, check_run
from tests.app import versions


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.02)


def steps_of(ledger: str) -> list[str]:
    """Steps that began, without their items."""
    return [line.split()[0] for line in Path(ledger).read_text().splitlines()]


def waiting_for_go(here: InProcess, ledger: str) -> Run:
    """A run that has counted, was approved, waits for its signal, and has no driver any more."""
    run = here.start(versions.asked, ledger=ledger)
    until(lambda: run.state == "waiting")
    run.approve("approve")
    until(lambda: run["approve"].done)
    run.stop()
    return run


def test_unfinished_steps_run_with_the_new_code(here: InProcess, ledger: str) -> None:
    run = waiting_for_go(here, ledger)
    run.signal("go", 7)
    resumed = here.resume(run.id, code=versions.asked_carefully)
    assert resumed.result() == "carefully shipped [3, 7]"
    assert steps_of(ledger) == ["load"]
    assert check_run(here.installation.journal, run.id) == []
    changed = [r.fact for r in resumed.events() if isinstance(r.fact, f.CodeChanged)]
    assert len(changed) == 1
    assert changed[0].dropped == ()
    live = set(here.installation.journal.live_digests(here.installation.artifacts.get))
    assert {changed[0].graph, changed[0].capsule} < live, "collection spares the new code"


def test_snapshot_and_replay_agree_after_the_code_changed(here: InProcess, ledger: str) -> None:
    run = waiting_for_go(here, ledger)
    run.signal("go", 7)
    here.resume(run.id, code=versions.asked_carefully)
    journal, at_first = here.installation.journal, here.installation.graph(here.installation.created(run.id))
    assert encode_snapshot(load_fold(journal, run.id, at_first, use_snapshot=False)) == encode_snapshot(
        here.installation.fold(run.id)
    )


def test_finished_work_is_not_dropped_unless_that_is_accepted_and_people_are_asked_again(
    here: InProcess, ledger: str
) -> None:
    run = waiting_for_go(here, ledger)
    with pytest.raises(RunError, match=r"count \(the code of its stage changed\); approve \(what was answered"):
        here.resume(run.id, code=versions.asked_again)
    assert here.installation.fold(run.id).revision == 0

    run.signal("go", 7)
    new = here.runner.compare(run.id, versions.asked_again)
    again = here.runner.resume(run.id, code=new)
    until(lambda: run.state == "waiting")
    again.approve("approve")  # its first answer was about another count
    assert again.result() == "shipped [6, 7]"
    assert steps_of(ledger) == ["load"]
    assert check_run(here.installation.journal, run.id) == []


def test_resuming_without_new_code_stays_with_the_code_the_run_has_by_now(here: InProcess, ledger: str) -> None:
    run = waiting_for_go(here, ledger)
    new = here.runner.compare(run.id, versions.asked_carefully)
    again = here.runner.resume(run.id, code=new)
    until(lambda: here.installation.fold(run.id).revision == 1)
    again.stop()
    run.signal("go", 7)
    assert here.resume(run.id).result() == "carefully shipped [3, 7]"


def test_a_comparison_that_is_out_of_date_changes_nothing(here: InProcess, ledger: str) -> None:
    run = waiting_for_go(here, ledger)
    new = here.runner.compare(run.id, versions.asked_carefully)
    other = here.runner.resume(run.id, detach=True).wait()
    other.stop()
    with pytest.raises(RunError, match="went on since its code was compared"):
        here.runner.resume(run.id, code=new)
    assert here.installation.fold(run.id).revision == 0
    run.signal("go", 7)
    assert here.resume(run.id).result() == "shipped [3, 7]"


def test_code_of_another_pipeline_and_parameters_that_are_missing(here: InProcess, ledger: str) -> None:
    run = waiting_for_go(here, ledger)
    with pytest.raises(ConfigError, match="is one of asked, not of report"):
        run.compare(versions.report)
    with pytest.raises(MissingArgument):
        run.compare(versions.asked_with_more)
    assert run.compare(versions.asked).dropped == ()


def failed(here: InProcess, ledger: str) -> Run:
    with pytest.raises(RunFailed) as caught:
        here.run(versions.report, ledger=ledger)
    return Run(here.installation, caught.value.details["run"])


def test_a_failed_run_is_not_continued_but_a_new_one_keeps_what_it_finished(here: InProcess, ledger: str) -> None:
    run = failed(here, ledger)
    assert sorted(steps_of(ledger)) == ["clean"] * 3 + ["fit", "load", "publish"]
    with pytest.raises(RunError, match=f"has ended .failed.*orc rerun {run.id} --keep"):
        here.resume(run.id, code=versions.report_corrected)

    new = here.runner.compare(run.id, versions.report_corrected)
    assert new.comparison.kept.keys() == {"load", "clean", "publish"}
    renewal = here.runner.renewal(run.id, code=new)
    assert renewal.acting == ()
    again = here.runner.rerun(renewal, code=new).wait()
    assert again.result() == "6, published 3"
    assert steps_of(ledger).count("load") == 1
    assert steps_of(ledger).count("publish") == 1, "what has effects happened already"
    assert {fact.cached for fact in completions(again, "clean")} == {run.id}
    created = here.installation.created(again.id)
    assert (created.origin, created.seed) == (run.id, here.installation.created(run.id).seed)
    assert check_run(here.installation.journal, again.id) == []


def completions(run: Run, node: str) -> list[f.StepsCompleted]:
    facts = [fact for recorded in run.events() for fact in f.apart(recorded.fact)]
    return [fact for fact in facts if isinstance(fact, f.StepsCompleted) and fact.node == node]


def test_steps_with_effects_whose_inputs_changed_are_named(here: InProcess, ledger: str) -> None:
    run = failed(here, ledger)
    new = here.runner.compare(run.id, versions.report_cleaned)
    assert new.comparison.acted == ("publish",)
    renewal = here.runner.renewal(run.id, code=new)
    assert renewal.acting == ("publish",)
    again = here.runner.rerun(renewal, code=new).wait()
    assert again.result() == "9, published 3"
    acts = [line.split(maxsplit=2)[1:] for line in Path(ledger).read_text().splitlines() if line.startswith("publish")]
    assert len({key for key, _ in acts}) == len(acts) == 2, "another run, another key"


def test_within_one_run_a_step_with_effects_never_acts_twice(here: InProcess, ledger: str) -> None:
    run = here.start(versions.published, ledger=ledger)
    until(lambda: run.state == "waiting")
    run.stop()
    with pytest.raises(RunError, match=f"publish has effects.*orc rerun {run.id} --code … --repeat 'publish'"):
        here.resume(run.id, code=versions.published_otherwise, accept=True)
    assert here.installation.fold(run.id).revision == 0
    run.signal("go", 1)
    assert here.resume(run.id).result() == [1, "published 2"]
    assert steps_of(ledger).count("publish") == 1


def test_keep_runs_only_what_failed(here: InProcess, ledger: str) -> None:
    run = failed(here, ledger)
    renewal = here.runner.renewal(run.id, keep=True)
    again = here.runner.rerun(renewal).wait()
    assert again.state == "failed"
    assert sorted(steps_of(ledger)) == ["clean"] * 3 + ["fit", "fit", "load", "publish"]
