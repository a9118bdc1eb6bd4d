"""Executors to test: each test of the conformance and fault suites runs on all that can stand it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.ray_worker import RayWorker
from orchestrator.artifacts import Signer, StoredValues, open_store
from orchestrator.backends import capsule
from orchestrator.backends.bundles.pipes import PipeTransport
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.ray_transport import RayTransport
from orchestrator.backends.bundles.transport import WorkerSettings
from orchestrator.backends.cluster import Cluster
from orchestrator.backends.inline import inline_executor
from orchestrator.graph.stage import Stage
from orchestrator.graph.trace import Traced
from orchestrator.ports.executor import Executor
from tests.backends.conversation import Conversation, stages_of

Opener = Callable[["Bench"], Executor]


@dataclass
class Bench:
    """Everything around an executor, in a directory of its own."""

    kind: str
    root: Path
    slots: int = 2
    step_log_bytes: int = 1 << 20
    stages: dict[str, Stage[..., Any]] = field(default_factory=dict)
    opened: list[Executor] = field(default_factory=list)
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        for name in ("keys", "logs", "capsules"):
            (self.root / name).mkdir(mode=0o700)
        self.store = open_store(self.root / "artifacts")
        self.values = StoredValues(self.store, Signer(self.root / "keys"))

    @property
    def logs(self) -> Path:
        """Where workers log."""
        return self.root / "logs"

    @property
    def settings(self) -> WorkerSettings:
        """What workers are told."""
        return WorkerSettings(
            str(self.root / "artifacts"), str(self.root / "keys"), str(self.logs), str(self.root / "capsules"),
            self.step_log_bytes,
        )  # fmt: skip

    def talk(self, traced: Traced, *more: Stage[..., Any]) -> Conversation:
        """Open an executor for a graph; ``more`` are stages that only bodies call."""
        self.stages = stages_of(traced, *more)
        executor = OPENERS[self.kind](self)
        self.opened.append(executor)
        return Conversation(executor, self.values, traced, capsule.build(self.stages, self.store))


def _open_inline(bench: Bench) -> Executor:
    return inline_executor(bench.values, bench.store, bench.stages)


def _open_pipes(bench: Bench) -> Executor:
    return Pool(PipeTransport(bench.settings, bench.slots))


def _open_ray(bench: Bench) -> Executor:
    assert bench.cluster is not None
    return Pool(RayTransport(bench.cluster, RayWorker(bench.settings)))


OPENERS: dict[str, Opener] = {"inline": _open_inline, "pipes": _open_pipes, "ray": _open_ray}
"""How to open each executor; another transport adds itself here and to the parameters below."""

PROCESSES = [pytest.param("pipes", id="pipes"), pytest.param("ray", id="ray")]
"""Executors whose workers are processes of their own: these survive faults that end a process."""

ALL = [pytest.param("inline", id="inline"), *PROCESSES]


@pytest.fixture(params=ALL)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench for every executor."""
    yield from _bench(request, tmp_path)


@pytest.fixture(params=PROCESSES)
def process_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A bench for every executor with processes of its own."""
    yield from _bench(request, tmp_path)


def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    if made.kind == "ray":
        made.cluster = request.getfixturevalue("local_ray")
    yield made
    for executor in made.opened:
        executor.close()
