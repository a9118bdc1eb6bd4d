"""Faults and bad input that must end well: a clear error, the record intact, no code of a value run out of place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunFailed
from orchestrator.app.installation import Installation
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app import flows
from tests.app.test_killed import ROOT, environment, wait_for_lines
from tests.forking import command


def damage_every_artifact(here: Installation, larger_than: int) -> int:
    """Flip a byte in the middle of each large artifact; how many there were."""
    damaged = 0
    for info in list(here.artifacts.list()):
        if info.size > larger_than:
            (path,) = Path(here.settings.home, "artifacts").glob(f"*/*/{info.digest}")
            path.chmod(0o600)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
            damaged += 1
    return damaged


def test_a_damaged_artifact_fails_its_reader_with_its_name_and_is_not_reused() -> None:
    run = flows.stored_large.run()
    here = Installation()
    assert damage_every_artifact(here, 100_000) == 1
    with pytest.raises(Exception, match="is damaged"):
        run["large_stored"].output  # noqa: B018
    again = flows.stored_large.run()  # the damaged output is no hit: it is made again
    assert again.result() == 4_999_950_000
    assert [e.fact for e in again.events() if isinstance(e.fact, f.CacheMissed)]


def test_a_step_that_exits_the_worker_is_charged_and_its_neighbours_are_not() -> None:
    with pytest.raises(RunFailed, match=r"deadly\[3\] failed: WorkerDied"):
        flows.dying.run()
    here = Installation()
    run = Runs(here).latest("dying")
    fold = here.fold(run.id)
    assert fold.failed == [("deadly", 3)]
    assert set(fold.nodes["deadly"].deaths) == {3}
    assert check_run(here.journal, run.id) == []


def test_what_needs_more_than_there_is_is_refused_with_need_and_supply() -> None:
    with pytest.raises(RunFailed, match="Unschedulable") as caught:
        flows.greedy.options(on="local").run()
    assert "4" in str(caught.value)
    assert "GPU" in str(caught.value)


def test_a_result_that_cannot_be_stored_fails_its_step_and_says_what() -> None:
    with pytest.raises(RunFailed, match="ResultNotEncodable"):
        flows.unstorable.run()


def test_a_hostile_result_never_runs_outside_a_worker(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    run = flows.hostile.start(marker=str(marker))
    run.wait()
    assert run.state == "succeeded"
    seen_by = marker.read_text().split() if marker.exists() else []
    assert str(os.getpid()) not in seen_by
    for arguments in (["ls"], ["show", run.id], ["get", run.id, "trap"], ["why", run.id, "trap"], ["plan", "x:y"]):
        command(*arguments, cwd=ROOT, env=environment(Installation().settings.home))
    after = marker.read_text().split() if marker.exists() else []
    assert after == seen_by


INTERRUPTED = """
import sys, time
from tests.app import flows
from orchestrator import pipeline, runs
phase, ledger = sys.argv[1:]
try:
    if phase == "tracing":
        @pipeline
        def slow_to_trace() -> float:
            print("ready", flush=True)
            time.sleep(60)
            return flows.nap(0.0, ledger)
        slow_to_trace.run()
    elif phase == "waiting":
        run = flows.asking.start()
        for event in run.events(follow=True):
            if type(event.fact).__name__ == "ApprovalRequested":
                break
        print("ready", flush=True)
        run.result()
    else:
        if phase == "starting":
            print("ready", flush=True)
        flows.slow.run(ledger=ledger, n=4, seconds=1.0)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize("phase", ["tracing", "starting", "running", "waiting"])
def test_ctrl_c_at_any_time_leaves_a_run_that_can_be_resumed_and_no_process(tmp_path: Path, phase: str) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, phase, str(ledger)], cwd=ROOT, env=environment(home),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    if phase == "running":
        wait_for_lines(ledger, 1, process)
    else:
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(200) == 130
    assert "interrupted" in process.stdout.read()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    for row in here.journal.runs():
        assert row.finished_at is None
        assert here.journal.owner(row.id) is None
        if phase == "waiting":
            Runs(here)[row.id].approve("ship it?")
        assert Runs(here)[row.id].resume().wait().state == "succeeded"
        assert check_run(here.journal, row.id, read_ledger(ledger)) == []
    assert processes_of(home) == []


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that mention a home, given a moment to end."""
    deadline = time.monotonic() + 300
    while True:
        listed: Any = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        found = [line for line in listed.stdout.splitlines() if str(home) in line]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_two_processes_resume_one_run_and_one_of_them_is_told(tmp_path: Path) -> None:
    home, ledger = tmp_path / "home", tmp_path / "ledger"
    code = f"from tests.app import flows; flows.slow.run(ledger={str(ledger)!r}, n=12, seconds=0.5)"
    first = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment(home))
    wait_for_lines(ledger, 2, first)
    first.kill()
    first.wait()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    (row,) = here.journal.runs()
    resume = (
        "from orchestrator import runs\nfrom orchestrator.errors import RunOwned\n"
        f"try:\n    print(runs[{row.id!r}].resume().wait().state)\n"
        "except RunOwned as error:\n    print('owned:', error)\n"
    )
    command = [sys.executable, "-c", resume]
    both = [
        subprocess.Popen(command, cwd="/", env=environment(home), stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=600)[0].strip() for process in both)
    assert said[0].startswith("owned:")
    assert said[1] == "succeeded"
    assert check_run(here.journal, row.id, read_ledger(ledger)) == []
