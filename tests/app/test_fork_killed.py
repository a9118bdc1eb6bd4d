"""``kill -9`` of whoever makes or drives a fork: the history stands, and nothing that is finished is done again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.backends.cluster import Cluster
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess, check_run, read_ledger
from orchestrator.testing.crash import MOMENTS
from tests.app import fork_flows as flows
from tests.app.test_killed import ROOT, environment
from tests.forking import Done, program

FORKING = """
import sys
from orchestrator.config.settings import Settings
from orchestrator.testing import CrashingInstallation, CrashPoint, InProcess
from tests.app import fork_flows

run, number, moment = sys.argv[1:]
here = CrashingInstallation(Settings.from_environment(), CrashPoint(int(number), moment))
InProcess(installation=here).fork(run, "countdown/minus#2", fork_flows.islands)
print(len(here.writes))
"""


def installation(home: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(home)}))


def test_dying_at_any_write_leaves_a_whole_fork_or_none(tmp_path: Path) -> None:
    home, ledger, marker = tmp_path / "home", tmp_path / "ledger", tmp_path / "marker"
    marker.touch()
    process = InProcess(home)
    run = process.run(flows.islands, n=3, marker=str(marker), ledger=str(ledger))
    recorded = [one.fact for one in run.events()]

    def fork(number: int, moment: str) -> Done:
        return program(FORKING, run.id, str(number), moment, cwd=ROOT, env=environment(home))

    writes = int(fork(0, "before").out)
    died = 0
    for number in range(1, writes + 1):
        ended = fork(number, MOMENTS[number % len(MOMENTS)])
        assert ended.code in (0, -signal.SIGKILL), ended.err[-3000:]
        died += ended.code != 0  # there is no commit where an artifact is stored already
        for row in process.installation.journal.runs("islands", limit=500):
            if row.state not in f.FINISHED:
                whole(process, row.id, process.resume(row.id))
                assert check_run(process.installation.journal, row.id, read_ledger(ledger), row.seq) == []
    assert died >= writes // 2
    assert [one.fact for one in run.events()] == recorded
    forks = [row for row in process.installation.journal.runs("islands", limit=500) if row.id != run.id]
    assert {row.state for row in forks} == {"succeeded"}
    assert not [line for line in read_ledger(ledger) if line.run != run.id and line.step == "countdown/minus[0]"]


def whole(process: InProcess, run: str, fork: Run) -> None:
    created = process.installation.created(run)
    assert created.forked == "countdown/minus#2"
    assert fork.result() == [0, "x"]
    assert fork.fold().nodes["countdown/minus"].reused == 1


@pytest.mark.parametrize("after", [1, 5])
def test_a_killed_driver_of_a_fork_is_succeeded_by_another(tmp_path: Path, after: int) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    here = installation(home)
    run = Runner(here).run(flows.slowly, {"ledger": str(ledger), "seconds": 0.1}, RunOptions(on="local"))
    kill_and_resume(here, home, ledger, run, after, "local")


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_on_ray_too(tmp_path: Path, local_ray: Cluster) -> None:
    import ray

    home, ledger = tmp_path / "home", tmp_path / "ledger"
    here = installation(home)
    run = Runner(here).run(flows.slowly, {"ledger": str(ledger), "seconds": 0.1}, RunOptions(on="local"))
    kill_and_resume(here, home, ledger, run, 3, "ray", ORC_RAY_ADDRESS=ray.get_runtime_context().gcs_address)


def kill_and_resume(
    here: Installation, home: Path, ledger: Path, run: Run, after: int, on: str, **environ: str
) -> None:
    """Fork a run in another process, kill that once some steps of the fork began, and drive the fork on."""
    code = f"from orchestrator.app.runner import Runner; r = Runner(); m = r.fork({run.id!r}, 'slow')"
    driving = f"{code}; r.rerun(m.renewal, {on!r}).wait()"
    driver = subprocess.Popen([sys.executable, "-c", driving], cwd=ROOT, env=environment(home) | environ)
    deadline = time.monotonic() + 300
    while sum(line.run != run.id for line in read_ledger(ledger)) < after:
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, "the driver makes no progress"
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    (row,) = [row for row in here.journal.runs("slowly") if row.id != run.id]
    acknowledged, resume = row.seq, f"from orchestrator import runs; runs[{row.id!r}].resume().wait()"
    resumed = program(resume, cwd=Path("/"), env=environment(home) | environ)
    assert resumed.code == 0, resumed.err
    fork = Run(here, row.id)
    assert fork.result() == run.result()
    assert check_run(here.journal, row.id, read_ledger(ledger), acknowledged) == []
    began = {line.step.partition("[")[0] for line in read_ledger(ledger) if line.run == row.id}
    assert began == {"slow", "total"}, "what came before is history"
    assert here.journal.run(row.id).epoch == 2
