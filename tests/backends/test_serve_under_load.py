"""Model versions on Ray Serve that get more than they can take, together, on a part of a GPU, and captured."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

from orchestrator.artifacts.objects import Objects
from orchestrator.artifacts.store import open_objects
from orchestrator.backends.cluster import Cluster
from orchestrator.backends.serve import RayServing
from orchestrator.backends.serve_replica import LocalSource
from orchestrator.backends.serve_router import RayRouter, RouterSettings
from orchestrator.backends.serve_upkeep import start_upkeep
from orchestrator.ports.capture import Capture
from orchestrator.ports.serving import Autoscaling, Endpoint, Load
from orchestrator.ports.traffic import Traffic

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HELD = "tests.backends.predictors:Held"


class Source(LocalSource):
    """Code of this process, and folders of this machine."""

    def folder(self, url: str) -> Objects:
        """As that of a run."""
        return open_objects(url)


class Got(NamedTuple):
    """What a client got."""

    status: int
    body: dict[str, Any]
    headers: Any


@pytest.fixture(scope="module")
def serving(local_ray: Cluster) -> Iterator[RayServing]:
    serving = RayServing(Source(), health_check_s=1.0)
    yield serving
    serving.shutdown()


def ask(url: str, *rows: Any, client: str = "", model: str = "") -> Got:
    headers = {"X-Client-Key": client} | ({"X-Model": model} if model else {})
    request = urllib.request.Request(url, json.dumps({"rows": rows}).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return Got(response.status, json.loads(response.read()), response.headers)
    except urllib.error.HTTPError as error:
        text = error.read()
        return Got(error.code, json.loads(text) if text[:1] == b"{" else {"error": text}, error.headers)


def told(endpoint: Endpoint) -> dict[str, Any]:
    with urllib.request.urlopen(endpoint.url, timeout=120) as response:
        return dict(json.loads(response.read()))


def await_true(holds: Any, timeout_s: float = 200.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_requests_are_answered_together_on_a_part_of_a_gpu_and_kept_until_the_version_has_had_its_time(
    serving: RayServing, tmp_path: Path, gate: Path
) -> None:
    import ray

    capture = Capture(str(tmp_path / "kept"), share=1.0, every_s=3600, inputs={"x": "number"})
    load = Load(max_ongoing_requests=16, max_batch_size=4, batch_wait_timeout_s=60)
    before = ray.available_resources()["GPU"]
    models = {"it": str(gate).encode(), "other": b"/nowhere"}
    until = time.time() + 3600
    endpoint = serving.deploy("held", "v1", HELD, models, num_gpus=0.25, load=load, capture=capture, until=until)
    await_true(lambda: ray.available_resources()["GPU"] == before - 0.25)
    gate.touch()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: ask(endpoint.url, *[{"x": number}] * (number % 3), model="it"), range(8)))
    assert [[one["value"] for one in answer.body["predictions"]] for answer in got] == [
        [2 * number] * (number % 3) for number in range(8)
    ]
    together = {one["rows"] for answer in got for one in answer.body["predictions"]}
    assert max(together) > 2  # of one request there are two at most
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda row: ask(endpoint.url, row, model="it"), [{"x": 1}, {"x": 2}, {"z": 3}, {"x": 4}]))
        strange = list(
            pool.map(lambda model: ask(endpoint.url + model, {"x": 1}), ["/models/its", "", *["/models/it"] * 2])
        )
    assert [answer.status for answer in got] == [200, 200, 422, 200]
    assert [answer.status for answer in strange] == [404, 404, 200, 200]
    assert "there is no model 'its' here; there are it, other" in strange[0].body["error"]
    state = told(endpoint)
    assert (state["captured"]["sampled"], state["models"]) == (16, ["it"])

    assert serving.until("held", "v1") == until
    ray.kill(start_upkeep(), no_restart=False)  # whoever was to end it dies, and another knows of it
    assert ray.get(start_upkeep().look.remote(until - 1)) == []
    assert told(endpoint)["captured"]["sampled"] == 16
    assert ray.get(start_upkeep().look.remote(until)) == ["held--v1"]
    await_true(lambda: serving.status("held") == [])  # what waits is written before the end
    await_true(lambda: list(tmp_path.glob("kept/held/v1/counts-*.json")))
    rows = [row for path in tmp_path.glob("kept/held/v1/rows-*") for row in pq.read_table(path).to_pylist()]
    assert sorted(row["x"] for row in rows) == sorted([1, 2, 2, 4, 5, 5, 7, 1, 2, 4, 1, 1])
    assert all(row["answer_value"] == 2 * row["x"] for row in rows)
    assert {answer.headers["X-Answer-Id"] for answer in got if answer.status == 200} <= {
        row["answer_id"] for row in rows
    }
    assert {row["answer_model"] for row in rows} == {"it"}
    apart = [row for path in tmp_path.glob("kept/held/v1/apart-*") for row in pq.read_table(path).to_pylist()]
    assert {row["answer_id"]: row["answer_status"] for row in apart} == {
        answer.headers["X-Answer-Id"]: answer.status for answer in [got[2], *strange[:2]]
    }


def test_what_a_version_has_no_room_for_is_sent_away_or_answered_by_the_stable_one_until_there_are_more_replicas(
    serving: RayServing, tmp_path: Path, gate: Path
) -> None:
    from ray import serve

    (tmp_path / "open").touch()
    grows = Autoscaling(2, target_ongoing_requests=100, target_latency_ms=0.001, upscale_delay_s=0)
    little = Load(max_ongoing_requests=1, max_queued_requests=1, autoscaling=grows)
    serving.deploy("full", "v1", HELD, str(tmp_path / "open").encode())
    small = serving.deploy("full", "v2", HELD, str(gate).encode(), load=little)
    router = RayRouter(RouterSettings(health_check_s=1.0))
    routed = router.route("full", Traffic(1, {"v1": 0, "v2": 100}, "v1"))
    with ThreadPoolExecutor(20) as pool:
        direct = [pool.submit(ask, small.url, {"x": 1}) for _ in range(10)]
        await_true(lambda: any(one.done() for one in direct))
        through = [pool.submit(ask, routed.url, {"x": 1}, client=str(number)) for number in range(10)]
        await_true(lambda: any(one.done() for one in through))
        gate.touch()
        of_version, of_router = ([one.result() for one in some] for some in (direct, through))
    assert {answer.status for answer in of_version} == {200, 503}
    assert {answer.headers["Retry-After"] for answer in of_version if answer.status == 503} == {"1"}
    assert [answer.status for answer in of_router] == [200] * 10
    await_true(lambda: router.tallies("full").versions["v2"].turned_away > 0)
    assert [answer.headers["X-Model-Version"] for answer in of_router].count("v1") >= 1

    def replicas() -> int:
        assert ask(small.url, {"x": 1}).status == 200
        return int(serve.status().applications["full--v2"].deployments["predictor"].replica_states.get("RUNNING", 0))

    await_true(lambda: replicas() == 2)  # not because of the queue, of which 100 are welcome
