"""Which executor a run gets, and how it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config.settings import Settings
from orchestrator.graph.node import Graph
from orchestrator.ports.executor import Executor

if TYPE_CHECKING:
    from orchestrator.backends.bundles.transport import WorkerSettings


def choose_backend(settings: Settings, graph: Graph, on: str | None) -> str:
    """Where a run's steps go: what was asked for, else by settings and graph.

    ``ray`` if a cluster is named, or some step needs one (then all steps go to a local Ray). ``auto`` otherwise: local
    worker processes, and a local Ray beside them if a ``@dynamic`` body calls a stage that needs it.
    """
    if on:
        return on
    needs_ray = any(not node.policy.resources.light or node.policy.uses for node in graph.nodes)
    return "ray" if settings.ray_address or needs_ray else "auto"


def worker_settings(settings: Settings) -> WorkerSettings:
    """Where workers of this installation find things."""
    from orchestrator.backends.bundles.transport import WorkerSettings

    return WorkerSettings(
        settings.artifacts_url, str(settings.keys_dir), str(settings.logs_dir), str(settings.capsules_dir)
    )


def open_executor(settings: Settings, backend: str) -> Executor:
    """An executor for a backend that ``choose_backend`` named."""
    if backend == "ray":
        return _open_ray(settings)
    from orchestrator.backends.split import SplitExecutor

    workers = _open_local(settings)
    return workers if backend == "local" else SplitExecutor(workers, lambda: _open_ray(settings))


def _open_local(settings: Settings) -> Executor:
    from orchestrator.app.warm import Place, WarmPool, shelf
    from orchestrator.backends.bundles.pipes import PipeTransport
    from orchestrator.backends.bundles.pool import KEEP_S

    place = Place("local", (worker_settings(settings), settings.slots, _leave_s(settings)))
    kept = shelf().take(place)
    if kept is not None:
        return kept
    transport = PipeTransport(worker_settings(settings), settings.slots)
    transport.warm()
    return WarmPool(transport, KEEP_S, _leave_s(settings), lambda: True, shelf(), place)


def _leave_s(settings: Settings) -> float | None:
    """For how long workers go on starting steps for a silent driver: half a lease, and for ever on a journal whose
    runs cannot be taken over while their driver lives."""
    return settings.lease_s / 2 if settings.journal_url.startswith("postgresql") else None


def _open_ray(settings: Settings) -> Executor:
    from orchestrator.app.ray_backend import open_ray

    return open_ray(settings.ray_address, worker_settings(settings), _leave_s(settings))
