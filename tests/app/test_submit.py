"""Submitted runs on a real cluster of two nodes: drivers, client, supervisor and its node die, the runs do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runs import Runs
from orchestrator.backends.jobs import JobClient
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run, read_ledger
from tests.app.gated_flow import FREE
from tests.app.test_killed import ROOT, environment
from tests.backends.ray_fixtures import await_gone

pytestmark = [pytest.mark.ray, pytest.mark.own_ray, pytest.mark.slow, pytest.mark.timeout(950)]

PATIENCE_S = 200.0
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


class Submitting:
    """A cluster in another process, and clients of it in others."""

    def __init__(self, root: Path) -> None:
        self.env = {**environment(root / "home"), **RAY}
        self.clients: list[subprocess.Popen[str]] = []
        self.known: set[str] = set()
        self.host = subprocess.Popen(
            [sys.executable, "-m", "tests.app.cluster_host"],
            cwd=ROOT, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        addresses = self._read()
        self.env["ORC_RAY_ADDRESS"], self.dashboard = addresses["address"], addresses["dashboard"]
        self.here = Installation(Settings.from_environment({"ORC_HOME": str(root / "home")}))

    def ask(self, what: str) -> dict[str, Any]:
        """Ask the host."""
        assert self.host.stdin is not None
        self.host.stdin.write(f"{what}\n")
        self.host.stdin.flush()
        return self._read()

    def client(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """``orc submit`` with arguments, in a process group of its own."""
        client = subprocess.Popen(
            [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "submit", *arguments],
            cwd=ROOT, env={**self.env, **env}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.clients.append(client)
        return client

    def jobs(self) -> JobClient:
        """What asks the cluster about its jobs."""
        return JobClient(self.dashboard)

    def created(self, client: subprocess.Popen[str]) -> Run:
        """The run that a client creates."""
        until(lambda: bool(self.unknown()) or client.poll() is not None, self.story)
        assert self.unknown(), client.communicate()
        (run,) = self.unknown()
        self.known.add(run)
        return Runs(self.here)[run]

    def unknown(self) -> set[str]:
        """Runs that no test has asked for yet."""
        return {row.id for row in self.here.journal.runs()} - self.known

    def nothing_is_left(self, *pids: int) -> None:
        """Wait until no actor is on the cluster any more (Ray's own dashboard counts as none), and no such process."""
        until(lambda: self.ask("use")["actors"] == 0, self.story)
        await_gone(*pids)

    def story(self) -> str:
        """What is known of the runs, for whoever has to find out why something did not come."""
        client = self.jobs()
        jobs = "".join(f"\n{name} {client.state(name)}\n{client.log(name)}" for name in sorted(client.names()))
        facts = [f"{run} {event}" for run in sorted(self.known) for event in Runs(self.here)[run].events()]
        return "\n".join([jobs, *facts, f"on the cluster: {self.ask('use')}"])

    def close(self) -> None:
        """End the cluster, and clients that a failed test has left."""
        for client in self.clients:
            if client.poll() is None:
                os.killpg(client.pid, signal.SIGKILL)
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


def until(condition: Callable[[], bool], story: Callable[[], str]) -> None:
    """Wait for something that has to come; ``story`` tells what came instead."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, story()
        time.sleep(0.1)


def drivers(run: Run) -> list[int]:
    """Process ids of the drivers that took the run over."""
    return [event.fact.pid for event in run.events() if isinstance(event.fact, f.DriverStarted)]


@dataclass
class Evidence:
    """What a run of ``gated`` leaves, and what lets it end."""

    root: Path
    story: Callable[[], str]

    @property
    def arguments(self) -> tuple[str, ...]:
        """For ``orc submit``."""
        return "tests.app.gated_flow:gated", f"ledger={self.ledger}", f"gate={self.gate}"

    @property
    def ledger(self) -> Path:
        """Where steps note that they began."""
        return self.root / "ledger"

    @property
    def gate(self) -> Path:
        """The file that the last steps wait for."""
        return self.root / "gate"

    def driver(self, run: Run, number: int) -> int:
        """Process id of a driver, once steps have begun under it and the first ones are done."""
        until(lambda: len(drivers(run)) >= number and self._began_under(run, number), self.story)
        return drivers(run)[number - 1]

    def _began_under(self, run: Run, number: int) -> bool:
        since = [event.at for event in run.events() if isinstance(event.fact, f.DriverStarted)][number - 1]
        return run.fold().nodes["pass_gate"].settled >= FREE and any(
            line.at > since for line in read_ledger(self.ledger)
        )


@pytest.fixture
def evidence(tmp_path: Path, submitting: Submitting) -> Evidence:
    """Evidence of one run."""
    return Evidence(tmp_path, submitting.story)


def test_a_run_whose_driver_is_killed_twice_and_then_its_supervisor_finishes_and_its_client_sees_it(
    submitting: Submitting, evidence: Evidence
) -> None:
    client = submitting.client(*evidence.arguments, "--json")
    run = submitting.created(client)
    os.kill(evidence.driver(run, 1), signal.SIGKILL)
    os.kill(evidence.driver(run, 2), signal.SIGKILL)
    os.kill(psutil.Process(evidence.driver(run, 3)).ppid(), signal.SIGKILL)
    evidence.driver(run, 4)
    evidence.gate.touch()
    out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    end = json.loads(out.splitlines()[-1])
    assert (end["state"], end["result"]) == ("succeeded", list(range(10)))
    assert check_run(submitting.here.journal, run.id, read_ledger(evidence.ledger)) == []
    submitting.nothing_is_left(*drivers(run))


def test_a_run_outlives_its_client_and_its_supervisors_node_and_is_stopped_and_sent_again(
    submitting: Submitting, evidence: Evidence
) -> None:
    client = submitting.client(*evidence.arguments)
    run = submitting.created(client)
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
    evidence.driver(run, 1)
    submitting.ask("lose")
    evidence.driver(run, 2)
    submitting.jobs().stop(f"run-{run.id}-1")
    submitting.nothing_is_left(*drivers(run))
    assert (run.state, run.driver) == ("running", None)
    evidence.gate.touch()
    again = submitting.client("--resume", run.id, "--json", ORC_RAY_ADDRESS=submitting.dashboard)
    out, err = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["result"] == list(range(10))
    assert check_run(submitting.here.journal, run.id, read_ledger(evidence.ledger)) == []
    submitting.nothing_is_left(*drivers(run))


def test_artifacts_that_the_nodes_do_not_see_are_refused_before_anything_is_created(submitting: Submitting) -> None:
    client = submitting.client("tests.app.flows:sums", "--detach", ORC_ARTIFACTS="memory://of-the-client")
    out, err = client.communicate(timeout=PATIENCE_S)
    assert (client.returncode, out) == (2, "")
    assert "does not see the artifacts in memory://of-the-client" in err
    assert "node " in err
    assert "ORC_ARTIFACTS" in err
    assert submitting.here.journal.runs("sums") == []
    submitting.nothing_is_left()
