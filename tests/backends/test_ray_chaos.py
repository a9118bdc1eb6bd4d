"""Drivers and nodes that die: nothing of theirs stays, and what is lost is said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.backends.cluster import Cluster
from tests.backends.ray_fixtures import await_gone
from tests.backends.test_cluster import ROOT, lines, script

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_dead_driver_leaves_no_worker_on_the_cluster(local_ray: Cluster, how: signal.Signals) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "tests.backends.ray_scripts", "drive", address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
        assert driver.stdout is not None
        pids = json.loads(driver.stdout.readline())["pids"]
        driver.send_signal(how)
    await_gone(*pids)


def test_a_lost_node_is_noticed_and_what_needs_it_is_refused(tmp_path: Path) -> None:
    before, after = lines(script(tmp_path, "lose_node"))
    assert before["slots"] == 2
    assert before["alive"] is False
    assert float(str(before["took_s"])) < 15
    assert before["reason"]
    assert after["slots"] == 1
    assert "far=1" in str(after["refusal"])
