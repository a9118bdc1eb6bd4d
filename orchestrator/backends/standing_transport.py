"""Workers on a standing Ray, which may be ended by whoever started it while runs are attached.

Ray itself would try to reach its head for a minute and then abort the process.
"""

from __future__ import annotations

import time

from orchestrator.backends.bundles.ray_transport import Entry, RayTransport
from orchestrator.backends.standing import StandingCluster

LOOK_S = 0.5
"""How often a driver looks whether the Ray is still kept."""


class StandingTransport(RayTransport):
    """A ``RayTransport`` that stops its driver with an error when the Ray has ended; the run can be resumed."""

    def __init__(self, cluster: StandingCluster, entry: Entry) -> None:
        super().__init__(cluster, entry)
        self._standing = cluster
        self._looked_at = 0.0
        self._closing = False

    def pump(self, timeout_s: float) -> None:
        """See ``Transport``.

        Raises:
            ClusterUnreachable: the Ray that the workers ran on has ended.
        """
        now = time.monotonic()
        if not self._closing and now > self._looked_at + LOOK_S:
            self._looked_at = now
            self._standing.check()
        super().pump(timeout_s)

    def close(self) -> None:
        """See ``Transport``; nobody waits for workers that have gone with their Ray."""
        self._closing = True
        super().close()
        if self._standing.lost:
            self._standing.abandon()
