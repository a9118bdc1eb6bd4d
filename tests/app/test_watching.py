"""Runs whose driver died are found and driven on; those that were let go of, cancelled or owned are left alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.patience import MOST_DEATHS
from orchestrator.app.run import Run
from orchestrator.app.watching import GRACE_S, Watcher, watching
from orchestrator.config.settings import Settings
from orchestrator.errors import RunError
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, RunRow
from orchestrator.testing import check_run, read_ledger
from tests.app.test_killed import ROOT, environment, wait_for_lines

HERE = socket.gethostname()


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))


class Started:
    """Drivers that a watcher starts, which die at once or could not begin; and its clock."""

    def __init__(self, here: Installation, fails: bool = False) -> None:
        self.runs: list[str] = []
        self.said: list[str] = []
        self.now = 0.0
        self._fails = fails
        self.watcher = Watcher(here, self.said.append, self._resume, lambda: self.now)

    def _resume(self, here: Installation, run: str) -> str | None:
        self.runs.append(run)
        if self._fails:
            raise RunError("its capsule is gone")
        died(here, run)
        return "a driver"

    def rounds(self, count: int, step_s: float) -> None:
        for _ in range(count):
            self.watcher.look()
            self.now += step_s


def made(here: Installation, run: str, *facts: f.Fact) -> None:
    created = f.RunCreated("p", "0" * 64, "0" * 64, {})
    here.journal.create(RunRow(run, "p", "running", 1 + len(facts), 0, 1.0), [created, *facts], {})


def died(here: Installation, run: str, driver: str = "", *facts: f.Fact) -> None:
    """Take a run over as a driver that is killed then: the kernel unlocks its file, and nobody removes that."""
    name = driver or f"{HERE}:7"
    held: Any = here.journal.own(run, name)
    row = here.journal.run(run)
    began = f.DriverStarted(held.epoch, name, HERE, 7, "local")
    here.journal.append(Append(run, held.epoch, row.seq, time.time(), [began, *facts]))
    held._lock.forget()


def test_only_a_driver_that_died_here_is_succeeded(here: Installation) -> None:
    for run in ("dead", "elsewhere", "released", "owned", "cancelled", "to-be-cancelled", "finished"):
        made(here, run)
    died(here, "dead")
    died(here, "elsewhere", "another-machine:7")
    here.journal.own("released", f"{HERE}:8").release()
    owned = here.journal.own("owned", f"{HERE}:9")
    died(here, "cancelled", "", f.CancelRequested("me"))
    died(here, "to-be-cancelled")
    here.journal.post("to-be-cancelled", "k", {"kind": "cancel"}, 1.0)
    died(here, "finished", "", f.RunFinished("failed"))
    started = Started(here, fails=True)
    started.rounds(1, GRACE_S)
    assert started.runs == [], "it may be succeeded by somebody else"
    started.rounds(1, 0.1)
    assert started.runs == ["dead"]
    owned.release()


def test_waits_grow_and_then_the_run_says_that_nobody_starts_more(here: Installation) -> None:
    made(here, "dead")
    died(here, "dead")
    started = Started(here)
    started.rounds(60, 30.0)
    assert len(started.runs) == MOST_DEATHS - 1
    facts = [recorded.fact for recorded in here.journal.facts("dead")]
    assert isinstance(facts[-1], f.SupervisionEnded)
    assert f"{MOST_DEATHS} drivers in a row have died without progress" in facts[-1].reason
    assert any("is given up" in line and "orc resume dead" in line for line in started.said)
    started.rounds(5, 600.0)
    assert len(started.runs) == MOST_DEATHS - 1, "given up is given up, until somebody resumes it"


def test_drivers_that_cannot_begin_count_too(here: Installation) -> None:
    made(here, "dead")
    died(here, "dead")
    started = Started(here, fails=True)
    started.rounds(80, 30.0)
    assert len(started.runs) == MOST_DEATHS - 1
    assert any("its capsule is gone" in line for line in started.said)


def test_a_driver_is_killed_and_the_run_ends_all_the_same(here: Installation, tmp_path: Path) -> None:
    ledger, said = tmp_path / "ledger", []
    code = f"from tests.app import flows; flows.slow.run(ledger={str(ledger)!r}, n=12, seconds=0.2)"
    driver: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(here.settings.home)
    )
    with watching(here, said.append):
        wait_for_lines(ledger, 3, driver)
        driver.kill()
        driver.wait()
        (row,) = here.journal.runs("slow")
        acknowledged = row.seq
        run = Run(here, row.id).wait("300s")
    assert run.result() == [0.2] * 12
    assert check_run(here.journal, run.id, read_ledger(ledger), acknowledged) == []
    assert here.journal.run(run.id).epoch == 2
    assert any("goes on, driven by" in line for line in said)
