"""Ray Jobs: sending a command to a cluster, and what the command needs of Ray once it is there.

``JobClient`` speaks HTTP with the head's dashboard, so a client needs to be no node of the cluster. The functions
below it run inside the job: they look at every node, and keep an actor alive that outlasts the job.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from orchestrator.backends.cluster import import_ray, parse_address, within
from orchestrator.backends.ray_token import set_auth_mode, token_source
from orchestrator.errors import BackendError, ClusterUnreachable

T = TypeVar("T")

NAMESPACE = "orchestrator"
"""Where actors of ours that have names are found."""

CALL_S = 20.0
UPLOAD_S = 120.0
"""Longest time to wait for an answer of the dashboard, and for a submission, which may bring the engine along."""

_PROBE_S = 5.0
_PAUSE_S = 0.5
_NO_AGENT = "No available agent"
_YOUNG_S = 60.0
"""How long a cluster that has just started may say that its nodes take no jobs yet."""

_ANYTHING = 1
"""Bytes of memory an actor asks for, so that it asks for anything: Ray places one that needs nothing at random, also
where a node was named that it should prefer."""

_OVERRIDES = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_ENGINE = Path(__file__).resolve().parents[1]
_BOUND_TO_A_WORKER = ("RAY_JOB_ID", "RAY_RAYLET_PID", "RAY_OVERRIDE_NODE_ID_FOR_TESTING", "RAY_JOB_CONFIG_JSON_ENV_VAR")


class JobState(NamedTuple):
    """What Ray says of a job: its status in lower case, and why it ended if it failed."""

    status: str
    message: str

    @property
    def ended(self) -> bool:
        """True if nothing of the job's entrypoint is left."""
        return self.status in ("succeeded", "failed", "stopped")


class JobClient:
    """Submits jobs to one cluster and asks about them.

    Args:
        address: ``host:port`` of the head, or the address of its dashboard, ``http://host:port``.

    Raises:
        ConfigError: the address is neither.
        ClusterUnreachable: nothing answers there, or it takes no jobs, or wants a token that is not there.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        url = urlsplit(address)
        dashboard = url.scheme in ("http", "https") and bool(url.hostname)
        host, port = (url.hostname or "", url.port or 80) if dashboard else parse_address(address)
        _probe(address, host, port)
        import_ray()
        self._client = self._connect(address if dashboard else f"{host}:{port}")

    def submit(self, job: str, entrypoint: str, env: Mapping[str, str]) -> None:
        """Submit a job that brings the engine of this process along.

        Args:
            job: A name that no job of the cluster had before.
            entrypoint: Command line; the job and what it starts on the cluster import this process's engine.
            env: Environment variables; anybody who sees the cluster can read them.

        Raises:
            ClusterUnreachable: the cluster does not take it.
        """
        runtime_env = {"py_modules": [str(_ENGINE)], "env_vars": dict(env)}
        call = partial(self._client.submit_job, submission_id=job, entrypoint=entrypoint, runtime_env=runtime_env)
        deadline = time.monotonic() + _YOUNG_S
        while True:
            try:
                self._ask(call, UPLOAD_S)
                return
            except ClusterUnreachable as error:
                if _NO_AGENT not in error.message:
                    raise
                if time.monotonic() > deadline:
                    raise ClusterUnreachable(
                        f"the Ray cluster at {self.address} takes no jobs: the agent of its head is not up; see "
                        "dashboard_agent.log in the head's /tmp/ray/session_latest/logs (is its port, 52365, taken?)"
                    ) from error
                time.sleep(_PAUSE_S)

    def names(self) -> set[str]:
        """Names of all jobs that the cluster remembers."""
        return {job.submission_id for job in self._ask(self._client.list_jobs) if job.submission_id}

    def state(self, job: str) -> JobState:
        """How a job is doing."""
        info = self._ask(lambda: self._client.get_job_info(job))
        return JobState(str(info.status.value).lower(), info.message or "")

    def log(self, job: str) -> str:
        """All that a job has written so far."""
        return str(self._ask(lambda: self._client.get_job_logs(job)))

    def stop(self, job: str) -> None:
        """Ask a job to end; it has three seconds for it."""
        self._ask(lambda: self._client.stop_job(job))

    def _connect(self, address: str) -> Any:
        try:
            return self._ask(lambda: _job_client(address))
        except ClusterUnreachable as error:
            if not error.details.get("wants_token") or token_source() is None or "RAY_AUTH_MODE" in os.environ:
                raise
            set_auth_mode("token")
            return self._ask(lambda: _job_client(address))

    def _ask(self, call: Callable[[], T], timeout_s: float = CALL_S) -> T:
        late = ClusterUnreachable(
            f"the dashboard of the Ray cluster at {self.address} did not answer within {timeout_s:g} s; jobs need one: "
            "start the head with ray[default] and --include-dashboard=true"
        )
        try:
            return within(timeout_s, call, late)
        except BackendError as error:
            raise ClusterUnreachable(f"the Ray cluster at {self.address}: {error.message}", **error.details) from error


def _probe(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), _PROBE_S).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at {address}: {error}; correct ORC_RAY_ADDRESS: host:port of the head, or the "
            "address of its dashboard, e.g. http://head:8265",
            address=address,
        ) from error


def _job_client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    for part in ("dashboard_sdk", "job.sdk"):  # each turns its own messages on
        logging.getLogger(f"ray.dashboard.modules.{part}").setLevel(logging.ERROR)
    with _without_overrides():
        return JobSubmissionClient(address)


@contextmanager
def _without_overrides() -> Iterator[None]:
    """Meanwhile Ray takes the address it is given: these variables would win over it."""
    found = {name: os.environ.pop(name) for name in _OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(found)


# ---- inside a job


def attach() -> None:
    """Connect this process, a job's entrypoint, to its cluster; what actors print appears in the job's log."""
    ray = import_ray()
    ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), namespace=NAMESPACE, log_to_driver=True)


def cluster_address() -> str:
    """``host:port`` of the head, as this node knows it."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def on_every_node(look: Callable[[Any], T], argument: Any, timeout_s: float) -> dict[str, T | str]:
    """Call a function on every living node, without taking a CPU there; what it returned, or why it did not, by node.

    Args:
        look: Importable on the nodes.
        timeout_s: For all together.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    asked: dict[Any, str] = {}
    for node in ray.nodes():
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"
            asked[task.options(scheduling_strategy=there).remote(argument)] = name
    ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
    return {name: _answer(ref, timeout_s) for ref, name in asked.items()}


def _answer(ref: Any, timeout_s: float) -> Any:
    import ray

    try:
        return ray.get(ref, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return f"did not answer within {timeout_s:g} s"
    except ray.exceptions.RayError as error:
        return " ".join(str(error).split())[-500:]


def keep(name: str, kind: type, *arguments: Any) -> None:
    """See to it that there is an actor of that name, and that Ray starts it again wherever it dies.

    It takes no CPU, outlasts the job, and begins away from the head if there is another node: a driver that is short
    of memory must not take the cluster's own state with it. Returns once it is up.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and not _is_head(node)]
    place = NodeAffinitySchedulingStrategy(others[0], soft=True) if others else "DEFAULT"
    actor: Any = ray.remote(kind).options(
        name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, num_cpus=0, memory=_ANYTHING,
        max_restarts=-1, max_task_retries=-1, max_concurrency=4, scheduling_strategy=place,
    )  # fmt: skip
    ray.get(actor.remote(*arguments).__ray_ready__.remote())


def is_kept(name: str) -> bool:
    """Whether there is such an actor, be it that it is just started again."""
    return _kept(name) is not None


def call_kept(name: str, method: str, timeout_s: float) -> None:
    """Call a method of an actor without arguments, if there is one; no error if it dies of it."""
    import ray

    actor = _kept(name)
    if actor is not None:
        ray.wait([getattr(actor, method).remote()], timeout=timeout_s)


def end_kept(name: str) -> None:
    """End an actor for good; no error if there is none."""
    import ray

    actor = _kept(name)
    if actor is not None:
        ray.kill(actor, no_restart=True)


def end_this_actor() -> None:
    """End the actor that this process is, for good; from any thread."""
    import ray

    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def environment_of_a_child() -> dict[str, str]:
    """The environment for a process that an actor starts and that is to be a driver of its own."""
    return {name: value for name, value in os.environ.items() if name not in _BOUND_TO_A_WORKER}


def _kept(name: str) -> Any:
    import ray

    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError:  # there is none
        return None


def _is_head(node: Mapping[str, Any]) -> bool:
    return "node:__internal_head__" in node["Resources"]
