"""What runs where: without a cluster, on local workers, on Ray, and before a Ray that never answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.server import Web, serving
from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.backends.cluster import Cluster
from orchestrator.config.settings import Settings
from orchestrator.graph.pipeline import RunOptions
from tests.api import busy_flow
from tests.api.conftest import Client, Served, served

PATIENCE_S = 200.0


def until(look: Callable[[], Any], condition: Callable[[Any], object]) -> Any:
    """What is there once the condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Served, Run, Path]]:
    """A run on two local workers that hold until the file is there."""
    gate = tmp_path / "gate"
    with served(tmp_path / "home", lambda process: {}) as found:
        runner = Runner(found.process.installation)
        run = runner.start(busy_flow.busy, {"gate": str(gate)}, RunOptions(on="local"))
        yield found, run, gate
        gate.touch()
        run.cancel("enough")
        run.wait()


def test_nothing_runs_and_there_is_no_cluster(client_of_nothing: Client) -> None:
    found = client_of_nothing.api("/cluster")
    assert (found["source"], found["nodes"], found["runs"], found["problem"]) == ("none", [], [], "")
    page = client_of_nothing.page("/cluster")
    assert ("There is no cluster" in page, "No run is under way" in page) == (True, True)


def test_local_workers_what_they_have_and_what_waits_for_what(busy: tuple[Served, Run, Path]) -> None:
    home, run, gate = busy
    (found,) = until(
        lambda: home.client.api("/cluster")["runs"],
        lambda runs: runs and sum(bool(worker["steps"]) for worker in runs[0]["workers"]) == 2,
    )
    assert (found["run"], found["backend"], found["slots"]) == (run.id, "local", 2)
    held = {one["address"] for worker in found["workers"] for one in worker["steps"]}
    assert held <= {"hold", "hold#2", "hold#3"}
    waits = {wait["node"]: wait for wait in found["waits"]}
    assert (waits["approve"]["kind"], waits["approve"]["text"]) == ("answer", "Ship it?")
    assert waits["approve"]["until"] is not None
    assert (waits["gather"]["kind"], set(waits["gather"]["on"])) == ("input", {"hold", "hold#2", "hold#3"})
    for name, wait in waits.items():
        if name.startswith("hold"):
            assert (wait["kind"], wait["needs"]) == ("worker", "num_cpus=1")
    page = home.client.page("/cluster")
    assert (f"Workers of {run.id}" in page, "2 of 2" in page, "the output of hold" in page) == (True, True, True)
    gate.touch()
    (after,) = until(
        lambda: home.client.api("/cluster")["runs"], lambda runs: [w["node"] for w in runs[0]["waits"]] == ["approve"]
    )
    assert all(worker["steps"] == [] for worker in after["workers"])


def test_a_run_without_a_driver_waits_for_one(waiting: Served) -> None:
    (found,) = waiting.client.api("/cluster")["runs"]
    assert (found["driver"], found["workers"]) == (None, [])
    assert {wait["kind"] for wait in found["waits"]} == {"answer", "input"}


def test_a_ray_that_never_answers_holds_up_nobody(tmp_path: Path) -> None:
    """Something listens at the address and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path), "ORC_RAY_ADDRESS": address}))
        with serving(here, Web(port=0)) as url:
            client = Client(url)
            begun = time.monotonic()
            first = client.api("/cluster")
            assert time.monotonic() - begun < 60.0
            assert (first["source"], first["address"], first["nodes"]) == ("address", address, [])
            assert "has not answered yet" in client.page("/cluster")
            found = until(lambda: client.api("/cluster"), lambda found: found["problem"])
            assert address in found["problem"]
            assert found["problem"] in client.page("/cluster").replace("&#39;", "'")
        here.close()


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_fractions_on_a_ray_with_the_steps_that_hold_them(local_ray: Cluster, tmp_path: Path) -> None:
    import ray

    address, gate = ray.get_runtime_context().gcs_address, tmp_path / "gate"
    here = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_RAY_ADDRESS": address}))
    run = Runner(here).start(busy_flow.shared, {"gate": str(gate)}, RunOptions(on="ray"))
    try:
        with serving(here, Web(port=0)) as url:
            client = Client(url)

            def ours() -> list[Any]:
                found = client.api("/cluster")
                return [
                    one for node in found["nodes"] for one in node["holders"] if one["run"] == run.id and one["steps"]
                ]

            held = until(ours, lambda holders: sum(one["amounts"].get("GPU") == 0.25 for one in holders) >= 2)
            shares = [one for one in held if one["amounts"].get("GPU")]
            assert {one["steps"][0]["address"] for one in shares} == {"share"}
            assert all(sum(one["devices"].values()) == 0.25 for one in shares)
            (node,) = client.api("/cluster")["nodes"]
            assert (node["total"]["CPU"], node["total"]["GPU"], node["head"]) == (2.0, 4.0, True)
            page = client.page("/cluster")
            assert ("GPU 0" in page, "share 0.25 GPU 0" in page) == (True, True)
            gate.touch()
            assert run.result() == 6
    finally:
        gate.touch()
        run.wait()
        here.close()
