"""A program: a cluster of two nodes that takes jobs, for tests of submitted runs. Ends with its standard input.

It prints one JSON document for each line it reads: ``use`` (who is on the cluster), ``lose`` (the second node dies and
another takes its place). The first document has the addresses.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from ray.cluster_utils import Cluster as NodeCluster

from orchestrator.backends.ray_head import HeadView
from tests.backends.ray_fixtures import QUICK_HEALTH


class Host:
    """The cluster."""

    def __init__(self) -> None:
        head = {
            "num_cpus": 1,
            "include_dashboard": True,
            "dashboard_port": 0,
            "dashboard_agent_listen_port": None,  # any: the default one may be another cluster's
            "_system_config": QUICK_HEALTH,
        }
        self.nodes = NodeCluster(initialize_head=True, head_node_args=head)
        self.far = self._node()
        self.view = HeadView(self.nodes.address)

    def use(self) -> dict[str, Any]:
        """How many actors there are."""
        return {"actors": self.view.use().actors}

    def lose(self) -> dict[str, Any]:
        """Kill the second node, and start another."""
        self.nodes.remove_node(self.far, allow_graceful=False)
        self.far = self._node()
        return {"lost": True}

    def _node(self) -> Any:
        for _ in range(2):
            try:
                return self.nodes.add_node(num_cpus=1)
            except Exception as error:  # a bare one of Ray's: on a busy machine a node is not up in half a minute
                print(f"another try: {error}", file=sys.stderr, flush=True)
        return self.nodes.add_node(num_cpus=1)

    def answers(self) -> Iterator[dict[str, Any]]:
        """What to print."""
        yield {"address": self.nodes.address, "dashboard": f"http://{self.nodes.webui_url}"}
        for line in sys.stdin:
            yield {"use": self.use, "lose": self.lose}[line.strip()]()


def main() -> None:
    """Serve until nobody asks any more."""
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # jobs start `python`
    host = Host()
    try:
        for answer in host.answers():
            print(json.dumps(answer), flush=True)
    finally:
        host.nodes.shutdown()


if __name__ == "__main__":
    main()
