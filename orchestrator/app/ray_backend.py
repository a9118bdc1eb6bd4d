"""The executor on Ray: one Ray for all runs of this process, started or attached when the first worker is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from orchestrator.app.ray_worker import RayWorker
from orchestrator.app.warm import Place, WarmPool, shelf
from orchestrator.backends.bundles.pool import IDLE_S, Pool
from orchestrator.backends.bundles.ray_transport import RayTransport
from orchestrator.backends.bundles.transport import WorkerSettings
from orchestrator.backends.cluster import Cluster, ClusterSettings
from orchestrator.backends.standing import StandingCluster
from orchestrator.backends.standing_transport import StandingTransport


@cache
def shared_cluster(address: str) -> Cluster:
    """The Ray at an address; stays connected until the process ends."""
    return Cluster(ClusterSettings(address))


@cache
def shared_local_cluster(home: Path) -> StandingCluster:
    """The Ray on this machine: the standing one of a home, or else one that lives as long as this process."""
    return StandingCluster(home)


def open_ray(address: str | None, settings: WorkerSettings, leave_s: float | None) -> Pool:
    """Places for bundles on the cluster at an address, or on a local Ray."""
    worker, cluster = RayWorker(settings), _cluster(address, settings)
    place = Place("ray", (settings, id(cluster), leave_s))
    kept = shelf().take(place)
    if kept is not None:
        return kept
    return WarmPool(_transport(cluster, worker), IDLE_S, leave_s, lambda: cluster.alive, shelf(), place)


def _cluster(address: str | None, settings: WorkerSettings) -> Cluster:
    if address:
        return shared_cluster(address)
    local = shared_local_cluster(Path(settings.keys).parent)  # keys lie in the home, wherever artifacts are
    local.look()
    return local


def _transport(cluster: Cluster, worker: RayWorker) -> RayTransport:
    if isinstance(cluster, StandingCluster):
        return StandingTransport(cluster, worker)
    return RayTransport(cluster, worker)
