"""Serving from the process that commands: on the cluster, or on this machine's Ray."""

from __future__ import annotations

import contextlib
import threading

from orchestrator.app.ray_backend import shared_cluster, shared_local_cluster
from orchestrator.backends.serve import RayServing
from orchestrator.config.settings import Settings
from orchestrator.errors import OrchestratorError


def serving(settings: Settings) -> RayServing:
    """What serves on the cluster, or on this machine's Ray, to which this process is connected then.

    Raises:
        ClusterUnreachable: it does not answer, or cannot be started.
    """
    if settings.ray_address:
        shared_cluster(settings.ray_address).connect()
    else:
        local = shared_local_cluster(settings.home)
        local.look()
        local.connect()
    return RayServing()


def start_ahead(settings: Settings) -> None:
    """Have Ray and Serve start while something else is done, because a step will need them."""

    def start() -> None:
        with contextlib.suppress(OrchestratorError):  # whoever needs it will say what is wrong
            serving(settings).start()

    threading.Thread(target=start, name="orc-serve-ahead", daemon=True).start()
