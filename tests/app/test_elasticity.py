"""One CPU for everything: no deadlock, and the CPU is Ray's again as soon as a run has ended.

``test_ray_runs.py`` has two runs and a Ray Data stage on two CPUs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.test_killed import ROOT, environment

pytestmark = [pytest.mark.ray, pytest.mark.timeout(950)]


def test_every_kind_of_step_finishes_on_one_cpu_and_gives_it_back(tmp_path: Path) -> None:
    env = environment(tmp_path / "home") | {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "ray" / "token")}
    command = [sys.executable, "-m", "tests.app.one_cpu"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["results"] == [
        {
            "light": list(range(1, 201)),
            "mixed": [13 + 2 * 13, 14 + 2 * 14],
            "whole": 101,
            "data": 201,
        },
        list(range(1, 301)),
    ]
    assert said["free"] == [1.0, 1.0]  # nothing is held although the workers are there for the next run
    assert said["warm"]
