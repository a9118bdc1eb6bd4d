"""Sweeps as parts of runs: each trial a durable step, and what ``orc show`` tells of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestrator import RunFailed
from orchestrator.app.installation import Installation
from orchestrator.app.runs import Runs
from orchestrator.backends.cluster import Cluster
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app import sweep_flows
from tests.app.test_killed import ROOT, environment, wait_for_lines


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_trials_are_steps_of_the_run(tmp_path: Path, searcher: str) -> None:
    run = sweep_flows.plain.run(ledger=str(tmp_path / "ledger"), searcher=searcher)
    best = run.result()
    assert best.output.auc == best.value == max(trial.value for trial in best.trials)
    assert [len(trial.reports) for trial in best.trials] == [3] * 8
    assert len(read_ledger(tmp_path / "ledger")) == 8
    reported = [event.fact for event in run.events() if isinstance(event.fact, f.MetricsReported)]
    assert len(reported) == 24
    assert {fact.node for fact in reported} == {f"sweep/fit{part}" for part in ("", "#2", "#3", "#4")}


@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_no_finished_trial_runs_again_after_a_kill(tmp_path: Path, searcher: str) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    call = f"sweep_flows.plain.run(ledger={str(ledger)!r}, searcher={searcher!r}, held_from=6)"
    driver = subprocess.Popen(
        [sys.executable, "-c", f"from tests.app import sweep_flows; {call}"], cwd=ROOT, env=environment(home)
    )
    wait_for_lines(ledger, 6, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    run = Runs(here).latest("plain")
    acknowledged = here.journal.run(run.id).seq
    Path(f"{ledger}.go").touch()
    best = run.resume().result()
    assert check_run(here.journal, run.id, read_ledger(ledger), acknowledged) == []
    begun = Counter(line.step for line in read_ledger(ledger))
    assert len(begun) == len(best.trials) == 8
    first_four = [begun[f"sweep/fit{wave}[{item}]"] for wave in ("", "#2") for item in (0, 1)]
    assert first_four == [1, 1, 1, 1]  # they had ended: the third wave was at work


@pytest.mark.parametrize("die", [False, True])
def test_a_dynamic_body_may_sweep_and_its_trials_are_steps_of_it(tmp_path: Path, die: bool) -> None:
    run = sweep_flows.nested.run(ledger=str(tmp_path / "ledger"), die=die)
    wide, near = run.result()
    assert (wide.params, len(wide.trials)) == ({"rate": 0.01}, 3)
    assert near.value >= wide.value
    assert 0.005 <= near.params["rate"] <= 0.04
    assert len(read_ledger(tmp_path / "ledger")) == 3 + 4  # no trial ran again, also not after the body's death
    assert bool([event for event in run.events() if isinstance(event.fact, f.WorkerLost)]) == die
    nodes = {event.fact.node for event in run.events() if isinstance(event.fact, f.MetricsReported)}
    assert nodes == {"narrowing/fit", "narrowing/fit#2"}


def test_what_a_body_cannot_sweep_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"scheduler= and checkpoint= make it a step of Ray Tune.*in the pipeline"):
        sweep_flows.nested_on_tune.options(on="local").run(ledger=str(tmp_path / "ledger"))
    with pytest.raises(RunFailed, match="cannot be imported; move it to a module"):
        sweep_flows.nameless().run()


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_asha_on_ray_ends_bad_trials_early(tmp_path: Path, local_ray: Cluster) -> None:
    run = sweep_flows.steered.run(ledger=str(tmp_path / "ledger"))
    best = run.result()
    states = [trial.state for trial in best.trials]
    assert "stopped" in states
    assert len(best.trials) == 6
    assert best.params["rate"] in (0.02, 0.021)
    assert best.output.auc == best.value
    for trial in best.trials:
        assert (trial.state == "finished") == (len(trial.reports) == 9)
        assert trial.value == trial.reports[-1]["auc"]
    assert len(run["sweep"].attempts) == 1
