"""Releases on real Serve whose controller is killed at its transitions: a step's worker, or the driver of the run.

A release is a run of a pipeline here, driven by a process of its own, and what is killed is killed as the router is
seen to get somewhere. Another process resumes the run, which has to come to the end that it would have come to.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from benchmarks.place import CHECKOUT
from orchestrator import pipeline, when
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.ports.serving import Serving
from orchestrator.ports.traffic import Router, Traffic
from orchestrator.serving import Canary, Release, without_another
from stages.deployment import Replay, model_to_payload, release, replay
from stages.deployment.serving import PREDICTOR
from stages.features import Features, Number
from stages.training import Model

APP, FIRST = "killed", "first"
CANARY = Canary(steps=(30, 100), bake="1s", min_samples=20, patience="3m", compare=("errors", "broken"))
ROWS = pa.table({"x": [0.1 * number for number in range(100)], "y": [number % 2 for number in range(100)]})

Victim = Literal["driver", "worker"]
Moment = Literal["deployed", "first step", "last step", "decided"]
MOMENTS: Mapping[str, tuple[Moment, ...]] = {
    "good": ("deployed", "first step", "last step", "decided"),
    "nan": ("deployed", "first step", "decided"),
}
"""Of releases of a good candidate and of one that answers NaN."""

_LONGEST_S = 300.0


def model(number: float, manner: str = "good") -> Model:
    """A logistic regression of one number, or one that answers nothing but NaN; another number is another model."""
    text = json.dumps({"coefficients": [number if manner == "good" else float("nan")], "intercept": number})
    return Model("logistic", text, Features([], [Number("x")], [], ["x"], []), "y")


@pipeline
def going(number: float, manner: str = "good") -> Any:
    """Release a model; one that answers NaN would not get through the check before a release."""
    forced = "" if manner == "good" else "its router is to find that out"
    sent = release(model(number, manner), APP, canary=CANARY, forced=forced)
    return when(sent.passed, then=lambda: sent, otherwise=lambda: sent)


@dataclass
class Killings:
    """An application whose releases are killed, on the Ray that this process is connected to.

    Attributes:
        home: ``ORC_HOME`` of the runs.
        address: ``host:port`` of the Ray.
    """

    serving: Serving
    router: Router
    home: Path
    address: str
    url: str = ""
    _released: int = 0
    _base: int = 0
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._here = Installation(Settings.from_environment({"ORC_HOME": str(self.home)}).create_home())
        self.serving.deploy(APP, FIRST, PREDICTOR, model_to_payload(model(1.0)))
        self.url = without_another(self.router, "r0", APP, FIRST, CANARY, None, time.time()).url

    def asked(self, releases: int, during: Callable[[], None]) -> Replay:
        """What clients see while something happens in which so many releases end."""
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(
                replay.function, self.url, ROWS, "y", releases=releases, pause_s=0.1, limit_s=_LONGEST_S
            )
            during()
            return asking.result()

    def killed(self, manner: str, deaths: Mapping[Moment, Victim]) -> Release:
        """Release a candidate, kill what carries the release out at each of these moments, and let another go on."""
        driver = self.begin(manner)
        for moment, victim in deaths.items():
            self.await_moment(moment, driver)
            if victim == "worker":
                os.kill(self._worker(), signal.SIGKILL)
                continue
            driver.kill()
            driver.wait()
            driver = self.orc("resume", self.run.id)
        if driver.wait(_LONGEST_S) not in (0, 3):
            raise RuntimeError(f"the run of a release that was killed at {dict(deaths)} ended with {driver.returncode}")
        record: Release = self.run.result()
        return record

    def begin(self, manner: str) -> subprocess.Popen[bytes]:
        """Begin the release of another candidate in a process of its own."""
        self._released += 1
        self._base = self._traffic().generation
        self._known = {served.endpoint.version for served in self.serving.status(APP)}
        return self.orc("run", "benchmarks.killed:going", f"number={1 + self._released}", f"manner={manner}")

    def await_moment(self, moment: Moment, driver: subprocess.Popen[bytes]) -> None:
        """Wait until the router gets there."""
        deadline = time.monotonic() + _LONGEST_S
        while not self._is_at(moment):
            if driver.poll() not in (None, 0, 3) or time.monotonic() > deadline:
                raise RuntimeError(f"the release never came to be {moment!r}: exit code {driver.poll()}")
            time.sleep(0.005)

    def orc(self, *arguments: str) -> subprocess.Popen[bytes]:
        """``orc`` with some arguments; what it says goes to a file in its home."""
        command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *arguments]
        with (self.home / "said").open("ab") as said:
            place = {"ORC_HOME": str(self.home), "ORC_RAY_ADDRESS": self.address, "PYTHONPATH": str(CHECKOUT)}
            return subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, **place}, stdout=said, stderr=said)

    @property
    def run(self) -> Run:
        """The run of the last release."""
        return Run(self._here, self._here.journal.runs()[0].id)

    @property
    def weights(self) -> dict[str, float]:
        """What the router does."""
        return dict(self._traffic().weights)

    def _is_at(self, moment: Moment) -> bool:
        if moment == "deployed":
            return any(served.endpoint.version not in self._known for served in self.serving.status(APP))
        traffic = self._traffic()
        if traffic.generation == self._base:
            return False
        if moment == "decided":
            return traffic.phase != "baking"
        return traffic.phase == "baking" and (len(traffic.weights) == 1) == (moment == "last step")

    def _worker(self) -> int:
        """Process of the worker that carries the release out."""
        pids: dict[str, int] = {}
        worker = ""
        for recorded in self.run.events():
            for fact in f.apart(recorded.fact):
                if isinstance(fact, f.WorkerStarted):
                    pids[fact.worker] = fact.pid
                elif isinstance(fact, f.StepsStarted) and fact.node == "release":
                    worker = fact.worker  # it is known before it says hello
        return pids[worker]

    def _traffic(self) -> Traffic:
        traffic = self.router.traffic(APP)
        assert traffic is not None
        return traffic


def measured(repeats: int, home: Path, address: str) -> Iterator[dict[str, Any]]:
    """Kill a driver and a worker so often at each moment, one release after the other."""
    from orchestrator.backends.serve import RayServing
    from orchestrator.backends.serve_router import RayRouter

    serving = RayServing()
    try:
        ground = Killings(serving, RayRouter(), home, address)
        for _ in range(repeats):
            for manner, moments in MOMENTS.items():
                for moment, victim in product(moments, get_args(Victim)):
                    yield _row(ground, manner, moment, victim)
    finally:
        serving.shutdown()


def _row(ground: Killings, manner: str, moment: Moment, victim: Victim) -> dict[str, Any]:
    ended: list[Release] = []
    asked = ground.asked(1, lambda: ended.append(ground.killed(manner, {moment: victim})))
    (record,) = ended
    return {
        "manner": manner, "killed": victim, "at": moment, "outcome": record.outcome, "cause": record.cause,
        "weights": ground.weights == {record.version: 100.0}, "requests": asked.requests, "failed": asked.failures,
        "first_failure": asked.first_failure,
    }  # fmt: skip


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table for people."""
    lines = [
        "| candidate | killed | when the router was seen at | outcome | cause | requests | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['manner']} | {row['killed']} | {row['at']} | {row['outcome'].replace('_', ' ')} | {row['cause']} | "
        f"{row['requests']:,} | {row['failed']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
