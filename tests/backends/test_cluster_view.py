"""Looking at a cluster through a process of its own: what never answers is given up, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from orchestrator.backends.cluster_view import RayLook, view_from_json
from orchestrator.errors import ClusterUnreachable
from orchestrator.ports.cluster import ClusterNode, ClusterView, Demand, Holder


def test_what_is_silent_is_given_up_and_its_process_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        look = RayLook(f"127.0.0.1:{silent.getsockname()[1]}", "disabled", tmp_path / "cluster.log")
        for _ in range(2):
            with pytest.raises(ClusterUnreachable, match="did not answer within"):
                look.look(0.2)
            assert look._process is None
        look.close()


def test_where_nothing_listens_it_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    look = RayLook(f"127.0.0.1:{port}", "disabled", tmp_path / "cluster.log")
    try:
        with pytest.raises(ClusterUnreachable, match=str(port)):
            look.look(200.0)
    finally:
        look.close()


def test_views_come_through_as_they_were() -> None:
    holder = Holder("WorkerActor", 7, "01", {"CPU": 1.0, "GPU": 0.25}, {3: 0.25})
    node = ClusterNode("ab", "h", "10.0.0.1", True, {"CPU": 2.0}, {"CPU": 1.0}, {"zone": "a"}, (holder,))
    view = ClusterView("h:1", (node,), (Demand({"GPU": 4.0}, 3, "fit"),), 2)
    assert view_from_json(json.loads(json.dumps(asdict(view)))) == view
