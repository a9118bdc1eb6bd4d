"""A driver on a real Ray that dies at chosen writes, one driver after the other, and the last one finishes the run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.backends.cluster import Cluster
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import CrashPoint, check_run, read_acknowledgements, read_ledger
from tests.app.test_killed import ROOT, environment, finish_is_right
from tests.forking import Done, program

pytestmark = [pytest.mark.ray, pytest.mark.timeout(950)]

DRIVER = """
import sys
from pathlib import Path
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import AcknowledgementFile, CrashingInstallation, CrashPoint
from tests.app import flows

folder, number, moment = sys.argv[1:]
point = CrashPoint(int(number), moment) if moment != "none" else None
here = CrashingInstallation(Settings.from_environment(), point)
runner = Runner(here, AcknowledgementFile(Path(folder) / "acknowledged"))
rows = here.journal.runs()
if rows:
    runner.resume(rows[0].id).wait()
else:
    runner.run(flows.everything, {"ledger": str(Path(folder) / "ledger")}, RunOptions(on="ray"))
"""

DEATHS = [CrashPoint(6, "commit"), CrashPoint(3, "before"), CrashPoint(2, "after")]


def test_three_drivers_die_at_their_writes_and_the_fourth_finishes(tmp_path: Path, local_ray: Cluster) -> None:
    import ray

    home = tmp_path / "home"
    env = {**environment(home), "ORC_RAY_ADDRESS": ray.get_runtime_context().gcs_address}

    def drive(number: int, moment: str) -> Done:
        return program(DRIVER, str(tmp_path), str(number), moment, cwd=ROOT, env=env)

    for point in DEATHS:
        died = drive(*point)
        assert died.code == -signal.SIGKILL, died.err[-3000:]
    ended = drive(0, "none")
    assert ended.code == 0, ended.err[-3000:]
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    (row,) = here.journal.runs()
    finish_is_right(here, row.id, tmp_path / "ledger")
    acknowledged = read_acknowledgements(tmp_path / "acknowledged")
    assert check_run(here.journal, row.id, read_ledger(tmp_path / "ledger"), acknowledged=acknowledged) == []
    assert acknowledged
    epochs = [e.fact.epoch for e in Run(here, row.id).events() if isinstance(e.fact, f.DriverStarted)]
    assert epochs == sorted(set(epochs))
    assert row.epoch == len(DEATHS) + 1
    assert {line.epoch for line in read_ledger(tmp_path / "ledger")} <= set(range(1, row.epoch + 1))
    assert here.journal.owner(row.id) is None
