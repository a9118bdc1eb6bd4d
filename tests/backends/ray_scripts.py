"""Programs that tests of Ray run in processes of their own: each prints one JSON document a line."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from orchestrator.backends.bundles.ray_transport import RayTransport
from orchestrator.backends.bundles.transport import WorkerNeeds
from orchestrator.backends.cluster import Cluster, ClusterSettings
from orchestrator.errors import OrchestratorError
from orchestrator.graph.policy import Resources
from tests.backends.ray_echo import echo
from tests.backends.ray_fixtures import QUICK_HEALTH, Heard


def say(**facts: Any) -> None:
    """Print one line."""
    print(json.dumps(facts), flush=True)


def connect(address: str, timeout_s: str) -> None:
    """Attach, and say what came of it."""
    before = time.monotonic()
    cluster = Cluster(ClusterSettings(address, connect_timeout_s=float(timeout_s)))
    try:
        cluster.connect()
        say(connected=True, cpus=sum(node.resources.get("CPU", 0) for node in cluster.supply()))
    except OrchestratorError as error:
        say(connected=False, error=type(error).__name__, message=str(error), took_s=time.monotonic() - before)
    cluster.shutdown()


def _own_pid() -> int:
    return os.getpid()


def short_thread() -> None:
    """Start a local Ray on a thread that ends, use it, end it; say which processes it had."""
    cluster = Cluster(ClusterSettings(num_cpus=1))
    thread = threading.Thread(target=cluster.connect)
    thread.start()
    thread.join()
    import ray

    worker = ray.get(ray.remote(_own_pid).remote(), timeout=600)
    untouched = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    say(worker=worker, usage=os.environ["RAY_USAGE_STATS_ENABLED"], sigterm=untouched)
    cluster.shutdown()
    say(ended=True)


def drive(address: str) -> None:
    """Be a driver with two workers until somebody ends this process; ``address`` is empty for a Ray of its own."""
    cluster = Cluster(ClusterSettings(address, num_cpus=None if address else 2))
    transport = RayTransport(cluster, echo)
    heard = Heard(transport)
    hellos = [heard.start("pool", WorkerNeeds("pool"))[1], heard.start("host", WorkerNeeds("host"))[1]]
    say(pids=[int(hello["pid"]) for hello in hellos])
    while True:
        transport.pump(1.0)


def lose_node() -> None:
    """Lose a node of two, with a worker on it and one that waits for it; then learn that nothing can replace it."""
    from ray.cluster_utils import Cluster as NodeCluster

    nodes = NodeCluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_HEALTH})
    far = nodes.add_node(num_cpus=1, resources={"far": 1})
    cluster = Cluster(ClusterSettings(nodes.address))
    transport = RayTransport(cluster, echo)
    heard = Heard(transport)
    needs = WorkerNeeds("heavy", resources=Resources(num_cpus=1, resources={"far": 1}))
    transport.refusal(needs)
    slots = transport.slots
    heard.start("near", WorkerNeeds("heavy", resources=Resources(resources={"node:__internal_head__": 0.1})))
    channel, _ = heard.start("far", needs)
    waiting = transport.start("waiting", needs, heard.sink)
    before = time.monotonic()
    nodes.remove_node(far, allow_graceful=False)
    death = heard.death("far", 60)
    took_s = time.monotonic() - before
    heard.death("waiting", 60)
    say(slots=slots, reason=death.reason, took_s=took_s, alive=channel.alive or waiting.alive)
    transport.pump(2.0)
    transport.pump(2.0)
    say(slots=transport.slots, refusal=transport.refusal(needs))
    transport.close()
    cluster.shutdown()
    nodes.shutdown()


PROGRAMS: dict[str, Callable[..., None]] = {
    "connect": connect,
    "short_thread": short_thread,
    "drive": drive,
    "lose_node": lose_node,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
