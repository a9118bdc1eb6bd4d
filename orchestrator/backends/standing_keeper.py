"""The process behind ``orc up``: starts a local Ray, records it, keeps workers ready for whoever attaches, ends it.

It ends when it is told to, when its record is gone (somebody removed ``ORC_HOME``), when a part of its Ray has died,
and after nobody was attached for as long as it was asked to wait. However it ends, its Ray ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.backends import standing
from orchestrator.backends.bundles import orphans
from orchestrator.backends.cluster import Cluster, ClusterSettings
from orchestrator.backends.ray_token import prepare_local_token, token_source
from orchestrator.backends.standing import StandingRay
from orchestrator.errors import ConfigError, OrchestratorError

ROUND_S = 0.5
"""How often the keeper looks around."""

PRELOADED = ("msgspec", "blake3", "cloudpickle", "fsspec", "numpy", "pyarrow", "pyarrow.json", "pydantic",
             "ray._common.pydantic_compat", "ray.dag", "starlette.datastructures")  # fmt: skip
"""What every worker imports; those that wait for work have done so already. Not the engine: it may be edited."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a standing Ray is to have; see ``ClusterSettings`` and ``StandingRay``."""

    num_cpus: int | None = None
    num_gpus: int | None = None
    idle_s: float | None = None


class KeptCluster(Cluster):
    """A local Ray that listens on the loopback interface only, with workers that have loaded what they will need."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(ClusterSettings(num_cpus=wish.num_cpus, num_gpus=wish.num_gpus, system_config={
            "preload_python_modules": list(PRELOADED)
        }))  # fmt: skip

    def _keep(self, ray: Any, arguments: dict[str, Any], timeout_s: float, what: str) -> None:
        from orchestrator.backends.ray_head import on_loopback

        with on_loopback():
            super()._keep(ray, arguments | {"_node_ip_address": standing.LOOPBACK}, timeout_s, what)


def keep(home: Path, wish: Wish, ready: Callable[[StandingRay, bool], None]) -> str:
    """Start a Ray and keep it until there is a reason to end it; from the main thread, because signals are one.

    Args:
        home: ``ORC_HOME``, existing.
        ready: Told of the Ray that is up now, and whether it is ours; if another one was up already, that is all.

    Returns:
        Why it ended; empty if another one was up.

    Raises:
        ConfigError: later commands could not use it, because there is no place for its token.
        BackendError: Ray did not start.
    """
    cluster, stop = KeptCluster(wish), threading.Event()
    _listen_for_signals(stop)
    with standing.only_one(home):
        found = standing.find(home)
        if found is not None and found.alive:
            ready(found, False)
            return ""
        if found is not None:
            orphans.kill_children(found.mark)
        _need_shared_token()
        environ = dict(os.environ)
        cluster.connect()
        _listen_for_signals(stop)  # Ray has put its own handlers in their place
        try:
            ours = _describe(cluster, wish, environ)
            standing.write(home, ours)
        except BaseException:
            cluster.shutdown()
            raise
    try:
        ready(ours, True)
        reason, broken = _stay(home, ours, stop)
        if broken:
            _give_up(reason)
    finally:
        standing.remove(home, ours)
        cluster.shutdown()
    return reason


def _need_shared_token() -> None:
    """A token that only this process knows would keep everybody else out."""
    before = token_source()
    prepare_local_token()
    if before is None and token_source() == "RAY_AUTH_TOKEN":
        raise ConfigError("~/.ray cannot be written, so later commands would not know the token of this Ray; "
                          "set RAY_AUTH_TOKEN_PATH to a file that can be")  # fmt: skip


def _describe(cluster: Cluster, wish: Wish, environ: dict[str, str]) -> StandingRay:
    import ray

    from orchestrator.backends.ray_head import session_directory

    total: dict[str, float] = {}
    for node in cluster.nodes():
        total = {name: total.get(name, 0.0) + amount for name, amount in node.resources.items()}
    return StandingRay(
        address=ray.get_runtime_context().gcs_address,
        pid=os.getpid(),
        identity=standing.process_identity(os.getpid()),
        mark=cluster.mark,
        session=session_directory(),
        versions=standing.installed_versions(),
        auth_mode=os.environ.get("RAY_AUTH_MODE", "token").lower(),
        cpus=total.get("CPU", 0.0),
        gpus=total.get("GPU", 0.0),
        memory_bytes=total.get("memory", 0.0),
        idle_s=wish.idle_s,
        started_at=time.time(),
        environ=standing.digests(environ, cluster.mark),
    )


def _give_up(reason: str) -> NoReturn:
    """End without a farewell, which would try for half a minute to reach what is gone.

    The guard ends what is left; the record stays, so that everybody sees that this was not meant to happen.
    """
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} the Ray has ended: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


def _stay(home: Path, ours: StandingRay, stop: threading.Event) -> tuple[str, bool]:
    """Look around until there is a reason to end; the reason, and whether it is that the Ray is broken."""
    from orchestrator.backends.ray_head import HeadView, WorkerStock, lost_processes

    view, stock = HeadView(ours.address), WorkerStock()
    wanted, used_at = max(1, int(ours.cpus)), time.monotonic()
    try:
        while not stop.wait(ROUND_S):
            found = standing.find(home)
            if found is None or found.mark != ours.mark:
                return "its record is gone", False
            if lost := lost_processes():
                return f"a part of it has died: {', '.join(lost)}", True
            use = view.use()
            if use.drivers - {ours.pid} or use.actors:
                used_at = time.monotonic()
                continue
            if ours.idle_s is not None and time.monotonic() - used_at > ours.idle_s:
                return f"nobody was attached for {ours.idle_s:g} s", False
            stock.top_up(wanted)
    finally:
        view.close()
    return "it was told to", False


def _listen_for_signals(stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())


def main(home: str, wish: str, begin: Callable[[], None] | None = None) -> int:
    """Keep a Ray in this process, which nobody watches: says on standard output why it could not start.

    Args:
        home: ``ORC_HOME``.
        wish: ``Wish`` in JSON.
        begin: Called once the Ray is up, if it is ours.
    """

    def ready(found: StandingRay, ours: bool) -> None:
        if ours and begin is not None:
            begin()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)

    try:
        reason = keep(Path(home), Wish(**json.loads(wish)), ready)
    except OrchestratorError as error:
        sys.stdout.write(error.message)
        return 1
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ended: {reason}\n" if reason else "")
    return 0
