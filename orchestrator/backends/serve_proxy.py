"""The HTTP proxy of Ray Serve on this machine, and what Serve says about the applications behind it."""

from __future__ import annotations

import logging
import time

from orchestrator.backends.loopback import HOST, free_ports
from orchestrator.backends.ray_private import ServeStatus, serve_address
from orchestrator.errors import ServingFailed
from orchestrator.ports.serving import ServedState

_START_S = 60.0
_POLL_S = 0.1
_QUIET = {"log_level": "ERROR", "enable_access_log": False}
_STATES: dict[str, ServedState] = {
    "NOT_STARTED": "starting",
    "DEPLOYING": "starting",
    "RUNNING": "healthy",
    "DELETING": "stopping",
}


def proxy_url(http_port: int = 0) -> str:
    """Address of the proxy; starts Serve if it does not run yet, on a free port if none is given."""
    from ray import serve
    from ray.exceptions import ActorAlreadyExistsError

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    address = serve_address()
    if address is None:
        port = http_port or free_ports(1)[0]
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": port}, logging_config=_QUIET)
        except ActorAlreadyExistsError:  # somebody else starts it at this moment
            time.sleep(_POLL_S)
        address = _await_address()
    if address is None:
        raise ServingFailed("Ray Serve was started but does not run; see the logs under /tmp/ray")
    return address


def _await_address() -> str | None:
    deadline = time.monotonic() + _START_S
    while (address := serve_address()) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return address


def state_of(application: ServeStatus) -> ServedState:
    """State of an application."""
    return _STATES.get(application.status, "unhealthy")


def reason(application: ServeStatus) -> str:
    """What Serve says about an application that is not healthy, the replicas' errors first."""
    text = "; ".join(filter(None, application.deployments)) or application.message or application.status
    return text if len(text) <= 4000 else f"{text[:1500]} … {text[-2500:]}"
