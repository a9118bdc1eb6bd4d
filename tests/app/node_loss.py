"""A program: a run on a cluster of two nodes, one of which is killed in the middle. Arguments: the ledger."""

from __future__ import annotations

import os
import sys
import time

from ray.cluster_utils import Cluster as NodeCluster

from orchestrator.app.ray_backend import shared_cluster
from orchestrator.testing import read_ledger
from tests.app import flows
from tests.backends.ray_fixtures import QUICK_HEALTH


def main(ledger: str) -> None:
    """Run, lose a node, and say how it ended and which workers were lost."""
    nodes = NodeCluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_HEALTH})
    far = nodes.add_node(num_cpus=1)
    os.environ["ORC_RAY_ADDRESS"] = nodes.address
    run = flows.slow.start(ledger=ledger, n=16, seconds=0.5)
    deadline = time.monotonic() + 300
    while len({line.pid for line in read_ledger(ledger)}) < 2 or len(read_ledger(ledger)) < 5:
        assert time.monotonic() < deadline, "the second node is not used"
        time.sleep(0.1)
    nodes.remove_node(far, allow_graceful=False)
    result = run.result()
    lost = [type(event.fact).__name__ for event in run.events()].count("WorkerLost")
    print(run.id, result == [0.5] * 16, lost > 0, flush=True)
    shared_cluster(nodes.address).shutdown()
    nodes.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
