"""The OpenAPI document against the server: whatever it allows is answered, and nothing makes the server fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import cycle

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from orchestrator.api.app import make_app
from tests.api import flow, lineage_flow
from tests.api.conftest import Served, served

EXAMPLES = 10
ENDLESS = "events"
"""Streams that end when the client does have tests of their own."""

ELSEWHERE = ("{release}", "{trigger}", "/sweeps/", "/sweep-charts/", "/plans")
"""Nothing of these is here: tests of releases, sweeps, triggers and pipelines ask for what is there."""

TOKEN = "a token for requests in process"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Runs that have ended, so that no action of a made-up request begins anything."""
    folder = tmp_path_factory.mktemp("schema")
    (folder / "clicks.csv").write_text("user,clicked,noise\na,1,3\nb,0,4\n")
    runs = {"shapes": lambda p: p.run(flow.shapes, n=5), "wide": lambda p: p.run(flow.wide, n=300),
            "ingest": lambda p: p.run(lineage_flow.ingest, path=str(folder / "clicks.csv")),
            "train": lambda p: p.run(lineage_flow.train)}  # fmt: skip
    with served(folder / "home", lambda process: {name: make(process).id for name, make in runs.items()}) as found:
        yield found


@pytest.fixture(scope="module")
def app(finished: Served) -> FastAPI:
    return make_app(finished.process.installation, TOKEN)


def operations(app: FastAPI) -> list[schemathesis.APIOperation]:
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=HEADERS)
    found = [one.ok() for one in schema.get_all_operations()]
    return [one for one in found if not one.path.removesuffix("/{address}").endswith(ENDLESS)]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_the_server_fail(app: FastAPI, finished: Served, mode: GenerationMode) -> None:
    """Requests that the document allows, and ones it does not; every other one is about something that is there."""
    asked: dict[str, set[int]] = {}
    for operation in operations(app):
        try_operation(operation, finished, mode, asked.setdefault(f"{operation.method} {operation.path}", set()))
    assert len(asked) >= 18
    assert not any(status >= 500 for statuses in asked.values() for status in statuses), asked
    if mode is GenerationMode.POSITIVE:  # they do reach what is there, and are not all refused
        reads = {name: statuses for name, statuses in asked.items() if name.startswith("get")}
        missed = {name for name, statuses in reads.items() if 200 not in statuses}
        assert {name for name in missed if not any(part in name for part in ELSEWHERE)} == set()


def try_operation(
    operation: schemathesis.APIOperation, finished: Served, mode: GenerationMode, statuses: set[int]
) -> None:
    real = cycle([True, True, False])
    runs = finished.runs

    @seed(20260)
    @settings(max_examples=EXAMPLES, database=None, derandomize=False, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck), deadline=None)  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case) -> None:
        if next(real):
            make_real(case, runs, mode)
        response = case.call(headers=HEADERS)
        statuses.add(response.status_code)
        if mode is GenerationMode.POSITIVE and response.status_code == 200:
            operation.validate_response(response)
        assert response.status_code < 500, (operation.label, case.as_curl_command(), response.text)
        if response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"], response.headers

    with contextlib.suppress(Unsatisfiable):  # there is nothing about it that could be wrong
        attempt()


def make_real(case: schemathesis.Case, runs: dict[str, str], mode: GenerationMode) -> None:
    """Let a request be about a run, a step, a version that is there."""
    path = dict(case.path_parameters or {})
    query = dict(case.query or {})
    picture = "image" in case.operation.path
    if "run" in path:
        path["run"] = runs["shapes"]
    if "address" in path:
        path["address"] = "picture" if picture else "load"
    if "name" in path and case.method == "GET":
        path |= {"name": "ctr"} | ({"which": "v1"} if "which" in path else {})
    case.path_parameters = path
    if mode is GenerationMode.NEGATIVE:
        return
    if "run" in query or case.operation.path.endswith("/compare"):
        query["run"] = [runs["shapes"], runs["wide"]]
    if "of" in query or "lineage" in case.operation.path:
        query["of"] = "model:ctr"
    for name in ("cursor", "part", "state"):
        query.pop(name, None)
    case.query = query
