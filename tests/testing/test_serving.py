"""Serving in files: what is deployed outlives the object, and the same version again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, ServingFailed, TrafficMoved
from orchestrator.ports.traffic import Tally, Traffic
from orchestrator.testing import FileServing, outside


def test_versions_outlive_the_process_that_deployed_them(tmp_path: Path) -> None:
    endpoint = FileServing(tmp_path).deploy("shop", "v/1", "m:P", b"model")
    FileServing(tmp_path).deploy("shop", "v/1", "m:P", b"model")
    FileServing(tmp_path).deploy("other", "v2", "m:P", "0" * 64)
    serving = FileServing(tmp_path)
    assert [served.endpoint for served in serving.status("shop")] == [endpoint]
    assert len(serving.status()) == 2
    assert [call["version"] for call in serving.calls()] == ["v/1", "v/1", "v2"]
    serving.undeploy("shop", "no such version")
    serving.undeploy("other")
    assert [served.endpoint.app for served in serving.status()] == ["shop"]


def test_traffic_outlives_the_process_and_each_generation_is_given_once(tmp_path: Path) -> None:
    serving = FileServing(tmp_path, lambda app: {"v1": Tally(requests=3)})
    for version in ("v1", "v2"):
        serving.deploy("shop", version, "m:P", b"model")
    first = Traffic(1, {"v1": 100}, "v1")
    serving.route("shop", first)
    FileServing(tmp_path).route("shop", first)
    second = Traffic(2, {"v1": 90, "v2": 10}, "v1", by="one")
    FileServing(tmp_path).route("shop", second)
    with pytest.raises(TrafficMoved, match="by one"):
        serving.route("shop", Traffic(2, {"v2": 100}, "v1", by="two"))
    with pytest.raises(ServingFailed, match="v3 is not served"):
        serving.route("shop", Traffic(3, {"v3": 100}, "v1"))
    assert serving.changes("shop") == [first, second]
    assert serving.traffic("shop") == second
    assert serving.tallies("shop").versions["v1"].requests == 3
    serving.undeploy("shop")
    assert (serving.traffic("shop"), serving.status()) == (None, [])


def test_outside_of_a_sweep_there_is_no_outside() -> None:
    with pytest.raises(ConfigError, match="only known in a crash sweep"):
        outside()
