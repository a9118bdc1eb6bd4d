"""The main job, killed in the middle, its source deleted, resumed by ``orc resume`` from the root directory."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app.test_killed import ROOT, environment, wait_for_lines

pytestmark = pytest.mark.ray

JOB = """
import functools, sys
from orchestrator import Stage, stage
from orchestrator.testing import write_ledger
from stages.pipelines import flights as job

LEDGER = sys.argv[1]

def noted(original):
    @functools.wraps(original.function)
    def body(*args, **kwargs):
        write_ledger(LEDGER)
        return original.function(*args, **kwargs)
    body.__module__ = __name__  # or workers would import the original
    return stage(body, retries=1)

for name, value in list(vars(job).items()):
    if isinstance(value, Stage):
        setattr(job, name, noted(value))

if __name__ == "__main__":
    job.flights.run(serve=False, trees=20)
"""


@pytest.mark.timeout(950)
def test_no_finished_step_of_the_main_job_runs_twice(tmp_path: Path) -> None:
    project, home, ledger = tmp_path / "project", tmp_path / "home", tmp_path / "ledger"
    shutil.copytree(ROOT / "stages", project / "stages")
    shutil.copytree(ROOT / "orchestrator", tmp_path / "engine" / "orchestrator")
    (project / "job.py").write_text(JOB)
    env = {**environment(home), "PYTHONPATH": str(tmp_path / "engine")}
    driver = subprocess.Popen([sys.executable, "job.py", str(ledger)], cwd=project, env=env)
    wait_for_lines(ledger, 14, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    shutil.rmtree(project)

    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    (row,) = here.journal.runs()
    before = here.fold(row.id)
    assert before.finished is None
    finished_before = {node for node, state in before.nodes.items() if state.is_settled}
    assert finished_before
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "resume", row.id]
    resumed = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, timeout=600)
    assert resumed.returncode == 0, resumed.stderr
    lines = read_ledger(ledger)
    assert check_run(here.journal, row.id, lines, row.seq) == []
    starts = Counter(line.step.partition("[")[0] for line in lines)
    for node in finished_before - {"when/branch", "when/choice"}:
        assert starts[node] == before.nodes[node].length, node
    reasons = [e.fact for e in here.journal.facts(row.id) if isinstance(e.fact, f.RunFinished)]
    assert [r.state for r in reasons] == ["succeeded"]
