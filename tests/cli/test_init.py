"""A project fresh from ``orc init``, used as its README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Orc


def test_a_new_project_plans_runs_is_refused_by_its_gate_and_passes_its_tests(orc: Orc, tmp_path: Path) -> None:
    made = orc("init", str(tmp_path / "Tide Gauge"), "--json")
    document = made.document("init")
    assert (made.code, document["name"]) == (0, "tide_gauge")
    project = tmp_path / "Tide Gauge"
    assert all(Path(file).is_file() for file in document["files"])
    assert orc("plan", "tide_gauge", cwd=project).code == 0
    ran = orc("run", "tide_gauge", cwd=project)
    assert (ran.code, ran.out.startswith("y = ")) == (0, True), ran.err
    again = orc("run", "tide_gauge", "max_error=0.5", "stages.fit.retries=5", cwd=project)
    assert again.code == 0, again.err
    assert "load: cached" in orc("why", orc.newest(), "load", cwd=project).out
    assert orc("run", "strict", cwd=project).code == 3
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tests = subprocess.run(command, cwd=project, env=orc.env, capture_output=True, text=True, timeout=600)
    assert tests.returncode == 0, tests.stdout


def test_a_second_project_in_the_same_folder_is_refused(orc: Orc, tmp_path: Path) -> None:
    assert orc("init", str(tmp_path), "--name", "churn").code == 0
    done = orc("init", str(tmp_path), "--name", "churn")
    assert (done.code, "exists already" in done.err) == (2, True)
