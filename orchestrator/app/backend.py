"""Which executor a run gets, and how it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config.settings import Settings
from orchestrator.graph.node import Graph
from orchestrator.ports.executor import Executor

if TYPE_CHECKING:
    from orchestrator.backends.bundles.transport import WorkerSettings


def choose_backend(settings: Settings, graph: Graph, on: str | None) -> str:
    """``local`` or ``ray``: what was asked for, else a cluster if one is named."""
    return on or ("ray" if settings.ray_address else "local")


def worker_settings(settings: Settings) -> WorkerSettings:
    """Where workers of this installation find things."""
    from orchestrator.backends.bundles.transport import WorkerSettings

    return WorkerSettings(
        settings.artifacts_url, str(settings.keys_dir), str(settings.logs_dir), str(settings.capsules_dir)
    )


def open_executor(settings: Settings, backend: str) -> Executor:
    """An executor of that name."""
    if backend == "ray":
        from orchestrator.app.ray_backend import open_ray

        return open_ray(settings.ray_address, worker_settings(settings))
    from orchestrator.backends.bundles.pipes import PipeTransport
    from orchestrator.backends.bundles.pool import Pool

    return Pool(PipeTransport(worker_settings(settings), settings.slots))
