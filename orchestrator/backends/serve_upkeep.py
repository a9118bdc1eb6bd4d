"""Versions that end by themselves: a small actor of Ray that looks what has had its time, whoever deployed it.

When a version ends stands in Serve, with its deployment, and nowhere else. So the actor holds nothing: when it dies,
Ray starts it anew and it goes on; when that Ray ends, the versions end with it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from orchestrator.backends import ray_private
from orchestrator.backends.serve_choice import SEPARATOR
from orchestrator.backends.serve_ledger import NAMESPACE
from orchestrator.backends.serve_route import PREDICTOR
from orchestrator.errors import ServingFailed

UNTIL = "until"
"""What is kept with a version: when it ends, in seconds since 1970."""

LOOK_S = 1.0

_NAME = "upkeep"
_START_S = 60.0
_LOG = logging.getLogger(__name__)


class Upkeep:
    """Ends versions whose time has come, until Serve ends."""

    def __init__(self) -> None:
        threading.Thread(target=self._look_forever, name="upkeep", daemon=True).start()

    def look(self, now: float) -> list[str]:
        """End what has had its time; names of their Serve applications."""
        return end_expired(now)

    def _look_forever(self) -> None:
        while True:
            try:
                self.look(time.time())
            except Exception:  # Serve or Ray are busy, or being started: the next look is soon
                _LOG.exception("what has had its time could not be looked for")
            time.sleep(LOOK_S)


def start_upkeep() -> Any:
    """Handle of the actor that ends versions, also after this process; started if there is none.

    Raises:
        ServingFailed: it cannot be started.
    """
    import ray

    actor: Any = ray.remote(Upkeep)
    handle = actor.options(
        name=_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,  # to look twice is to look once
    ).remote()
    try:
        ray.get(handle.look.remote(time.time()), timeout=_START_S)
    except ray.exceptions.RayError as error:
        raise ServingFailed(f"nobody can be found who would end what is served for a while: {error}") from error
    return handle


def end_expired(now: float) -> list[str]:
    """End the versions that have had their time; names of their Serve applications."""
    from ray import serve

    ended = []
    for name in ray_private.serve_statuses():
        until = until_of(name) if SEPARATOR in name else None
        if until is not None and until <= now:
            serve.delete(name, _blocking=False)
            ended.append(name)
    return ended


def until_of(name: str) -> float | None:
    """When a version ends, by the name of its Serve application; None if it stays or is not served."""
    config = ray_private.serve_user_config(name, PREDICTOR)
    return None if config is None else float(config[UNTIL])
