"""Forks: history up to a step, then other code or parameters; what is taken over, what runs, what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import RunFailed
from orchestrator.app.run import Run
from orchestrator.errors import ConfigError, ForkRefused, NotFound, OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.testing import InProcess, check_run, read_ledger
from tests.app import fork_flows as flows


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def began(ledger: str, run: Run) -> list[str]:
    """Steps of a run whose bodies began, each as often as it did."""
    return sorted(line.step for line in read_ledger(ledger) if line.run == run.id)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.02)


def facts(run: Run) -> list[object]:
    return [recorded.fact for recorded in run.events()]


def test_the_step_and_what_depends_on_it_run_again_and_the_old_run_is_as_it_was(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    recorded = facts(run)
    fork = here.fork(run.id, "train", repeat=["publish"])
    assert fork.result() == run.result()
    assert began(ledger, fork) == ["publish[0]", "train[0]"]
    assert facts(run) == recorded
    created = fork.fold().created
    assert created is not None
    assert (created.origin, created.forked) == (run.id, "train")
    assert check_run(here.installation.journal, fork.id) == []
    assert fork.fold().nodes["shift"].reused == 4


def test_other_code_from_there_on_leaves_what_comes_before_as_history(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    made = here.runner.fork(run.id, "train", flows.job_trained_otherwise)
    said = {change.node: (change.action, change.part, change.reason) for change in made.comparison.changes}
    assert said["load"] == ("keep", "code", "history, although the code of its stage changed")
    assert said["scale"] == ("keep", "", "same code and inputs")
    assert said["train"] == ("drop", "code", "the code of its stage changed")
    assert said["publish"] == ("drop", "inputs", "its input train is made anew")
    fork = here.fork(run.id, "train", flows.job_trained_otherwise, repeat=["publish"])
    assert began(ledger, fork) == ["publish[0]", "train[0]"]
    assert fork.result() == ["published -128", 4], "trained on what is on record, not on what load gives now"


def test_other_parameters_from_there_on(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    fork = here.fork(run.id, "train", flows.job, {"lr": 5}, repeat=["publish"])
    assert fork.result() == ["published 320", 4]
    assert began(ledger, fork) == ["publish[0]", "train[0]"]
    created = fork.fold().created
    assert created is not None
    assert created.params["lr"] == "5"
    with pytest.raises(
        ForkRefused, match=r"argument 'n' changed from 4 to 3 of load, which comes before train.*'load'"
    ):
        here.runner.fork(run.id, "train", flows.job, {"n": 3})
    assert here.fork(run.id, "load", flows.job, {"n": 3}, repeat=["publish"]).result() == ["published 66", 3]
    with pytest.raises(ConfigError, match="give the pipeline too"):
        here.runner.fork(run.id, "train", None, {"lr": 5})


def test_one_item_of_a_map_and_the_items_that_follow_it(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    fork = here.fork(run.id, "scale[2]", repeat=["publish"])
    assert began(ledger, fork) == ["publish[0]", "scale[2]", "shift[2]", "train[0]"]
    assert fork.result() == run.result()
    assert check_run(here.installation.journal, fork.id) == []


def test_steps_with_effects_act_again_only_if_they_are_named(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    with pytest.raises(ForkRefused, match="publish has effects and began already"):
        here.fork(run.id, "train")
    with pytest.raises(ConfigError, match="load is no step with effects"):
        here.fork(run.id, "train", repeat=["load"])
    assert here.fork(run.id, "publish").result() == run.result(), "it was named as where the fork begins"
    keys = [line.payload for line in read_ledger(ledger) if line.step == "publish[0]"]
    assert len(keys) == len(set(keys)) == 2


def test_a_failed_run_is_retried_from_its_failed_step(here: InProcess, ledger: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        here.run(flows.islands, n=3, marker=str(tmp_path / "marker"), ledger=ledger)
    run = caught.value.details["run"]
    (tmp_path / "marker").touch()
    fork = here.fork(run, "countdown/breaks")
    assert fork.result() == [0, "x"]
    assert began(ledger, fork) == ["countdown/breaks[0]"]
    assert check_run(here.installation.journal, fork.id) == []


def test_calls_of_a_body_are_history_up_to_the_step(here: InProcess, ledger: str, tmp_path: Path) -> None:
    (tmp_path / "marker").touch()
    run = here.run(flows.islands, n=3, marker=str(tmp_path / "marker"), ledger=ledger)
    made = here.runner.fork(run.id, "countdown/minus#2")
    assert made.calls == ("countdown/minus",)
    fork = here.fork(run.id, "countdown/minus#2")
    assert fork.result() == run.result()
    assert began(ledger, fork) == ["countdown/breaks[0]", "countdown/minus#2[0]", "countdown/minus#3[0]"]
    fork = here.fork(run.id, "told")
    assert fork.result() == run.result()
    assert began(ledger, fork) == ["told[0]"]


def test_bodies_in_bodies(here: InProcess, ledger: str, tmp_path: Path) -> None:
    (tmp_path / "marker").touch()
    run = here.run(flows.nested, n=3, marker=str(tmp_path / "marker"), ledger=ledger)
    fork = here.fork(run.id, "outer/countdown/minus#2")
    assert fork.result() == run.result()
    assert began(ledger, fork) == ["outer/countdown/breaks[0]", "outer/countdown/minus#2[0]", "outer/minus#2[0]"]


def test_trials_of_a_sweep_are_history_up_to_the_step(here: InProcess, ledger: str) -> None:
    run = here.run(flows.searched, ledger=ledger)
    assert run.result() == 3.0
    fork = here.fork(run.id, "picked")
    assert fork.result() == 3.0
    assert began(ledger, fork) == ["picked[0]"]
    last = [node for node in run.fold().nodes if run.fold().nodes[node].parent is not None][-1]
    fork = here.fork(run.id, last)
    assert fork.result() == 3.0
    assert began(ledger, fork) == ["picked[0]", f"{last}[0]"]


def test_streams_begin_anew_as_a_whole(here: InProcess, ledger: str) -> None:
    run = here.run(flows.streamed, ledger=ledger)
    fork = here.fork(run.id, "scale[1]")
    assert fork.result() == run.result()
    assert began(ledger, fork) == ["scale[1]", "total[0]"]
    fork = here.fork(run.id, "batches", flows.streamed, {"n": 2})
    assert fork.result() == 10
    assert began(ledger, fork) == ["batches[0]", "batches[0]", "scale[0]", "scale[1]", "total[0]"]


def test_branches(here: InProcess, ledger: str) -> None:
    run = here.run(flows.branching, ledger=ledger)
    fork = here.fork(run.id, "when/then/told")
    assert fork.result() == "large"
    assert began(ledger, fork) == ["when/then/told[0]"]
    with pytest.raises(ForkRefused, match=r"did not take the branch of when/otherwise/told.*--from 'large'"):
        here.runner.fork(run.id, "when/otherwise/told")
    assert here.fork(run.id, "large", flows.branching, {"n": 3}).result() == "small"


def test_answers_before_the_step_are_history_and_after_it_asked_for_again(here: InProcess, ledger: str) -> None:
    run = here.start(flows.asked, ledger=ledger)
    run.approve("approve")
    run.wait()
    assert here.fork(run.id, "when/then/told").result() == "shipped"
    again = here.runner.rerun(here.runner.fork(run.id, "approve").renewal, detach=True).wait()
    assert again.state == "waiting"


def test_what_does_not_exist(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    for step in ("trian", "scale[4]", "train[0]", "train]"):
        with pytest.raises(OrchestratorError):
            here.runner.fork(run.id, step)
    with pytest.raises(NotFound, match="has no item 4"):
        here.runner.fork(run.id, "scale[4]")
    with pytest.raises(ConfigError, match="is one of job, not of streamed"):
        here.runner.fork(run.id, "train", flows.streamed)


def test_a_run_that_goes_on_is_forked_only_where_nothing_would_be_done_twice(here: InProcess, ledger: str) -> None:
    run = here.start(flows.asked, ledger=ledger)
    until(lambda: run.state == "waiting")
    with pytest.raises(ForkRefused, match=r"has not ended, and .*approve.* is not finished"):
        here.runner.fork(run.id, "when/then/told")
    run.approve("approve")
    run.wait()
    assert {type(fact) for fact in facts(run)} >= {f.RunFinished}


def test_a_fork_is_forked_and_resumed_like_any_run(here: InProcess, ledger: str) -> None:
    run = here.run(flows.job, ledger=ledger)
    first = here.fork(run.id, "train", flows.job, {"lr": 3}, repeat=["publish"])
    second = here.fork(first.id, "train", flows.job, {"lr": 4}, repeat=["publish"])
    assert second.result() == ["published 256", 4]
    assert began(ledger, second) == ["publish[0]", "train[0]"]
    made = here.runner.fork(second.id, "publish")
    left = made.renewal.create(here.installation, "key")
    assert made.renewal.create(here.installation, "key") == left, "one key, one fork"
    assert here.resume(left).result() == ["published 256", 4]
