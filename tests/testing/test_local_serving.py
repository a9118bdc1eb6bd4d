"""A pipeline that serves two versions and moves traffic between them, all in this process."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from orchestrator import pipeline, stage, step
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.ports.traffic import Traffic
from orchestrator.testing import InProcess, LocalServing

SCALED = "tests.backends.predictors:Scaled"


@stage(uses=("serving",), effects=True)
def release(app: str) -> str:
    for version, factor in (("v1", b"2"), ("v2", b"3")):
        step().serving.deploy(app, version, SCALED, factor)
    return str(step().routing.route(app, Traffic(1, {"v1": 50, "v2": 50}, "v1")).url)


@pipeline
def releasing() -> str:
    return release("shop")


def test_stages_reach_serving_and_routing(tmp_path: Path) -> None:
    with LocalServing() as served:
        url = InProcess(tmp_path, ports={"serving": served, "routing": served}).run(releasing).result()
        request = urllib.request.Request(url, b'{"rows": [{"x": 1}]}', {"X-Client-Key": "someone"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer, version = json.loads(response.read()), response.headers["X-Model-Version"]
        assert answer["predictions"][0]["y"] == {"v1": 2, "v2": 3}[version]
        tallies = served.tallies("shop").versions
        assert tallies[version].clients["someone"].requests == 1
        assert [one.endpoint.version for one in served.status("shop")] == ["v1", "v2"]
        served.undeploy("shop")
        assert (served.status(), served.traffic("shop")) == ([], None)


def test_what_cannot_be_served_is_refused() -> None:
    with LocalServing() as served:
        with pytest.raises(ServingFailed, match="the payload is no model: 42"):
            served.deploy("shop", "v1", "tests.backends.predictors:Broken", b"")
        with pytest.raises(ConfigError, match="no artifact store"):
            served.deploy("shop", "v1", SCALED, "0" * 64)
        with pytest.raises(ConfigError, match="cannot be served"):
            served.deploy("shop", "outcomes", SCALED, b"1")
