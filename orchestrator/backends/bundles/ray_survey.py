"""Looks at the cluster once a second, off the driver's thread: its nodes, what it could supply, what is free."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from orchestrator.backends.cluster import Cluster
from orchestrator.backends.supply import NodeSupply

ROUND_S = 1.0


@dataclass(frozen=True, slots=True)
class Survey:
    """The cluster at one moment.

    Attributes:
        at: When the look began, in monotonic seconds.
        nodes: The living nodes; ``supply`` has also those an autoscaler may add.
        available: What nobody holds, by Ray's resource names.
    """

    at: float
    nodes: list[NodeSupply]
    supply: list[NodeSupply]
    available: dict[str, float]

    @property
    def only_node(self) -> str | None:
        """Id of the node, if there is but one."""
        return (self.nodes[0].labels or {}).get("ray.io/node-id") if len(self.nodes) == 1 else None


class ClusterSurvey:
    """Keeps ``latest`` fresh until stopped; a look that fails keeps the one before."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stopped = threading.Event()
        self._paused = False
        self._looking = threading.Lock()
        self.latest = self._look()
        self._thread = threading.Thread(target=self._run, name="orc-ray-survey", daemon=True)
        self._thread.start()

    def pause(self, paused: bool) -> None:
        """Do not look for a while, or go on; once it returns, nothing of this thread is inside Ray."""
        with self._looking:
            self._paused = paused

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join(5.0)

    def _look(self) -> Survey:
        at = time.monotonic()
        return Survey(at, self._cluster.nodes(), self._cluster.supply(), self._cluster.available())

    def _run(self) -> None:
        while not self._stopped.wait(ROUND_S):
            with self._looking:
                if self._paused:
                    continue
                try:
                    self.latest = self._look()
                except Exception:  # the head is being replaced: what is known is better than nothing
                    continue
