"""Everything this package uses of Ray that is not its public interface; the first place to look at when Ray changes.

Each function says why the public interface does not do.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class NodeGroup(NamedTuple):
    """A kind of node that an autoscaler may start."""

    name: str
    resources: dict[str, float]


def reread_config() -> None:
    """Let Ray read its ``RAY_*`` environment again: it reads it once, when it is imported."""
    from ray import _raylet

    config: Any = _raylet
    config.Config.initialize("")


def cluster_versions(address: str) -> dict[str, str]:
    """Python and Ray that a cluster was started with, empty if it does not say.

    ``ray.init`` compares them too, but only after it has connected, and in one string.
    """
    import ray._common.usage.usage_lib as usage
    from ray import _raylet

    private: Any = _raylet
    metadata = usage.get_cluster_metadata(private.GcsClient(address=address)) or {}
    return {part: metadata[f"{part}_version"] for part in ("python", "ray") if f"{part}_version" in metadata}


def autoscaler_groups() -> list[NodeGroup]:
    """Node groups that an autoscaler has announced and may still start; no public call tells them."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return []
    return [
        NodeGroup(group.name, {name: float(amount) for name, amount in group.resources.items()})
        for group in config.node_group_configs
        if group.max_count != 0
    ]


def mute() -> None:
    """Stop Ray from printing ``(raylet) A worker died …``, which ``log_to_driver=False`` does not."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def serve_address() -> str | None:
    """``http://host:port/root`` of a running Serve's proxy, None if it does not run; ``serve.status`` does not tell."""
    from ray.serve import context

    client: Any = context._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    options = client.http_config
    return f"http://{options.host}:{options.port}{options.root_path}"


class ServeStatus(NamedTuple):
    """An application of Serve: its status by name, what is said of it and of its deployments, and since when."""

    status: str
    message: str
    deployments: tuple[str, ...]
    deployed_at: float


def serve_statuses() -> dict[str, ServeStatus]:
    """All applications of Serve by name; empty if it does not run.

    ``serve.status`` tells the same, and pickles a class for each deployment each time, which takes ten times as long
    and must not happen in two threads at once.
    """
    import ray
    from ray.serve import context
    from ray.serve.generated import serve_pb2

    client: Any = context._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return {}
    messages: Any = serve_pb2
    told = ray.get(client._controller.list_serve_statuses.remote())
    return {
        one.name: ServeStatus(
            messages.ApplicationStatus.Name(one.app_status.status).removeprefix("APPLICATION_STATUS_"),
            one.app_status.message,
            tuple(deployment.message for deployment in one.deployment_statuses.deployment_status_infos),
            one.app_status.deployment_timestamp,
        )
        for one in map(messages.StatusOverview.FromString, told)
    }


def serve_user_config(app: str, deployment: str) -> Any:
    """``user_config`` that Serve keeps for a deployment, None if there is none; publicly only the dashboard tells."""
    import ray
    from ray.serve import context
    from ray.serve._private.common import DeploymentID

    client: Any = context._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    config = ray.get(client._controller.get_deployment_config.remote(DeploymentID(name=deployment, app_name=app)))
    return None if config is None else config.user_config


def serve_target(app: str, deployment: str) -> bytes:
    """What Serve is to make of a deployment, for ``put_back_target``; publicly it is not told. Empty if nothing."""
    import ray
    from ray.serve import context

    client: Any = context._get_global_client()
    try:
        target: bytes = ray.get(client._controller.get_deployment_info.remote(deployment, app))
    except KeyError:  # it has just been ended
        return b""
    return target


def put_back_target(app: str, deployment: str, target: bytes) -> None:
    """Have Serve make again of an application's only deployment what it was to be, under the same code version.

    Replicas that are like that already stay; ``serve.run`` would give them another code version and replace them.
    """
    import ray
    from ray.serve import context
    from ray.serve.generated import serve_pb2

    if not target:
        return
    messages: Any = serve_pb2
    was = messages.DeploymentRoute.FromString(target)
    arguments = messages.DeploymentArgs(
        deployment_name=deployment,
        deployment_config=was.deployment_info.deployment_config.SerializeToString(),
        replica_config=was.deployment_info.replica_config.SerializeToString(),
        deployer_job_id=ray.get_runtime_context().get_job_id(),
        route_prefix=was.route,
        ingress=True,
    )
    client: Any = context._get_global_client()
    application = messages.ApplicationArgs(external_scaler_enabled=False)
    told = {app: [arguments.SerializeToString()]}, {app: application.SerializeToString()}
    ray.get(client._controller.deploy_applications.remote(*told))


def own_handle(app: str, deployment: str) -> Any:
    """A handle for the event loop that runs here, which calls by gRPC, in one message each way.

    ``serve.get_deployment_handle`` gives the same handle to all who ask, also after it was shut down, and its calls
    cross to a thread of Serve's and back, as tasks of an actor with several messages each.
    """
    from ray.serve.handle import DeploymentHandle

    handle: Any = DeploymentHandle(deployment, app)
    handle._init(_run_router_in_separate_loop=False)
    return handle.options(_by_reference=False)


def has_replicas(handle: Any) -> bool:
    """True if a handle of Serve knows of a living replica; a call of one that knows none waits until there is one."""
    if not handle.is_initialized:
        return False
    router = handle._router._asyncio_router
    chooser = router._request_router
    return bool(router._running_replicas if chooser is None else chooser.curr_replicas)


def dead_replicas(app: str, deployment: str, since: float) -> int:
    """How many replicas of a deployment were started after a time and have ended since; ``serve.status`` forgets them.

    Serve remembers the last ten. While as many as are wanted have lived through it, the others were to be something
    else, which was given up, and do not count.
    """
    import ray
    from ray.serve import context

    client: Any = context._get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return 0
    try:
        details = ray.get(client._controller.get_deployment_details.remote(app, deployment))
    except KeyError:  # it has ended meanwhile
        return 0
    dead = [replica.start_time_s for replica in details.recent_dead_replicas if replica.start_time_s >= since]
    steady = [one for one in details.replicas if one.state == "RUNNING" and one.start_time_s < min(dead, default=since)]
    return 0 if len(steady) >= details.target_num_replicas else len(dead)
