"""A Ray cluster of a head and two nodes on this machine, whose parts can be killed and replaced."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from orchestrator.backends.loopback import free_ports

QUICK_HEALTH = {"health_check_period_ms": 300, "health_check_failure_threshold": 3, "health_check_timeout_ms": 3000}
"""A lost node is noticed after a second."""

RECONNECT_S = 5
"""So long may the head be away before Ray ends the processes that depend on it; a minute by default."""

NODES = 2
CPUS = 1
"""Of each node: each costs a worker, which takes longer to start than a run's steps take."""

_UP_S = 120.0
_ANSWER_S = 5.0


class Nodes:
    """The cluster. The head runs no steps, so that its death is only the head's.

    Args:
        folder: For Ray's own files; short, because sockets lie below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self._port,) = free_ports(1)
        self._cluster: Any = None
        self._starts = 0
        os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(RECONNECT_S)  # noqa: SIM112

    @property
    def address(self) -> str:
        """``host:port`` of the head; the same after a new start."""
        return str(self._cluster.address)

    def start(self) -> None:
        """Start the head and its nodes."""
        from ray.cluster_utils import Cluster  # not before: whoever only lists the faults needs no Ray

        self._starts += 1
        kept = {"gcs_storage": "rocksdb", "gcs_storage_path": str(self._folder / f"gcs{self._starts}")}
        head = {
            "num_cpus": 0, "gcs_server_port": self._port, "include_dashboard": False, "temp_dir": str(self._folder),
            "_system_config": QUICK_HEALTH | kept,
        }  # fmt: skip
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(NODES):
            self.add()

    def add(self) -> None:
        """Add a node."""
        self._cluster.add_node(num_cpus=CPUS)

    def kill_node_of(self, pids: list[int]) -> int:
        """Kill the node on which most of these processes live, or any if none lives; returns how many lived there."""

        def lived(node: Any) -> int:
            (raylet,) = node.all_processes["raylet"]
            children = {child.pid for child in psutil.Process(raylet.process.pid).children(recursive=True)}
            return len(children & set(pids))

        counts = {node: lived(node) for node in self._cluster.worker_nodes}
        node = max(counts, key=lambda one: counts[one])
        self._cluster.remove_node(node, allow_graceful=False)
        return counts[node]

    def restart_gcs(self, away_s: float) -> None:
        """Kill the head's directory of the cluster (GCS), and start it again; it has kept on disk what it knew."""
        head = self._cluster.head_node
        head.kill_gcs_server()
        time.sleep(away_s)
        head.start_gcs_server()

    def kill_head(self) -> None:
        """Kill all of the head's processes."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    @property
    def whole(self) -> bool:
        """True if head and nodes are there and know each other."""
        nodes = self._cluster.list_all_nodes()
        if self._cluster.head_node is None or not all(node.remaining_processes_alive() for node in nodes):
            return False
        return self._known() == 1 + NODES

    def _known(self) -> int:
        """How many living nodes the head knows of; asked by a new client, because an old one may end this process."""
        from ray._raylet import GcsClient

        try:
            nodes = GcsClient(address=self.address).get_all_node_info(timeout=_ANSWER_S)
        except Exception:  # Ray's own, of many kinds, when it asks a head that is gone
            return 0
        return sum(node.state == node.ALIVE for node in nodes.values())

    def mend(self) -> None:
        """Make the cluster whole: nodes for those that are gone, or everything anew if the head is not what it was."""
        try:
            self._replace()
        except Exception as error:  # a bare one of Ray's: a node was not up in half a minute
            print(f"the cluster is started anew: {error}", file=sys.stderr, flush=True)
        if not self.whole:
            self.stop()
            self.start()

    def _replace(self) -> None:
        """Nodes for those that are gone, if the head is there."""
        if not self._known():
            return
        while len(self._cluster.worker_nodes) < NODES:
            self.add()
        deadline = time.monotonic() + _UP_S
        while not self.whole and self._known() and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop(self) -> None:
        """End all of it."""
        if self._cluster is None:
            return  # it could not be started, and the reason is being raised
        for node in [*self._cluster.worker_nodes, *filter(None, [self._cluster.head_node])]:
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self._cluster.worker_nodes.clear()
        self._cluster.head_node = None
        _await_free(self._port)


def _await_free(port: int) -> None:
    deadline = time.monotonic() + _UP_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"port {port} is still taken")
