"""``kill -9`` of the driver: nothing acknowledged is lost, nothing finished is redone, and the source may be gone."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from orchestrator.testing import CrashingInstallation, CrashPoint, InProcess, check_run, read_ledger
from tests.app import flows

ROOT = Path(__file__).parents[2]

PROJECT = {
    "myproject/__init__.py": "",
    "myproject/arithmetic.py": """
        FACTOR = 3

        def scaled(x):
            return FACTOR * x
    """,
    "job.py": """
        import sys, time
        from dataclasses import dataclass
        from orchestrator import pipeline, stage
        from orchestrator.testing import write_ledger
        from myproject.arithmetic import scaled

        @dataclass
        class Fitted:                      # lives in __main__
            weights: list[int]

        @stage
        def fit(x: int, ledger: str) -> Fitted:
            write_ledger(ledger)
            time.sleep(0.15)
            return Fitted([scaled(x)])

        @stage
        def join(parts: list[Fitted]) -> int:
            return sum(w for part in parts for w in part.weights)

        @pipeline
        def job(ledger: str) -> int:
            return join(fit.map(list(range(20)), ledger=ledger))

        if __name__ == "__main__":
            job.run(ledger=sys.argv[1])
    """,
}


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ORC_HOME": str(home), "PYTHONPATH": str(ROOT)}


def wait_for_lines(ledger: Path, count: int, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60
    while len(read_ledger(ledger)) < count:
        assert process.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline, "the driver makes no progress"
        time.sleep(0.02)


def test_a_killed_main_script_is_resumed_from_anywhere_without_its_source(tmp_path: Path) -> None:
    project, home, ledger = tmp_path / "project", tmp_path / "home", tmp_path / "ledger"
    for name, text in PROJECT.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(textwrap.dedent(text))
    driver = subprocess.Popen([sys.executable, "job.py", str(ledger)], cwd=project, env=environment(home))
    wait_for_lines(ledger, 5, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    shutil.rmtree(project)

    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    (row,) = here.journal.runs()
    assert row.state == "running"
    assert here.journal.owner(row.id) is None
    acknowledged = row.seq
    code = f"from orchestrator import runs; r = runs[{row.id!r}].resume(); r.wait(); print(r.state)"
    resumed = subprocess.run(
        [sys.executable, "-c", code], cwd="/", env=environment(home), capture_output=True, text=True, timeout=120
    )
    assert resumed.stdout.strip() == "succeeded", resumed.stderr
    assert check_run(here.journal, row.id, read_ledger(ledger), acknowledged) == []
    fold = here.fold(row.id)
    assert fold.finished is not None
    cells = here.cells(row.id)
    span = fold.nodes["join"].outputs.find(0)
    assert span is not None
    assert cells.at(span) == 3 * sum(range(20))
    assert len({line.pid for line in read_ledger(ledger)}) > 1


@pytest.mark.parametrize("after_lines", [1, 4, 8])
def test_a_run_with_everything_survives_kills_of_its_driver(tmp_path: Path, after_lines: int) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    code = f"from tests.app import flows; flows.everything.run(ledger={str(ledger)!r})"
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment(home))
    wait_for_lines(ledger, after_lines, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    run = Runs(here).latest("everything")
    if run.state not in ("succeeded", "failed"):
        run.resume().wait()
    finish_is_right(here, run.id, ledger)


def finish_is_right(here: Installation, run_id: str, ledger: Path) -> None:
    run = Run(here, run_id)
    result = run.result()
    assert result["seen"] == [result["sent"]] * 2
    assert result["total"] == sum(x * x for x in range(6))
    assert result["counted"] == 0
    assert result["big"] == list(range(100_000))
    assert check_run(here.journal, run_id, read_ledger(ledger)) == []


# ---- the sweep: die at every write, in one process that does everything


def sweep_child(home: str, ledger: str, point: CrashPoint | None, answer: str) -> None:
    """Run (or resume) the pipeline in this process, dying at the given write; leave the number of writes behind."""
    installation = CrashingInstallation(Settings.from_environment({"ORC_HOME": home}), point)
    process = InProcess(installation=installation)
    unfinished = [row.id for row in installation.journal.runs() if row.finished_at is None]
    if unfinished:
        process.resume(unfinished[0])
    elif not installation.journal.runs():
        process.run(flows.everything, ledger=ledger)
    Path(answer).write_text(str(installation.writes))


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def run_sweep_child(home: Path, ledger: Path, point: CrashPoint | None) -> int | None:
    """Number of writes, or None if the child died as it was told to."""
    answer = Path(f"{home}.{uuid.uuid4().hex}")
    child = FORKS.Process(target=sweep_child, args=(str(home), str(ledger), point, str(answer)))
    child.start()
    child.join(120)
    if child.exitcode == -signal.SIGKILL:
        return None
    assert child.exitcode == 0
    return int(answer.read_text())


def test_the_sweep_counts_writes(tmp_path: Path) -> None:
    writes = run_sweep_child(tmp_path / "home", tmp_path / "ledger", None)
    assert writes is not None
    assert writes > 15
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home")}))
    finish_is_right(here, here.journal.runs()[0].id, tmp_path / "ledger")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_dying_at_every_write_and_again_while_recovering_loses_and_repeats_nothing(
    tmp_path: Path, moment: Literal["before", "after"]
) -> None:
    writes = run_sweep_child(tmp_path / "count", tmp_path / "count-ledger", None)
    assert writes is not None

    def die_at(number: int) -> bool:
        home, ledger = tmp_path / f"home{number}", tmp_path / f"ledger{number}"
        died = run_sweep_child(home, ledger, CrashPoint(number, moment)) is None
        run_sweep_child(home, ledger, CrashPoint(2 + number % 5, moment))
        run_sweep_child(home, ledger, None)
        here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
        rows = here.journal.runs()
        assert len(rows) == 1, f"dying {moment} write {number}"
        finish_is_right(here, rows[0].id, ledger)
        here.close()
        return died

    with ThreadPoolExecutor(2) as both:
        died = sum(both.map(die_at, range(1, writes + 1)))
    assert died > writes // 2
