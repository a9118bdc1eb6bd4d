"""Whole runs on a real Ray: the same results, heavy steps, islands, elasticity, and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunFailed
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.backends.cluster import Cluster
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app import flows
from tests.app.test_killed import ROOT, environment, finish_is_right, wait_for_lines

pytestmark = [pytest.mark.ray, pytest.mark.timeout(950)]


@pytest.fixture(autouse=True)
def on_session_ray(local_ray: Cluster) -> Cluster:
    """Runs with ``on="ray"`` use the session's Ray, because this process is connected to it."""
    return local_ray


@pytest.fixture
def here() -> Installation:
    return Installation()


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def test_everything_gives_the_same_on_ray(ledger: str, here: Installation) -> None:
    run = flows.everything.options(on="ray").run(ledger=ledger)
    finish_is_right(here, run.id, Path(ledger))
    workers = {e.fact.worker for e in run.events() if isinstance(e.fact, f.StepsStarted)}
    assert all(worker.startswith("ray-") for worker in workers)


def test_a_graph_with_a_heavy_step_goes_to_ray_by_itself() -> None:
    run = flows.gpu_share.run()
    assert run.result() == [0, 0, 0, 0]
    assert Installation().created(run.id).on == "ray"


def test_a_heavy_call_met_at_run_time_goes_to_ray_and_the_rest_stays_local() -> None:
    run = flows.heavy_at_run_time.run(x=4)
    assert run.result() == 5 + 8
    workers = {e.fact.node: e.fact.worker for e in run.events() if isinstance(e.fact, f.StepsStarted)}
    assert workers["deciding/needy"].startswith("ray-")
    assert workers["deciding/double"].startswith("local-")


def test_what_the_cluster_can_never_supply_is_refused_with_need_and_supply() -> None:
    with pytest.raises(RunFailed, match="Unschedulable") as caught:
        flows.impossible.run()
    assert "16" in str(caught.value)
    assert "4" in str(caught.value)


def test_two_runs_and_a_ray_data_stage_share_two_cpus_and_all_finish(tmp_path: Path, here: Installation) -> None:
    results: dict[str, Any] = {}

    def drive(name: str, pipeline: Any, **params: Any) -> None:
        results[name] = pipeline.options(on="ray").run(**params).result()

    threads = [
        threading.Thread(target=drive, args=("data", flows.with_ray_data), kwargs={"n": 1000}),
        threading.Thread(target=drive, args=("slow", flows.slow), kwargs={"ledger": str(tmp_path / "a"), "n": 8}),
        threading.Thread(target=drive, args=("sums", flows.sums), kwargs={"n": 200}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert results == {
        "data": 4 * sum(range(4000)),
        "slow": [0.4] * 8,
        "sums": {"small": 20, "large": 2 * sum(range(5, 200))},
    }


def test_killed_workers_cost_nothing_that_was_finished(ledger: str, here: Installation) -> None:
    run = flows.slow.options(on="ray").start(ledger=ledger, n=12, seconds=0.5)
    killed = 0
    for event in run.events(follow=True):
        if isinstance(event.fact, f.WorkerStarted) and killed < 3:
            time.sleep(0.8)
            os.kill(event.fact.pid, signal.SIGKILL)
            killed += 1
    assert run.result() == [0.5] * 12
    assert killed == 3
    assert [e for e in run.events() if isinstance(e.fact, f.WorkerLost)]
    assert check_run(here.journal, run.id, read_ledger(ledger)) == []


def test_a_killed_driver_is_succeeded_on_the_same_cluster(tmp_path: Path) -> None:
    import ray

    home, ledger = tmp_path / "home", tmp_path / "ledger"
    env = {**environment(home), "ORC_RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    code = f"from tests.app import flows; flows.slow.run(ledger={str(ledger)!r}, n=10, seconds=0.5)"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env)
    wait_for_lines(ledger, 4, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    here = Installation(Installation().settings.from_environment({"ORC_HOME": str(home)}))
    (row,) = here.journal.runs()
    resume = f"from orchestrator import runs; print(runs[{row.id!r}].resume().wait().state)"
    done = subprocess.run([sys.executable, "-c", resume], cwd="/", env=env, capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "succeeded", done.stderr
    assert Run(here, row.id).result() == [0.5] * 10
    assert check_run(here.journal, row.id, read_ledger(ledger), row.seq) == []
    assert Runs(here)[row.id].driver is None


def test_a_killed_node_costs_nothing_that_was_finished(tmp_path: Path) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    command = [sys.executable, "-m", "tests.app.node_loss", str(ledger)]
    env = {**environment(home), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    run, right, lost = done.stdout.split()[-3:]
    assert (right, lost) == ("True", "True")
    here = Installation(Installation().settings.from_environment({"ORC_HOME": str(home)}))
    assert check_run(here.journal, run, read_ledger(ledger)) == []
