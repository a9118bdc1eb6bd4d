"""One Ray for this process: a quiet local one that starts when first needed, or a cluster at an address.

Ray has one connection per process and many surprises on the way to it: a bare ``init`` attaches to whatever it
finds, a local Ray dies with the thread that started it, an unreachable address retries for minutes, and a missing
token fails with a traceback. ``Cluster`` takes care of these; every failure is one error that says what to do.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import platform
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from orchestrator.backends import ray_private
from orchestrator.backends.ray_guard import ProcessGuard
from orchestrator.backends.ray_token import (
    prepare_local_token,
    restrict_token_file,
    set_auth_mode,
    token_path,
    token_source,
)
from orchestrator.backends.supply import NodeSupply
from orchestrator.errors import BackendError, ClusterUnreachable, ConfigError, VersionSkew

T = TypeVar("T")

_PROBE_S = 5.0
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
_SHUTDOWN_S = 30.0
_SYSTEM_CONFIG = {"worker_niceness": 0}
"""Steps run with the priority that local workers have; Ray would put them behind everything else on the machine."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which Ray to use.

    Attributes:
        address: ``host:port`` of a cluster's head (``ORC_RAY_ADDRESS``); empty for a Ray on this machine.
        num_cpus, num_gpus, resources, labels: What a local Ray has; None for as much as the machine has.
        connect_timeout_s: Longest time to wait for a cluster at an address to answer.
        start_timeout_s: Longest time to wait for a local Ray.
        system_config: Ray's internal settings, for a local Ray (tests lower the health checks).
    """

    address: str = ""
    num_cpus: int | None = None
    num_gpus: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    connect_timeout_s: float = 20.0
    start_timeout_s: float = 120.0
    system_config: Mapping[str, Any] = field(default_factory=dict)


class Cluster:
    """A Ray, connected on the first ``connect``. Thread-safe; several runs of a process share one."""

    def __init__(self, settings: ClusterSettings | None = None) -> None:
        self.settings = settings or ClusterSettings()
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        self._keeper: threading.Thread | None = None
        self._guard: ProcessGuard | None = None
        self._connected = False
        self._job = ""
        self._environ: dict[str, str] = {}
        self._auth_mode_chosen = False

    @property
    def connected(self) -> bool:
        """True between ``connect`` and ``shutdown``."""
        return self._connected

    @property
    def alive(self) -> bool:
        """True if it is connected and nobody has ended or replaced this process's connection to Ray meanwhile."""
        return self._connected and self._job == _job()

    @property
    def mark(self) -> str:
        """What the environment of all processes of a Ray that was started here carries; empty if none was."""
        return "" if self._guard is None else self._guard.mark

    @property
    def local(self) -> bool:
        """True if this is a Ray of our own on this machine."""
        return not self.settings.address

    def connect(self) -> None:
        """Start or attach; returns at once if that is done already.

        Raises:
            ConfigError: the address is not ``host:port``.
            ClusterUnreachable: nothing answers there in time, or it wants a token this machine does not send.
            VersionSkew: Python or Ray of the cluster differ from this process's.
        """
        with self._lock:
            if self._connected:
                return
            if self.local:
                self._start_local()
            else:
                self._attach(self.settings.address)
            self._environ = dict(os.environ)
            self._connected, self._job = True, _job()

    def nodes(self) -> list[NodeSupply]:
        """The shapes of the living nodes."""
        import ray

        return [
            NodeSupply(node["NodeManagerHostname"], dict(node["Resources"]), dict(node.get("Labels", {})))
            for node in ray.nodes()
            if node["Alive"]
        ]

    def supply(self) -> list[NodeSupply]:
        """The shapes of the living nodes, and of those an autoscaler may still add."""
        groups = ray_private.autoscaler_groups()
        return self.nodes() + [NodeSupply(f"node group {group.name}", group.resources, None) for group in groups]

    def available(self) -> dict[str, float]:
        """What nobody holds at the moment, summed over the nodes; Ray's view lags a little."""
        import ray

        return dict(ray.available_resources())

    def environ_changes(self) -> dict[str, str | None]:
        """What was set (None: removed) in this process's environment since it connected."""
        now = dict(os.environ)
        changed: dict[str, str | None] = {
            name: value for name, value in now.items() if self._environ.get(name) != value
        }
        return changed | {name: None for name in self._environ if name not in now}

    def shutdown(self) -> None:
        """Disconnect; a local Ray ends with all its processes. No error if not connected."""
        with self._lock:
            if self._stop is not None and self._keeper is not None:
                self._stop.set()
                self._keeper.join(_SHUTDOWN_S)
            if self._guard is not None:
                self._guard.end()
            self._stop = self._keeper = self._guard = None
            self._connected = False
            if self._auth_mode_chosen:
                set_auth_mode(None)
                self._auth_mode_chosen = False

    def facts(self) -> dict[str, str]:
        """What ``orc doctor`` reports about Ray; starts nothing."""
        return ray_facts(self.settings)

    def _start_local(self) -> None:
        prepare_local_token()
        ray = import_ray()
        if ray.is_initialized():
            return
        settings = self.settings
        arguments = {
            "address": "local",
            "num_cpus": settings.num_cpus,
            "num_gpus": settings.num_gpus,
            "resources": dict(settings.resources) or None,
            "labels": dict(settings.labels) or None,
            "include_dashboard": False,
            "_system_config": _SYSTEM_CONFIG | dict(settings.system_config),
        }
        guard = ProcessGuard()
        with guard.marking():
            self._keep(ray, arguments, settings.start_timeout_s, "a local Ray")
        self._guard = guard

    def _attach(self, address: str) -> None:
        host, port = parse_address(address)
        deadline_s = self.settings.connect_timeout_s
        _probe(address, host, port, min(_PROBE_S, deadline_s))
        restrict_token_file()
        ray = import_ray()
        if ray.is_initialized():
            _same_cluster(ray, address)
            return
        cluster = self.ask(f"{host}:{port}", deadline_s)
        check_versions(_versions(ray), cluster, f"the Ray cluster at {address}")
        self._keep(ray, {"address": f"{host}:{port}"}, deadline_s, f"the Ray cluster at {address}")

    def ask(self, address: str, timeout_s: float) -> dict[str, str]:
        """What a cluster says about itself; finds out on the way whether it wants a token."""

        def look() -> dict[str, str]:
            return within(timeout_s, partial(ray_private.cluster_versions, address), _silent(address, timeout_s))

        if "RAY_AUTH_MODE" in os.environ:
            return look()
        self._auth_mode_chosen = True
        set_auth_mode("disabled")
        try:
            return look()
        except ClusterUnreachable as error:
            if not error.details.get("wants_token") or token_source() is None:
                raise
            set_auth_mode("token")
            return look()

    def _keep(self, ray: Any, arguments: dict[str, Any], timeout_s: float, what: str) -> None:
        """Run ``ray.init`` on a thread that lives as long as the connection.

        A local Ray's processes are bound to the thread that started them; the caller's may be a short one.
        """
        stop, up = threading.Event(), threading.Event()
        failure: list[Exception] = []

        def keeper() -> None:
            try:
                ray.init(**arguments, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
                ray_private.mute()
            except Exception as error:
                failure.append(error)
                return
            finally:
                up.set()
            stop.wait()
            _end(ray)

        thread = threading.Thread(target=keeper, name="orc-ray", daemon=True)
        thread.start()
        if not up.wait(timeout_s):
            stop.set()  # should it still come up, it goes down again
            raise ClusterUnreachable(f"{what} did not answer within {timeout_s:g} s; see the logs under /tmp/ray")
        if failure:
            raise _explained(failure[0], what) from failure[0]
        self._stop, self._keeper = stop, thread
        atexit.unregister(gc.disable)
        atexit.register(gc.disable)  # before Ray's own end; see ``_end``


def _end(ray: Any) -> None:
    """Disconnect from Ray while no garbage is collected.

    A thread that collects an object of Ray's while Ray ends in another ends the process, silently, with exit code 1.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if collected:
            gc.enable()


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of a cluster's head; raises ConfigError for anything but ``host:port``."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        hint = "Ray Client (ray://) is not supported; " if address.startswith("ray://") else ""
        raise ConfigError(
            f"ORC_RAY_ADDRESS={address!r} is no address: {hint}give host:port of the head, e.g. 10.0.0.5:6379"
        )
    return host.strip("[]"), int(port)


def check_versions(ours: Mapping[str, str], theirs: Mapping[str, str], where: str) -> None:
    """Compare what both sides know of Python, Ray, pyarrow and the engine.

    Raises:
        VersionSkew: naming every difference with both versions.
    """
    differences = [
        f"{part} {version} here and {theirs[part]} there"
        for part, version in ours.items()
        if theirs.get(part, version) != version
    ]
    if differences:
        raise VersionSkew(
            f"{where} does not match this process: {', '.join(differences)}; install the same versions on both sides"
        )


def ray_facts(settings: ClusterSettings) -> dict[str, str]:
    """Facts about Ray for ``orc doctor``: version, address and whether it answers, token and its rights."""
    from importlib.metadata import version

    facts = {"ray": version("ray"), "python": platform.python_version(), "address": settings.address or "local"}
    if settings.address:
        try:
            host, port = parse_address(settings.address)
            _probe(settings.address, host, port, _PROBE_S)
            facts["reachable"] = "yes"
        except (BackendError, ConfigError) as error:
            facts["reachable"] = error.message
    source = token_source()
    facts["token"] = source or "none"
    if source == str(token_path()):
        facts["token_mode"] = oct(token_path().stat().st_mode & 0o777)
    facts["auth_mode"] = os.environ.get("RAY_AUTH_MODE", "unset")
    return facts


def within(timeout_s: float, work: Callable[[], T], late: BackendError) -> T:
    """Result of a call into Ray that has no time-out of its own; raises ``late`` when it takes longer."""
    result: list[T] = []
    failure: list[Exception] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="orc-ray-call", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failure:
        raise _explained(failure[0], "Ray") from failure[0]
    if not result:
        raise late
    return result[0]


def _job() -> str:
    """What Ray calls this process's connection; empty if there is none."""
    import ray

    if not ray.is_initialized():
        return ""
    context = ray.get_runtime_context()
    return f"{context.gcs_address} {context.get_job_id()}"


def import_ray() -> Any:
    """The ray module, imported quietly: no telemetry, no hooks into ``uv run``, errors only."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _probe(address: str, host: str, port: int, timeout_s: float) -> None:
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"no Ray cluster answers at {address}: {error}; start one there (ray start --head --port={port}), "
            "or correct or unset ORC_RAY_ADDRESS",
            address=address,
        ) from error


def _silent(address: str, timeout_s: float) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"something listens at {address} but did not answer as a Ray head within {timeout_s:g} s; "
        "check that ORC_RAY_ADDRESS names the head's GCS port (6379 by default)",
        address=address,
    )


def _versions(ray: Any) -> dict[str, str]:
    return {"python": platform.python_version(), "ray": ray.__version__}


def _same_cluster(ray: Any, address: str) -> None:
    connected = ray.get_runtime_context().gcs_address
    if connected != address:
        raise ClusterUnreachable(
            f"this process is connected to the Ray at {connected} already, and Ray allows one connection; "
            f"call ray.shutdown() before using {address}"
        )


def _explained(error: Exception, what: str) -> BackendError:
    """Ray's own exception as one of ours, with the next thing to do."""
    text = " ".join(str(error).split())
    if isinstance(error, BackendError):
        return error
    if any(word in f"{type(error).__name__} {text}" for word in ("Authentication", "Unauthenticated", "AuthToken")):
        source = token_source()
        have = f"the token of {source} was refused" if source else "this machine has no token"
        return ClusterUnreachable(
            f"{what} wants a token: {have}; put the cluster's token into {token_path()} (mode 0600) or RAY_AUTH_TOKEN "
            "and leave RAY_AUTH_MODE unset or set it to token",
            wants_token=True,
        )
    if "version mismatch" in text.lower():
        return VersionSkew(f"{what} does not match this process: {text}")
    return ClusterUnreachable(f"{what} could not be used: {text[:500] or type(error).__name__}")
