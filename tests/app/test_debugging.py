"""One step of a run again, in this process, on its real inputs; nothing of it is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import RunFailed
from orchestrator.app.debugging import debug_step
from orchestrator.app.run import Run
from orchestrator.app.step_inputs import inputs_of
from orchestrator.errors import ConfigError, NotFound
from orchestrator.testing import InProcess
from tests.app import debug_flows as flows


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


def failed(here: InProcess) -> Run:
    with pytest.raises(RunFailed) as caught:
        here.run(flows.parsing)
    return Run(here.installation, caught.value.details["run"])


def test_the_first_item_that_failed_fails_again_on_its_own_input(
    here: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run = failed(here)
    seq = here.installation.journal.run(run.id).seq
    step = debug_step(here.installation, run.id, "parse", None, now=True)
    assert step.address == "parse[1]"
    capsys.readouterr()
    outcome = step.run()
    assert isinstance(outcome.error, json.JSONDecodeError)
    assert capsys.readouterr().out == "parsing {'x': 1}\n"
    assert outcome.traceback is not None
    assert outcome.traceback.tb_frame.f_code.co_name == "parse", "the traceback begins in the body"
    assert outcome.metrics == [{"seen": 1.0}]
    last = debug_step(here.installation, run.id, "parse", 3, now=True).run()
    assert isinstance(last.error, KeyError)
    fine = debug_step(here.installation, run.id, "parse", 2, now=True).run()
    assert (fine.value, fine.error) == (4, None)
    assert here.installation.journal.run(run.id).seq == seq


def test_inputs_are_shown_from_the_record(here: InProcess) -> None:
    run = failed(here)
    fold = run.fold()
    assert inputs_of(here.installation, fold, fold.nodes["parse"], 3) == [
        ("row", "rows[3]", "{'y': 3}"),
        ("k", "", "2"),
    ]
    assert inputs_of(here.installation, fold, fold.nodes["total"], 0)[0][:2] == ("xs", "parse")


def test_a_step_draws_what_it_drew_and_what_it_gives_is_compared(
    here: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBUG_PASSWORD", "secret")
    path = str(tmp_path / "file")
    run = here.run(flows.steady, path=path)
    artifacts = len(list(here.installation.artifacts.list()))
    drawn = debug_step(here.installation, run.id, "draws", None, now=True).run()
    assert (drawn.value, drawn.same) == (run["draws"].output, True)
    other = debug_step(here.installation, run.id, "once", None, now=True).run()
    assert (other.value, other.same) == ("xx", False)
    assert debug_step(here.installation, run.id, "login", None, now=True).run().value == 6
    with pytest.raises(ConfigError, match="publish has effects and would act"):
        debug_step(here.installation, run.id, "publish", None, now=True)
    acted = debug_step(here.installation, run.id, "publish", None, effects=True, now=True).run()
    assert (acted.value, acted.same) == (run["publish"].output, True), "under the key that it has in the run"
    assert len(list(here.installation.artifacts.list())) == artifacts


def test_a_body_is_answered_from_the_record_and_runs_the_rest(here: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "sent"
    run = here.run(flows.calling, n=2, path=str(path))
    again = debug_step(here.installation, run.id, "body", None, now=True).run()
    assert (again.value, again.same) == (6, True)
    assert len(path.read_text().splitlines()) == 1, "calls with outcomes on record do not run"
    with pytest.raises(RunFailed) as caught:
        here.run(flows.calling, n=0, path=str(path))
    outcome = debug_step(here.installation, caught.value.details["run"], "body", None, now=True).run()
    assert isinstance(outcome.error, ZeroDivisionError)
    call = debug_step(here.installation, run.id, "body/total#2", None, now=True).run()
    assert (call.value, call.same) == (13, True)


def test_what_cannot_be_run(here: InProcess) -> None:
    run = failed(here)
    with pytest.raises(NotFound, match="total needs parse, which has no output, or not all of it"):
        debug_step(here.installation, run.id, "total", None, now=True)
    fine = here.run(flows.fine)
    with pytest.raises(ConfigError, match="no item failed"):
        debug_step(here.installation, fine.id, "parse", None, now=True)
