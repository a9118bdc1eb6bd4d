"""What a run costs in work, counted where it passes: facts, transactions, artifacts, fsyncs, frames, bundles, Ray.

Everything counted is real: the journal, the artifact store, the transport and the pool are the ones that every run
has, each with a counter in front. Only what this process does is counted, not what its workers do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any

import pytest

from orchestrator.app.backend import worker_settings
from orchestrator.app.installation import Installation
from orchestrator.app.ray_worker import RayWorker
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.artifacts.store import ArtifactStore
from orchestrator.backends.bundles.pipes import PipeTransport
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.ray_transport import RayTransport
from orchestrator.backends.bundles.transport import Channel, Death, Sink, Transport, WorkerNeeds
from orchestrator.backends.cluster import Cluster
from orchestrator.graph import fact as f
from orchestrator.graph.pipeline import Pipeline, RunOptions
from orchestrator.ports import frames
from orchestrator.ports.executor import Bundle, Executor
from orchestrator.ports.journal import Journal

SIGNS_OF_LIFE = "Alive"
"""Frames that come each second however much work is done: not counted."""


@dataclass
class Work:
    """What one run cost this process.

    Attributes:
        steps: Steps of the run that have an outcome.
        facts, to_workers, from_workers, ray: Counts by kind; Ray's are actors, their methods, and tasks.
        transactions: Writes of the journal: each is one commit.
        puts: Artifacts stored.
        fsyncs: Of files and folders that Python writes (SQLite's own are one or more a transaction).
    """

    steps: int = 0
    transactions: int = 0
    puts: int = 0
    fsyncs: int = 0
    bundles: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    to_workers: Counter[str] = field(default_factory=Counter)
    from_workers: Counter[str] = field(default_factory=Counter)
    ray: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line a kind, each with its share of a step."""
        counts = {
            "facts": self.facts.total(), "transactions": self.transactions, "puts": self.puts, "fsyncs": self.fsyncs,
            "bundles": self.bundles, "frames to workers": self.to_workers.total(),
            "frames from workers": self.from_workers.total(), "Ray calls": self.ray.total(),
        }  # fmt: skip
        lines = [f"{name}: {count} ({count / self.steps:.4f} a step)" for name, count in counts.items()]
        return "\n".join(
            [
                f"{self.steps} steps",
                *lines,
                *(repr(kinds) for kinds in (self.facts, self.to_workers, self.from_workers)),
            ]
        )


class Accountant:
    """Runs pipelines and says what each run cost.

    Args:
        patch: Puts counters in front of ``os.fsync`` and of Ray's calls until the test ends.
        cluster: The Ray for runs on Ray.
    """

    def __init__(self, patch: pytest.MonkeyPatch, cluster: Cluster | None = None) -> None:
        self.work = Work()
        self._cluster = cluster
        self.installation = _CountedInstallation(self)
        patch.setattr(os, "fsync", self._counted(os.fsync, "fsyncs"))
        if cluster is not None:
            from ray.actor import ActorClass, ActorMethod
            from ray.remote_function import RemoteFunction

            for kind in (ActorClass, ActorMethod, RemoteFunction):
                patch.setattr(kind, "_remote", self._ray_call(kind.__name__, kind._remote))

    def run(self, pipeline: Pipeline[..., Any], on: str = "local", **params: Any) -> tuple[Work, Run]:
        """A run to its end, by a driver that is new but for the open stores."""
        self.work = Work()
        runner = Runner(self.installation, executors=self._executor)
        run = runner.run(pipeline, params, RunOptions(on=on))  # type: ignore[arg-type]
        for event in run.events():
            self.work.facts[type(event.fact).__name__] += 1
            for fact in f.apart(event.fact):
                self.work.steps += fact.stop - fact.start if isinstance(fact, f.StepsCompleted) else 0
        return self.work, run

    def _executor(self, backend: str) -> Executor:
        settings = worker_settings(self.installation.settings)
        if backend == "ray":
            assert self._cluster is not None
            return _CountedPool(self, RayTransport(self._cluster, RayWorker(settings)))
        return _CountedPool(self, PipeTransport(settings, self.installation.settings.slots))

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(call)
        def counting(*args: Any, **kwargs: Any) -> Any:
            setattr(self.work, name, getattr(self.work, name) + 1)
            return call(*args, **kwargs)

        return counting

    def _ray_call(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counting(*args: Any, **kwargs: Any) -> Any:
            self.work.ray[kind] += 1
            return call(*args, **kwargs)

        return counting


class _CountedInstallation(Installation):
    def __init__(self, accountant: Accountant) -> None:
        super().__init__()
        self._accountant = accountant

    @cached_property
    def journal(self) -> Journal:
        """The journal; each write is a transaction."""
        journal: Any = super().journal
        for write in ("create", "begin", "append", "save_snapshot"):
            setattr(journal, write, self._accountant._counted(getattr(journal, write), "transactions"))
        return journal  # type: ignore[no-any-return]

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        store: Any = super().artifacts
        store.put = self._accountant._counted(store.put, "puts")
        return store  # type: ignore[no-any-return]


class _CountedPool(Pool):
    def __init__(self, accountant: Accountant, transport: Transport) -> None:
        super().__init__(_CountedTransport(accountant, transport))
        self._accountant = accountant

    def submit(self, bundle: Bundle) -> None:
        """Count it."""
        self._accountant.work.bundles += 1
        super().submit(bundle)


class _CountedTransport:
    """A transport whose frames are counted on their way, in both directions."""

    def __init__(self, accountant: Accountant, inner: Transport) -> None:
        self._accountant = accountant
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> Channel:
        """Start a worker with counters at both ends of its channel."""

        def heard(worker: str, said: bytes | Death) -> None:
            if isinstance(said, bytes):
                kind = type(frames.decode_from_worker(said)).__name__
                self._accountant.work.from_workers[kind] += kind != SIGNS_OF_LIFE
            sink(worker, said)

        channel = self._inner.start(name, needs, heard)
        send = channel.send

        def counted(data: bytes) -> None:
            self._accountant.work.to_workers[type(frames.decode_to_worker(data)).__name__] += 1
            send(data)

        channel.send = counted  # type: ignore[method-assign]
        return channel
