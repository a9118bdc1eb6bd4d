"""The port Router on Ray Serve: one more Serve application, in front of those of an application's versions.

Serve restarts replicas only for another code version; the router's is fixed, and weights are its ``user_config``. So
a change reaches running replicas in a fraction of a second, and none of them is ever started anew for it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from orchestrator.backends import ray_private
from orchestrator.backends.serve_choice import (
    SEPARATOR,
    check_name,
    check_next,
    check_traffic,
    traffic_document,
    traffic_from,
)
from orchestrator.backends.serve_ledger import end_ledger, ledger_of
from orchestrator.backends.serve_proxy import proxy_url, reason, state_of
from orchestrator.backends.serve_route import Route
from orchestrator.backends.serve_routing import Limits
from orchestrator.errors import OrchestratorError, ServingFailed
from orchestrator.ports.serving import Endpoint
from orchestrator.ports.traffic import Tallies, Traffic

ROUTER = "router"
"""Name of the one deployment in a router's Serve application; the application itself is called like the app."""

CODE_VERSION = "6"
"""Other code in the router's replicas needs another number: then, and only then, Serve replaces them."""

_POLL_S = 0.02
_TRIES_S = 0.2
_KEPT_S = 10.0


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """What a router is made of.

    Attributes:
        limits: How patient and how busy each replica is.
        replicas: More than one, so that the death of one is no outage.
        num_cpus: What each replica reserves; 0 leaves all slots to runs and versions.
        http_port: Port of the HTTP proxy, if this is the first deployment on its Ray; 0 picks a free one.
        health_check_s: How often Serve asks replicas whether they are well.
    """

    limits: Limits = field(default_factory=Limits)
    replicas: int = 2
    num_cpus: float = 0.0
    http_port: int = 0
    health_check_s: float = 5.0


class RayRouter:
    """``ports.traffic.Router`` on the Ray that this process is connected to."""

    def __init__(self, settings: RouterSettings | None = None) -> None:
        self._settings = settings or RouterSettings()

    def prepare(self, app: str, *, timeout_s: float = 60.0) -> None:
        """See ``ports.traffic.Router.prepare``."""
        check_name("app", app)
        deadline = time.monotonic() + timeout_s
        proxy_url(self._settings.http_port)
        self._ask_ledger(app, deadline, "prepare", partial(_apply_none, app, self._settings))
        self._await_replicas(app, "is up", deadline, timeout_s)

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Endpoint:
        """See ``ports.traffic.Router.route``."""
        check_traffic(app, traffic)
        deadline = time.monotonic() + timeout_s
        endpoint = Endpoint(app, "", f"{proxy_url(self._settings.http_port)}/{app}")
        if not self._change(app, traffic, deadline):
            self._await_replicas(app, f"has generation {traffic.generation}", deadline, timeout_s)
        return endpoint

    def traffic(self, app: str) -> Traffic | None:
        """See ``ports.traffic.Router.traffic``."""
        return standing_traffic(app)

    def tallies(self, app: str) -> Tallies:
        """See ``ports.traffic.Router.tallies``."""
        if standing_traffic(app) is None:
            return Tallies("", {})
        tallies: Tallies = self._ask_ledger(app, time.monotonic() + 10.0, "tallies")
        return tallies

    def unroute(self, app: str) -> None:
        """See ``ports.traffic.Router.unroute``."""
        end_router(app)

    def _change(self, app: str, traffic: Traffic, deadline: float) -> bool:
        """Make a change; True if all replicas have said that they do it."""
        missing = _not_served(app, traffic)
        if missing:
            raise ServingFailed(f"{app} {missing} is not served, so it gets no requests; deploy it first")
        config = _config(traffic, self._settings)
        check, apply = partial(_check_standing, app, traffic), partial(_apply, app, config, self._settings)
        done: bool = self._ask_ledger(app, deadline, "change", check, apply, config, self._settings.replicas)
        return done

    def _ask_ledger(self, app: str, deadline: float, method: str, *args: Any) -> Any:
        """Call the ledger; once more if its process died meanwhile."""
        import ray

        while True:
            try:
                left_s = max(deadline - time.monotonic(), 0.1)
                return ray.get(getattr(ledger_of(app), method).remote(*args), timeout=left_s)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, OrchestratorError):
                    raise error.cause from None
                raise ServingFailed(f"the router of {app} could not be changed: {error.cause!r}") from error
            except AttributeError as error:  # the handle's; what the ledger raises is a RayTaskError, too
                raise ServingFailed(
                    f"the router of {app} was started by another release of this package ({error}); "
                    f"end it once with the stage `retire`, and release again"
                ) from error
            except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
                if time.monotonic() + _TRIES_S > deadline:
                    raise ServingFailed(f"the ledger of the router of {app} does not answer: {error}") from error
                time.sleep(_TRIES_S)

    def _await_replicas(self, app: str, what: str, deadline: float, timeout_s: float) -> None:
        said = "it was not started"
        while time.monotonic() < deadline:
            application = ray_private.serve_statuses().get(app)
            if application is not None:
                said = reason(application)
                if application.status == "RUNNING":
                    return
                if application.status == "DEPLOY_FAILED":
                    break
            time.sleep(_POLL_S)
        raise ServingFailed(f"not all of the router of {app} {what} after {timeout_s:g} s: {said}")


def standing_traffic(app: str) -> Traffic | None:
    """What Serve was told last; None if there is no router, or nothing yet."""
    config = ray_private.serve_user_config(app, ROUTER)
    return None if config is None or config["traffic"] is None else traffic_from(config["traffic"])


def _config(traffic: Traffic | None, settings: RouterSettings) -> dict[str, Any]:
    return {"traffic": traffic and traffic_document(traffic), "limits": asdict(settings.limits)}


def _check_standing(app: str, traffic: Traffic) -> None:
    check_next(app, traffic, standing_traffic(app))


def end_router(app: str) -> None:
    """End a router with its ledger; no error if there is none."""
    from ray import serve

    if ray_private.serve_statuses().get(app) is not None:
        serve.delete(app)
    end_ledger(app)


def _apply_none(app: str, settings: RouterSettings) -> None:
    """Have Serve start a router that is there for no traffic yet; one that is there stays as it is."""
    if ray_private.serve_user_config(app, ROUTER) is None:
        _apply(app, _config(None, settings), settings)


def _apply(app: str, config: dict[str, Any], settings: RouterSettings) -> None:
    """Have Serve keep what the router is to do; what it keeps already it is not told again."""
    if ray_private.serve_user_config(app, ROUTER) == config:
        return
    from ray import serve

    fixed = _deployment(config, settings).options(version=CODE_VERSION, _internal=True)
    pool = ThreadPoolExecutor(1, "telling Serve")
    telling = pool.submit(serve._run, fixed.bind(app), _blocking=False, name=app, route_prefix=f"/{app}")
    pool.shutdown(wait=False)  # when Serve knows, that call goes on to wait for the proxy, which is busy with requests
    deadline = time.monotonic() + _KEPT_S
    while ray_private.serve_user_config(app, ROUTER) != config:  # Serve's next turn keeps it
        if telling.done():
            telling.result()
        if time.monotonic() > deadline:
            raise ServingFailed(f"Serve did not keep the traffic of {app} within {_KEPT_S:g} s: {config['traffic']}")
        time.sleep(_POLL_S)


def _deployment(config: dict[str, Any], settings: RouterSettings) -> Any:
    from ray import serve
    from ray.serve.config import BackpressureConfig

    return serve.deployment(
        Route,
        name=ROUTER,
        num_replicas=settings.replicas,
        ray_actor_options={"num_cpus": settings.num_cpus},
        user_config=config,
        rolling_update_percentage=1.0,
        max_surge_percent=100,
        health_check_period_s=settings.health_check_s,
        health_check_timeout_s=max(10.0, 2 * settings.health_check_s),
        graceful_shutdown_timeout_s=5.0,
        graceful_shutdown_wait_loop_s=0.1,
        max_ongoing_requests=2 * settings.limits.in_flight,
        max_queued_requests=2 * settings.limits.in_flight,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1.0),
    )


def _not_served(app: str, traffic: Traffic) -> str:
    applications = ray_private.serve_statuses()
    for version in [version for version, percent in traffic.weights.items() if percent > 0]:
        application = applications.get(f"{app}{SEPARATOR}{version}")
        if application is None or state_of(application) == "stopping" or application.status == "DEPLOY_FAILED":
            return version
    return ""
