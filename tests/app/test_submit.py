"""Submitted runs on a real cluster of two nodes: drivers, the client and the supervisor's node die, the run does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app.test_killed import ROOT, environment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE_S = 90.0


class Submitting:
    """A cluster in another process, and clients of it in others."""

    def __init__(self, root: Path) -> None:
        self.env = {**environment(root / "home"), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        self.host = subprocess.Popen(
            [sys.executable, "-m", "tests.app.cluster_host"],
            cwd=ROOT, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.env["ORC_RAY_ADDRESS"] = self._read()["address"]
        self.here = Installation(Settings.from_environment({"ORC_HOME": str(root / "home")}))

    def ask(self, what: str) -> dict[str, Any]:
        """Ask the host."""
        assert self.host.stdin is not None
        self.host.stdin.write(f"{what}\n")
        self.host.stdin.flush()
        return self._read()

    def client(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """``orc submit`` with arguments, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "submit", *arguments],
            cwd=ROOT, env={**self.env, **env}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def newest(self, pipeline: str, client: subprocess.Popen[str]) -> Run:
        """The run that a client creates."""
        until(lambda: bool(self.here.journal.runs(pipeline)) or client.poll() is not None)
        assert self.here.journal.runs(pipeline), client.communicate()
        return Runs(self.here).latest(pipeline)

    def is_empty(self) -> bool:
        """Nothing of ours is on the cluster."""
        return self.ask("use") == {"drivers": 0, "actors": 0}

    def close(self) -> None:
        """End the cluster."""
        self.host.communicate()
        self.here.close()

    def _read(self) -> dict[str, Any]:
        assert self.host.stdout is not None
        document: dict[str, Any] = json.loads(self.host.stdout.readline())
        return document


@pytest.fixture(scope="module")
def submitting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submitting]:
    """One cluster for all tests of this module."""
    made = Submitting(tmp_path_factory.mktemp("submit"))
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has to come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.1)


def drivers(run: Run) -> list[int]:
    """Process ids of the drivers that took the run over."""
    return [event.fact.pid for event in run.events() if isinstance(event.fact, f.DriverStarted)]


def test_a_run_whose_driver_is_killed_twice_finishes_and_its_client_sees_it(
    submitting: Submitting, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    client = submitting.client("tests.app.flows:slow", f"ledger={ledger}", "n=14", "seconds=0.5", "--json")
    run = submitting.newest("slow", client)
    for kills in (1, 2):
        until(lambda kills=kills: len(drivers(run)) >= kills and len(read_ledger(ledger)) >= 4 * kills)  # type: ignore[misc]
        os.kill(drivers(run)[-1], signal.SIGKILL)
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    end = json.loads(out.splitlines()[-1])
    assert (end["state"], end["result"]) == ("succeeded", [0.5] * 14)
    assert len(drivers(run)) == 3
    assert check_run(submitting.here.journal, run.id, read_ledger(ledger)) == []
    until(submitting.is_empty)


def test_a_run_outlives_its_client_and_the_node_of_its_supervisor(submitting: Submitting, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    client = submitting.client("tests.app.flows:slow", f"ledger={ledger}", "n=12", "seconds=0.5")
    run = submitting.newest("slow", client)
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
    until(lambda: len(read_ledger(ledger)) >= 3)
    submitting.ask("lose")
    run.wait(PATIENCE_S)
    assert run.result() == [0.5] * 12
    assert len(drivers(run)) >= 2
    assert check_run(submitting.here.journal, run.id, read_ledger(ledger)) == []
    until(submitting.is_empty)


def test_artifacts_that_the_nodes_do_not_see_are_refused_before_anything_is_created(submitting: Submitting) -> None:
    client = submitting.client("tests.app.flows:sums", "--detach", ORC_ARTIFACTS="memory://of-the-client")
    out, err = client.communicate(timeout=PATIENCE_S)
    assert (client.returncode, out) == (2, "")
    assert "does not see the artifacts in memory://of-the-client" in err
    assert "node " in err
    assert "ORC_ARTIFACTS" in err
    assert submitting.here.journal.runs("sums") == []
    until(submitting.is_empty)
