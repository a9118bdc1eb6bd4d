"""What the keeper of a standing Ray and whoever asks about it need of Ray's insides; as ``ray_private``, for a head.

No public call says who is attached without attaching, binds a head to the loopback interface, or has worker
processes started before somebody needs them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

KEEP_ALIVE_S = 30 * 24 * 3600
"""How long a worker process that was started ahead waits for work."""

_CALL_S = 10.0
_NOBODY = b"\xff"
"""The job of a worker that belongs to no driver is written with these bytes."""

_log = logging.getLogger(__name__)


class ClusterUse(NamedTuple):
    """Who uses a cluster at the moment, and how much of it.

    Attributes:
        drivers: Process ids of attached drivers.
        actors: Living actors of any driver, detached ones included.
        total, available: Amounts by Ray's resource names.
    """

    drivers: frozenset[int]
    actors: int
    total: dict[str, float]
    available: dict[str, float]


class Packing(NamedTuple):
    """What a head knows of its nodes.

    Attributes:
        state: Message ``ClusterResourceState``; ``actors`` are messages ``ActorTableData``.
        hosts: Host of each living node, by the node's id in hexadecimal.
        drivers: How many are attached.
    """

    state: Any
    actors: list[Any]
    hosts: dict[str, str]
    drivers: int


class HeadView:
    """Asks the head of a cluster, without being a driver of it.

    Args:
        address: ``host:port`` of the head.
    """

    def __init__(self, address: str) -> None:
        from ray import _raylet
        from ray._private.state import GlobalState

        private: Any = _raylet
        self._address = address
        self._state = GlobalState()
        self._state._initialize_global_state(
            private.GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
        )

    def use(self) -> ClusterUse:
        """Who is attached, and what they hold."""
        jobs = self._state.job_table()
        return ClusterUse(
            frozenset(job["DriverPid"] for job in jobs if not job["IsDead"]),
            len(self._state.actor_table(None, actor_state_name="ALIVE")),
            dict(self._state.cluster_resources()),
            dict(self._state.available_resources()),
        )

    def packing(self) -> Packing:
        """Nodes with what is free on each, requests that wait, and living or waiting actors, as Ray writes them."""
        from ray import _raylet
        from ray.core.generated import autoscaler_pb2, gcs_pb2

        private: Any = _raylet
        resources: Any = autoscaler_pb2
        control: Any = gcs_pb2
        reply = resources.GetClusterResourceStateReply()
        reply.ParseFromString(private.GcsClient(address=self._address).get_cluster_resource_state())
        accessor = self._state._connect_and_get_accessor()
        dead = control.ActorTableData.ActorState.Value("DEAD")
        actors = map(control.ActorTableData.FromString, accessor.get_actor_table(None, None))
        hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in self._state.node_table() if node["Alive"]}
        drivers = sum(not job["IsDead"] for job in self._state.job_table())
        return Packing(reply.cluster_resource_state, [one for one in actors if one.state != dead], hosts, drivers)

    def close(self) -> None:
        """Hang up."""
        self._state.disconnect()


class WorkerStock:
    """Worker processes of this node that belong to no driver yet: whoever attaches next gets them at once.

    Ray starts some with the head, but none in the place of those that have gone with their driver.
    """

    def __init__(self) -> None:
        import ray
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import node_manager_pb2_grpc

        node = next(node for node in ray.nodes() if node["Alive"])
        channel = init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
        self._raylet: Any = node_manager_pb2_grpc.NodeManagerServiceStub(channel)

    def top_up(self, wanted: int) -> None:
        """See to it that so many are there or on their way; none are started if the node is too busy to answer."""
        from ray._private import grpc_utils

        failed: Any = vars(grpc_utils)["grpc"].RpcError
        try:
            missing = wanted - self._count()
            if missing > 0:
                self._start(missing)
        except failed as error:
            _log.warning("no workers were started ahead: %s", error)

    def _count(self) -> int:
        common, messages, _ = _protocol()
        request = messages.GetNodeStatsRequest(include_memory_info=False)
        workers = self._raylet.GetNodeStats(request, timeout=_CALL_S).core_workers_stats
        return sum(one.worker_type == common.WORKER and not one.job_id.strip(_NOBODY) for one in workers)

    def _start(self, count: int) -> None:
        common, messages, environment = _protocol()
        request = messages.PrestartWorkersRequest(
            language=common.PYTHON,
            num_workers=count,
            keep_alive_duration_secs=KEEP_ALIVE_S,
            runtime_env_info=environment.RuntimeEnvInfo(serialized_runtime_env="{}"),
        )
        self._raylet.PrestartWorkers(request, timeout=_CALL_S)


def _protocol() -> tuple[Any, Any, Any]:
    """Modules of Ray's messages: common ones, those to a node, and those about environments."""
    from ray.core.generated import common_pb2, node_manager_pb2, runtime_environment_pb2

    return common_pb2, node_manager_pb2, runtime_environment_pb2


@contextmanager
def on_loopback() -> Iterator[None]:
    """Meanwhile ``ray.init`` takes 127.0.0.1 as it is: it would put an address that others can reach in its place.

    A head with that address, and all its workers, listen on the loopback interface only.
    """
    from ray._private import services

    changed = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = changed


@contextmanager
def without_extra_serializers() -> Iterator[None]:
    """Meanwhile Ray makes its serializers without those for pydantic, starlette and pyarrow, unless one is loaded.

    Loading all three takes longer than attaching and starting an actor, and nothing of theirs goes through Ray here.
    """
    from ray.util import serialization_addons

    if any(name in sys.modules for name in ("starlette", "pyarrow")):
        yield
        return
    changed = serialization_addons.apply
    serialization_addons.apply = lambda serialization_context: None
    try:
        yield
    finally:
        serialization_addons.apply = changed


def make_serializers() -> None:
    """Make the serializers of this connection now; Ray does when they are first needed."""
    from ray._private import worker

    worker.global_worker.get_serialization_context()


def session_directory() -> str:
    """Where the Ray that this process is connected to keeps its logs."""
    return str(_node().get_session_dir_path())


def lost_processes() -> list[str]:
    """Parts of the Ray which this process started that have ended."""
    return [str(kind) for kind, _ in _node().dead_processes()]


def _node() -> Any:
    from ray._private import worker

    return worker._global_node
