"""Looks at a Ray cluster in a process of its own: for each line on standard input a view as a line of JSON.

Ray has calls that never return and keeps one connection per process; a server must neither hang with it nor lose its
own connection. So it asks this process, and ends it when no answer comes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.backends.cluster import Cluster, ClusterSettings, import_ray
from orchestrator.backends.ray_head import HeadView
from orchestrator.backends.ray_token import restrict_token_file, set_auth_mode
from orchestrator.errors import OrchestratorError
from orchestrator.ports.cluster import ClusterNode, ClusterView, Demand, Holder

ASK_S = 8.0
"""How long a cluster may take to say its versions."""

_LOOK_S = 2.0
_INTERNAL = ("node:", "object_store_memory", "accelerator_type:")
"""Resources that say what a node is, not how much of it is taken."""


def main(address: str, auth_mode: str) -> int:
    """Answer until standard input ends; the first line may take as long as connecting takes."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever Ray prints goes to the log
    threading.Thread(target=_end_with_parent, name="orc-parent", daemon=True).start()
    view: RayView | None = None
    for _ in sys.stdin:
        try:
            view = view or RayView(address, auth_mode)
            answer: dict[str, Any] = {"view": asdict(view.look())}
        except OrchestratorError as error:
            answer = {"problem": error.message}
        except Exception as error:  # Ray raises of many kinds; the next line may have more luck
            view, answer = None, {"problem": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        out.write(json.dumps(answer) + "\n")
    return 0


def _end_with_parent() -> None:
    """End when the server is gone, also in the middle of a look that hangs."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(0)


class RayView:
    """One cluster, seen without being a driver of it."""

    def __init__(self, address: str, auth_mode: str) -> None:
        if auth_mode and "RAY_AUTH_MODE" not in os.environ:
            set_auth_mode(auth_mode)
        restrict_token_file()
        import_ray()
        Cluster(ClusterSettings(address)).ask(address, ASK_S)
        self._address = address
        self._head = HeadView(address)

    def look(self) -> ClusterView:
        """The cluster now."""
        packing = self._head.packing()
        holders: dict[str, list[Holder]] = {}
        waiting: list[Demand] = []
        for actor in packing.actors:
            name, amounts = " ".join(filter(None, (actor.class_name, actor.name))), _shown(actor.required_resources)
            if _is_alive(actor):
                gpus = next((one.resource_ids for one in actor.resource_mapping if one.name == "GPU"), ())
                devices = {int(one.index): round(float(one.quantity), 4) for one in gpus}
                holder = Holder(name, actor.pid, actor.job_id.hex(), amounts, devices)
                holders.setdefault(actor.node_id.hex(), []).append(holder)
            elif amounts:
                waiting.append(Demand(amounts, 1, name))
        nodes = [
            _node(node, packing.hosts[key], tuple(holders.get(key, ())))
            for node in packing.state.node_states
            if (key := node.node_id.hex()) in packing.hosts
        ]
        demands = [Demand(_shown(one.request.resources_bundle), one.count)
                   for one in packing.state.pending_resource_requests]  # fmt: skip
        return ClusterView(self._address, tuple(nodes), tuple(_together(demands, waiting)), packing.drivers)


def _is_alive(actor: Any) -> bool:
    from ray.core.generated import gcs_pb2

    control: Any = gcs_pb2
    return bool(actor.state == control.ActorTableData.ActorState.Value("ALIVE"))


def _node(node: Any, host: str, holders: tuple[Holder, ...]) -> ClusterNode:
    labels = {name: value for name, value in node.labels.items() if name != "ray.io/node-id"}
    head = "node:__internal_head__" in node.total_resources
    return ClusterNode(node.node_id.hex(), host, node.node_ip_address, head, _shown(node.total_resources),
                       _shown(node.available_resources), labels, holders)  # fmt: skip


def _shown(amounts: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in sorted(amounts.items()) if not name.startswith(_INTERNAL)}


def _together(demands: list[Demand], named: list[Demand]) -> Iterator[Demand]:
    """What waits, each once: Ray lists an actor that waits among the requests as well, without its name."""
    left = {tuple(sorted(one.amounts.items())): one.count for one in demands}
    for one in named:
        shape = tuple(sorted(one.amounts.items()))
        left[shape] = left.get(shape, 0) - 1
        yield one
    for one in demands:
        count = left.pop(tuple(sorted(one.amounts.items())), 0)
        if count > 0:
            yield Demand(one.amounts, count)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
