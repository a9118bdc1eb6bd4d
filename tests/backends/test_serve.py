"""Model versions behind HTTP on Ray Serve."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.backends.cluster import Cluster
from orchestrator.backends.serve import RayServing
from orchestrator.errors import ConfigError, ServingFailed
from orchestrator.ports.serving import Endpoint

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCALED = "tests.backends.predictors:Scaled"


@pytest.fixture(scope="module")
def serving(local_ray: Cluster) -> Iterator[RayServing]:
    serving = RayServing(health_check_s=1.0)
    yield serving
    serving.shutdown()


@pytest.fixture(scope="module")
def served(serving: RayServing) -> Endpoint:
    return serving.deploy("doubles", "v1", SCALED, b"2", {"times": 1})


def ask(endpoint: Endpoint, body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(endpoint.url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_deployed_version_answers_at_once_and_on_this_machine_only(served: Endpoint) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    status, answer = ask(served, {"rows": [{"x": 1}, {"x": 5}]})
    assert status == 200
    assert [prediction["y"] for prediction in answer["predictions"]] == [2, 10]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "rows"),
        ({"lines": []}, 400, "rows"),
        ([1], 400, "rows"),
        ({"rows": [{"z": 1}]}, 422, "every row needs x"),
        ({"rows": [{"x": None}]}, 500, "TypeError"),
    ],
)
def test_bad_requests_are_answered_with_what_is_wrong(served: Endpoint, body: Any, status: int, words: str) -> None:
    answered, answer = ask(served, body)
    assert answered == status
    assert words in answer["error"]
    assert answer.get("field") == ("x" if status == 422 else None)


def test_the_same_version_again_keeps_its_replicas(serving: RayServing, served: Endpoint) -> None:
    before = ask(served, {"rows": [{"x": 1}]})
    assert serving.deploy("doubles", "v1", SCALED, b"2", {"times": 1}) == served
    assert ask(served, {"rows": [{"x": 1}]}) == before


def test_versions_live_side_by_side_and_end_one_by_one(serving: RayServing, served: Endpoint) -> None:
    second = serving.deploy("doubles", "v2", SCALED, b"3")
    assert second.url != served.url
    assert ask(second, {"rows": [{"x": 1}]})[1]["predictions"][0]["y"] == 3
    states = {one.endpoint: one.state for one in serving.status("doubles")}
    assert states == {served: "healthy", second: "healthy"}
    serving.undeploy("doubles", "v2")
    serving.undeploy("doubles", "v2")
    assert [one.endpoint for one in serving.status("doubles")] == [served]
    assert ask(served, {"rows": [{"x": 1}]})[0] == 200


def test_a_predictor_that_cannot_be_built_fails_with_its_own_error(serving: RayServing) -> None:
    with pytest.raises(ServingFailed, match="the payload is no model: 42"):
        serving.deploy("broken", "v1", "tests.backends.predictors:Broken", b"")
    assert serving.status("broken") in ([], [one for one in serving.status("broken") if one.state == "stopping"])


def test_a_predictor_that_does_not_exist_is_named(serving: RayServing) -> None:
    with pytest.raises(ServingFailed, match=r"tests.backends.predictors:Nope"):
        serving.deploy("missing", "v1", "tests.backends.predictors:Nope", b"")


def test_a_version_that_does_not_take_other_options_goes_on_with_those_it_had(serving: RayServing) -> None:
    endpoint = serving.deploy("kept", "v1", SCALED, b"2")
    before = ask(endpoint, {"rows": [{"x": 1}]})
    with pytest.raises(ServingFailed, match=r"(?s)the payload is no model: 42.*; what answered before goes on"):
        serving.deploy("kept", "v1", "tests.backends.predictors:Broken", b"2")
    assert ask(endpoint, {"rows": [{"x": 1}]}) == before  # the very process
    with pytest.raises(ServingFailed, match=r"(?s)kept v1 was not healthy after 1 s.*; what answered before goes on"):
        serving.deploy("kept", "v1", SCALED, b"2", num_cpus=64, timeout_s=1)
    assert [one.state for one in serving.status("kept")] == ["healthy"]
    assert serving.deploy("kept", "v1", SCALED, b"2") == endpoint
    assert ask(endpoint, {"rows": [{"x": 1}]}) == before


def test_what_does_not_become_healthy_in_time_says_so(serving: RayServing) -> None:
    with pytest.raises(ServingFailed, match="slow v1 was not healthy after 1 s"):
        serving.deploy("slow", "v1", SCALED, b"1", num_cpus=64, timeout_s=1)


@pytest.mark.parametrize(("app", "version"), [("", "v1"), ("a/b", "v1"), ("a--b", "v1"), ("a", "v 1"), ("a", "-1")])
def test_names_that_are_no_names_are_refused(serving: RayServing, app: str, version: str) -> None:
    with pytest.raises(ConfigError, match="cannot be served"):
        serving.deploy(app, version, SCALED, b"1")
    with pytest.raises(ConfigError, match="JSON"):
        serving.deploy("a", "v1", SCALED, b"1", {"when": object()})
