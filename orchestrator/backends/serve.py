"""Serving on Ray Serve: one application per model version, behind HTTP on this machine.

``serve.run`` restarts replicas on every call, so a version that already answers with the same identity is left
alone; that makes a retried deployment free. Versions do not share an address: ``serve_router`` is the one before them.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from orchestrator.backends.ray_private import ServeStatus, dead_replicas, put_back_target, serve_statuses, serve_target
from orchestrator.backends.serve_choice import SEPARATOR, check_name
from orchestrator.backends.serve_ledger import end_ledger
from orchestrator.backends.serve_models import ONLY
from orchestrator.backends.serve_proxy import proxy_url, reason, state_of
from orchestrator.backends.serve_replica import LocalSource, Replica, ReplicaSource
from orchestrator.backends.serve_replica import Served as ServedVersion
from orchestrator.backends.serve_route import PREDICTOR
from orchestrator.backends.serve_router import end_router
from orchestrator.backends.serve_scaling import scaled
from orchestrator.backends.serve_upkeep import UNTIL, start_upkeep, until_of
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Endpoint, Load, Payload, Served, ServedState, check_deployment, check_payload
from orchestrator.ports.values import digest_bytes

_POLL_S = 0.1
_REQUEST_S = 5.0
_PUT_BACK_S = 20.0
_LOOP_S = 60.0
_LOOP_DEATHS = 2


class Before(NamedTuple):
    """What answered at an address before it was to be something else: its identity, and what Serve wanted there."""

    identity: str
    target: bytes


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
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Start Serve, if it does not run yet: a deployment does so, too, and then waits for it."""
        proxy_url(self._http_port)

    def deploy(
        self,
        app: str,
        version: str,
        predictor: str,
        payload: Payload,
        config: Mapping[str, Any] | None = None,
        *,
        replicas: int = 1,
        num_cpus: float = 0.0,
        num_gpus: float = 0.0,
        load: Load | None = None,
        capture: Capture | None = None,
        until: float | None = None,
        timeout_s: float = 120.0,
    ) -> Endpoint:
        """See ``ports.serving.Serving.deploy``."""
        name, load = _application(app, version), load or Load()
        check_payload(payload)
        check_deployment(replicas, num_cpus, num_gpus, load, capture)
        deadline = time.monotonic() + timeout_s
        endpoint = Endpoint(app, version, f"{proxy_url(self._http_port)}/{app}/{version}")
        settings = {"predictor": predictor, "config": dict(config or {}), "replicas": replicas}
        settings |= {"num_cpus": num_cpus, "num_gpus": num_gpus, "load": asdict(load)}
        settings |= {} if capture is None else {"capture": asdict(capture)}
        settings |= {} if until is None else {"until": until}
        identity = _identity(payload, settings)
        answers = None if self._state(name) is None else _answers_as(endpoint.url)
        if answers == identity and self._state(name) == "healthy":
            return endpoint
        before = None if answers is None else Before(answers, serve_target(name, PREDICTOR))
        served = ServedVersion(app, version, identity, predictor, payload, dict(config or {}), load, capture)
        options = {"ray_actor_options": {"num_cpus": num_cpus, "num_gpus": num_gpus}, **scaled(replicas, load)}
        if until is not None:
            start_upkeep()  # first, so that nothing is served that nobody would end
            options["user_config"] = {UNTIL: until}
        with self._one_at_a_time:  # Serve packs code in a way that other threads of a process must not see
            self._run(name, served, options)
        try:
            self._await_healthy(name, endpoint, identity, deadline, timeout_s)
        except ServingFailed as error:
            if before is None:
                self.undeploy(app, version)
                raise
            self._put_back(name, endpoint, before)
            raise ServingFailed(f"{error.message}; what answered before goes on") from error
        return endpoint

    def _put_back(self, name: str, endpoint: Endpoint, before: Before) -> None:
        """Have Serve want again what answered before; its replicas, which it has kept, stay as they are."""
        put_back_target(name, PREDICTOR, before.target)
        deadline = time.monotonic() + _PUT_BACK_S
        while time.monotonic() < deadline:
            if self._state(name) == "healthy" and _answers_as(endpoint.url) == before.identity:
                return
            time.sleep(_POLL_S)

    def _run(self, name: str, served: ServedVersion, options: Mapping[str, Any]) -> None:
        from ray import serve
        from ray.serve.config import BackpressureConfig

        deployment: Any = serve.deployment(
            Replica,
            name=PREDICTOR,
            health_check_period_s=self._health_check_s,
            health_check_timeout_s=max(10.0, 2 * self._health_check_s),
            graceful_shutdown_timeout_s=2.0,
            graceful_shutdown_wait_loop_s=0.1,
            max_ongoing_requests=served.load.max_ongoing_requests,
            max_queued_requests=served.load.max_queued_requests,
            backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1.0),
            max_constructor_retry_count=2,
            rolling_update_percentage=1.0,  # the same version with other options: its new replicas start first
            max_surge_percent=100,
            **options,
        )
        bound = deployment.bind(served, self._source)
        serve._run(bound, _blocking=False, name=name, route_prefix=f"/{served.app}/{served.version}")

    def status(self, app: str | None = None) -> list[Served]:
        """See ``ports.serving.Serving.status``."""
        found = []
        base = None
        for name, application in serve_statuses().items():
            owner, separator, version = name.partition(SEPARATOR)
            if not separator or app not in (None, owner):
                continue
            base = base or proxy_url(self._http_port)
            endpoint = Endpoint(owner, version, f"{base}/{owner}/{version}")
            found.append(Served(endpoint, *_health(name, application)))
        return found

    def until(self, app: str, version: str) -> float | None:
        """See ``ports.serving.Serving.until``."""
        return until_of(_application(app, version))

    def undeploy(self, app: str, version: str | None = None) -> None:
        """See ``ports.serving.Serving.undeploy``."""
        from ray import serve

        if version is None:
            end_router(app)
        for served in self.status(app):
            if version in (None, served.endpoint.version):
                serve.delete(_application(app, served.endpoint.version))

    def shutdown(self) -> None:
        """End everything that is served on this Ray, and Serve itself."""
        from ray import serve

        serve.shutdown()
        end_ledger()

    def _state(self, name: str) -> ServedState | None:
        application = serve_statuses().get(name)
        return None if application is None else state_of(application)

    def _await_healthy(self, name: str, endpoint: Endpoint, identity: str, deadline: float, timeout_s: float) -> None:
        said = "it was not started"
        while time.monotonic() < deadline:
            application = serve_statuses().get(name)
            if application is not None:
                said = reason(application)
                if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                    raise ServingFailed(f"{endpoint.app} {endpoint.version} did not become healthy: {said}")
                if application.status == "RUNNING":
                    answer = _answers_as(endpoint.url)
                    if answer == identity:
                        return
                    said = f"replicas run, but {endpoint.url} does not answer for this version yet"
            time.sleep(_POLL_S)
        raise ServingFailed(
            f"{endpoint.app} {endpoint.version} was not healthy after {timeout_s:g} s: {said}; "
            "give it more time (timeout_s), or more resources if replicas wait for some"
        )


def _health(name: str, application: ServeStatus) -> tuple[ServedState, str]:
    """State and what is wrong; between two crashes Serve has a version for healthy, which it is not."""
    state = state_of(application)
    if state != "healthy":
        return state, reason(application)
    since = max(time.time() - _LOOP_S, application.deployed_at)
    deaths = dead_replicas(name, PREDICTOR, since)
    if deaths < _LOOP_DEATHS:
        return state, ""
    return "unhealthy", f"{deaths} of its replicas were started and died within the last {_LOOP_S:g} s"


def _application(app: str, version: str) -> str:
    check_name("app", app)
    check_name("version", version)
    return f"{app}{SEPARATOR}{version}"


def _identity(payload: Payload, settings: Mapping[str, Any]) -> str:
    given = payload if isinstance(payload, Mapping) else {ONLY: payload}
    digests = {name: digest_bytes(one) if isinstance(one, bytes) else one for name, one in given.items()}
    try:
        described = json.dumps([digests, settings], sort_keys=True)
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
