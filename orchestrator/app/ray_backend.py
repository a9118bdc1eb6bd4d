"""The executor on Ray: one Ray for all runs of this process, started or attached when the first worker is needed."""

from __future__ import annotations

from functools import cache

from orchestrator.app.ray_worker import RayWorker
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.ray_transport import RayTransport
from orchestrator.backends.bundles.transport import WorkerSettings
from orchestrator.backends.cluster import Cluster, ClusterSettings


@cache
def shared_cluster(address: str) -> Cluster:
    """The Ray at an address, or the local one for an empty address; stays up until the process ends."""
    return Cluster(ClusterSettings(address))


def open_ray(address: str | None, settings: WorkerSettings) -> Pool:
    """Places for bundles on the cluster at an address, or on a local Ray."""
    return Pool(RayTransport(shared_cluster(address or ""), RayWorker(settings)))
