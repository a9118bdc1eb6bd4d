"""``kill -9`` of the driver: nothing acknowledged is lost, nothing finished is redone, and the source may be gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from orchestrator.testing import check_run, read_ledger, sweep
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
    deadline = time.monotonic() + 300
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
        [sys.executable, "-c", code], cwd="/", env=environment(home), capture_output=True, text=True, timeout=600
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


@pytest.mark.timeout(950)
def test_dying_at_every_write_and_again_while_recovering_breaks_no_promise() -> None:
    swept = sweep(flows.swept, answers={"labels": [1, 2]})
    assert swept.broken() == []
    assert swept.reference.verdict.state == "succeeded"
    assert {"own", "append", "post", "put"} <= set(swept.writes)
    assert swept.creation[-1] == "begin"
    assert swept.points >= 3 * (len(swept.creation) + len(swept.writes))
    killed = [universe for universe in swept.universes if universe.deaths]
    for universe in swept.universes:  # how many writes there are depends on how facts fall into groups
        assert universe.deaths or planned_write(universe.name) > len(universe.verdict.writes), universe.name
    assert {name for universe in killed for name in swept.writes if f"({name})" in universe.name} == set(swept.writes)
    assert swept.kills > 1.5 * len(killed)
    kinds = {facts.kind for facts in swept.reference.verdict.nodes.values()}
    assert {"stage", "dynamic", "approval", "signal", "branch", "choice"} <= kinds
    assert {point.moment for universe in swept.universes for point in universe.deaths} == {"before", "commit", "after"}


def planned_write(universe: str) -> int:
    """The number of the write at which a universe was to die, by its name."""
    return int(universe.partition(" write ")[2].partition(" ")[0])


def test_a_sweep_leaves_the_users_own_home_alone() -> None:
    swept = sweep(flows.swept, answers={"labels": [1, 2]}, points=2)
    assert swept.points == 2
    assert not Path(os.environ["ORC_HOME"]).exists()
