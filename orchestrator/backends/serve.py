"""Serving on Ray Serve: one application per model version, behind HTTP on this machine.

``serve.run`` restarts replicas on every call, so a version that already answers with the same identity is left
alone; that makes a retried deployment free. Versions do not share an address: moving traffic is a router's work.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from orchestrator.backends.ray_private import serve_address
from orchestrator.backends.serve_replica import LocalSource, Replica, ReplicaSource
from orchestrator.backends.serve_replica import Served as ServedVersion
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.ports.serving import Endpoint, Served, ServedState
from orchestrator.ports.values import digest_bytes
from orchestrator.types import Digest

HOST = "127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEPARATOR = "--"
_POLL_S = 0.1
_REQUEST_S = 5.0
_STATES: dict[str, ServedState] = {
    "NOT_STARTED": "starting",
    "DEPLOYING": "starting",
    "RUNNING": "healthy",
    "DELETING": "stopping",
}


class RayServing:
    """The Serving port on the Ray that this process is connected to.

    Args:
        source: Where replicas get code and artifacts from.
        http_port: Port of the HTTP proxy, if this is the first deployment on its Ray; 0 picks a free one.
        health_check_s: How often Serve asks replicas whether they are well.
    """

    def __init__(self, source: ReplicaSource | None = None, http_port: int = 0, health_check_s: float = 5.0) -> None:
        self._source = source or LocalSource()
        self._http_port = http_port
        self._health_check_s = health_check_s

    def deploy(
        self,
        app: str,
        version: str,
        predictor: str,
        payload: bytes | Digest,
        config: Mapping[str, Any] | None = None,
        *,
        replicas: int = 1,
        num_cpus: float = 0.0,
        num_gpus: float = 0.0,
        timeout_s: float = 120.0,
    ) -> Endpoint:
        """See ``ports.serving.Serving.deploy``."""
        from ray import serve

        name = _application(app, version)
        deadline = time.monotonic() + timeout_s
        endpoint = Endpoint(app, version, f"{self._base_url()}/{app}/{version}")
        settings = {"predictor": predictor, "config": dict(config or {}), "replicas": replicas}
        settings |= {"num_cpus": num_cpus, "num_gpus": num_gpus}
        identity = _identity(payload, settings)
        if self._state(name) == "healthy" and _answers_as(endpoint.url) == identity:
            return endpoint
        served = ServedVersion(app, version, identity, predictor, payload, dict(config or {}))
        deployment: Any = serve.deployment(
            Replica,
            name="predictor",
            num_replicas=replicas,
            ray_actor_options={"num_cpus": num_cpus, "num_gpus": num_gpus},
            health_check_period_s=self._health_check_s,
            health_check_timeout_s=max(10.0, 2 * self._health_check_s),
            graceful_shutdown_timeout_s=2.0,
            graceful_shutdown_wait_loop_s=0.1,
            max_ongoing_requests=64,
            max_constructor_retry_count=2,
        )
        serve._run(deployment.bind(served, self._source), _blocking=False, name=name, route_prefix=f"/{app}/{version}")
        try:
            self._await_healthy(name, endpoint, identity, deadline, timeout_s)
        except ServingFailed:
            serve.delete(name)
            raise
        return endpoint

    def status(self, app: str | None = None) -> list[Served]:
        """See ``ports.serving.Serving.status``."""
        from ray import serve

        found = []
        base = None
        for name, application in serve.status().applications.items():
            owner, separator, version = name.partition(_SEPARATOR)
            if not separator or app not in (None, owner):
                continue
            base = base or self._base_url()
            state = _STATES.get(application.status, "unhealthy")
            endpoint = Endpoint(owner, version, f"{base}/{owner}/{version}")
            found.append(Served(endpoint, state, "" if state == "healthy" else _reason(application)))
        return found

    def undeploy(self, app: str, version: str | None = None) -> None:
        """See ``ports.serving.Serving.undeploy``."""
        from ray import serve

        for served in self.status(app):
            if version in (None, served.endpoint.version):
                serve.delete(_application(app, served.endpoint.version))

    def shutdown(self) -> None:
        """End everything that is served on this Ray, and Serve itself."""
        from ray import serve

        serve.shutdown()

    def _base_url(self) -> str:
        """Address of the proxy; starts Serve if it does not run yet."""
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        address = serve_address()
        if address is None:
            port = self._http_port or _free_port()
            serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": port}, logging_config=_QUIET)
            address = serve_address()
        if address is None:
            raise ServingFailed("Ray Serve was started but does not run; see the logs under /tmp/ray")
        return address

    def _state(self, name: str) -> ServedState | None:
        from ray import serve

        application = serve.status().applications.get(name)
        return None if application is None else _STATES.get(application.status, "unhealthy")

    def _await_healthy(self, name: str, endpoint: Endpoint, identity: str, deadline: float, timeout_s: float) -> None:
        from ray import serve

        reason = "it was not started"
        while time.monotonic() < deadline:
            application = serve.status().applications.get(name)
            if application is not None:
                reason = _reason(application)
                if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                    raise ServingFailed(f"{endpoint.app} {endpoint.version} did not become healthy: {reason}")
                if application.status == "RUNNING":
                    answer = _answers_as(endpoint.url)
                    if answer == identity:
                        return
                    reason = f"replicas run, but {endpoint.url} does not answer for this version yet"
            time.sleep(_POLL_S)
        raise ServingFailed(
            f"{endpoint.app} {endpoint.version} was not healthy after {timeout_s:g} s: {reason}; "
            "give it more time (timeout_s), or more resources if replicas wait for some"
        )


_QUIET = {"log_level": "ERROR", "enable_access_log": False}


def _application(app: str, version: str) -> str:
    for what, text in (("app", app), ("version", version)):
        if not _NAME.fullmatch(text) or _SEPARATOR in text:
            raise ConfigError(
                f"{what} {text!r} cannot be served: use up to 64 letters, digits, '.', '_' and single '-', "
                "a letter or digit first"
            )
    return f"{app}{_SEPARATOR}{version}"


def _identity(payload: bytes | Digest, settings: Mapping[str, Any]) -> str:
    digest = digest_bytes(payload) if isinstance(payload, bytes) else payload
    try:
        described = json.dumps([digest, settings], sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"the config of a deployment must be JSON values: {error}") from error
    return digest_bytes(described.encode())


def _answers_as(url: str) -> str | None:
    """Identity of whatever answers at an address; None if nothing of ours does."""
    try:
        with urllib.request.urlopen(url, timeout=_REQUEST_S) as response:
            return str(json.loads(response.read())["identity"])
    except (OSError, urllib.error.URLError, ValueError, KeyError, TypeError):
        return None


def _reason(application: Any) -> str:
    """What Serve says about an application that is not healthy, the replicas' errors first."""
    messages = [deployment.message for deployment in application.deployments.values() if deployment.message]
    text = "; ".join(messages) or application.message or str(application.status)
    return text if len(text) <= 4000 else f"{text[:1500]} … {text[-2500:]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
