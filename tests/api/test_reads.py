"""What the API answers about runs, and that it is what its OpenAPI document says."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.api import flow
from tests.api.conftest import Client, Served


def valid(get: Client, path: str, template: str) -> Any:
    """The document at a path, valid against the published schema of its route."""
    openapi = get.api("/openapi.json")
    declared = openapi["paths"][f"/api/v1{template}"]["get"]["responses"]["200"]["content"]["application/json"]
    found = get.api(path)
    Draft202012Validator({**declared["schema"], "components": openapi["components"]}).validate(found)
    return found


def test_every_document_is_as_published(get: Client, home: Served) -> None:
    shapes, wide = home.runs["shapes"], home.runs["wide"]
    for path, template in (
        ("", ""),
        ("/runs?limit=2", "/runs"),
        (f"/runs/{shapes}", "/runs/{run}"),
        (f"/runs/{home.runs['asking']}", "/runs/{run}"),
        (f"/runs/{shapes}/nodes", "/runs/{run}/nodes"),
        (f"/runs/{shapes}/steps/flaky", "/runs/{run}/steps/{address}"),
        (f"/runs/{home.runs['failing']}/steps/broken", "/runs/{run}/steps/{address}"),
        (f"/runs/{wide}/items/square", "/runs/{run}/items/{address}"),
        (f"/runs/{shapes}/reasons/flaky", "/runs/{run}/reasons/{address}"),
        *((f"/runs/{shapes}/outputs/{step}", "/runs/{run}/outputs/{address}")
          for step in ("load", "table", "parts", "picture", "pickled", "flaky")),
        ("/models", "/models"),
    ):  # fmt: skip
        valid(get, path, template)


def test_runs_come_in_pages_and_are_searched(get: Client, home: Served) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = get.api(f"/runs?limit=1&cursor={cursor}")
        seen += [run["id"] for run in page["items"]]
        cursor = page["next"]
    assert seen == [home.runs[name] for name in ("asking", "failing", "wide", "shapes")]
    assert [run["id"] for run in get.api("/runs?q=OPS")["items"]] == [home.runs["wide"], home.runs["shapes"]]
    assert [run["id"] for run in get.api("/runs?state=failed&pipeline=failing")["items"]] == [home.runs["failing"]]


def test_a_run_nobody_drives_says_what_can_be_done(get: Client, home: Served) -> None:
    found = get.api(f"/runs/{home.runs['asking']}")
    assert (found["run"]["state"], found["run"]["driver"]) == ("waiting", None)
    assert found["actions"] == ["answer", "resume", "cancel"]
    assert [(one["kind"], one["text"]) for one in found["waiting"]] == [("approval", "Ship it?")]
    assert get.api(f"/runs/{home.runs['failing']}")["actions"] == []


def test_a_failure_shows_the_frames_of_the_user(get: Client, home: Served) -> None:
    found = get.api(f"/runs/{home.runs['failing']}/steps/broken")
    assert (found["item"]["state"], found["item"]["error"]["error"]) == ("failed", "ValueError")
    assert ["in _inner" in frame for frame in found["item"]["error"]["frames"]][-1]
    states = {node["address"]: node["state"] for node in get.api(f"/runs/{home.runs['failing']}/nodes")["items"]}
    assert states == {"load": "succeeded", "broken": "failed", "total": "cancelled"}  # what did not run is shown


def test_attempts_and_what_was_reported(get: Client, home: Served) -> None:
    found = get.api(f"/runs/{home.runs['shapes']}/steps/flaky")
    first, second = found["attempts"]
    assert (first["error"]["error"], first["retry_at"] is None) == ("OSError", False)
    assert (second["error"], second["number"]) == (None, 2)
    assert found["metrics"] == [{"auc": 0.5}, {"auc": 0.5}]
    whats = [one["what"] for one in get.api(f"/runs/{home.runs['shapes']}/reasons/flaky")["items"]]
    assert whats == ["started", "retry", "started", "succeeded"]
    node = next(node for node in get.api(f"/runs/{home.runs['shapes']}/nodes")["items"] if node["address"] == "load")
    assert node["reason"].startswith("not in the cache: ")
    assert node["ready_at"] <= node["started_at"] <= node["ended_at"]


def test_a_map_is_one_node_that_opens_into_pages(get: Client, home: Served) -> None:
    wide = home.runs["wide"]
    node = next(node for node in get.api(f"/runs/{wide}/nodes")["items"] if node["address"] == "square")
    assert (node["steps"], node["counts"]) == (20_000, {"succeeded": 19_996, "dropped": 4})
    page = get.api(f"/runs/{wide}/items/square?cursor=4998&limit=3")
    assert [(item["index"], item["state"], item["preview"]) for item in page["items"]] == [
        (4998, "succeeded", str(4998**2)), (4999, "dropped", ""), (5000, "succeeded", str(5000**2))
    ]  # fmt: skip
    assert page["items"][1]["error"]["message"] == "4999 is not liked"
    assert (page["next"], page["total"]) == ("5001", 20_000)
    dropped = get.api(f"/runs/{wide}/items/square?state=dropped&limit=3")
    assert [item["index"] for item in dropped["items"]] == [4999, 9999, 14_999]
    more = get.api(f"/runs/{wide}/items/square?state=dropped&cursor={dropped['next']}")
    assert ([item["index"] for item in more["items"]][-1], more["next"]) == (19_999, None)
    one = get.api(f"/runs/{wide}/steps/square%5B19998%5D")
    assert (one["item"]["preview"], one["item"]["attempts"]) == (str(19_998**2), 1)


def test_outputs_are_shown_and_nothing_is_unpickled(get: Client, home: Served) -> None:
    run = home.runs["shapes"]
    table = get.api(f"/runs/{run}/outputs/table")
    assert (table["kind"], table["table"]["rows_total"], len(table["table"]["rows"])) == ("table", 80, 50)
    assert table["table"]["rows"][2] == ["2", "row 2"]
    parts = get.api(f"/runs/{run}/outputs/parts")
    assert [one["name"] for one in parts["parts"]] == ["left", "right"]
    right = get.api(f"/runs/{run}/outputs/parts?part=right")
    assert right["value"] == {"a": 1.5, "nan": {"$float": "nan"}, "text": "<script>alert(1)</script>"}
    pickle = get.api(f"/runs/{run}/outputs/pickled")
    assert (pickle["kind"], "pickle" in pickle["note"], flow.OPENED) == ("described", True, [])
    image = get(get.api(f"/runs/{run}/outputs/picture")["image_url"])
    assert (image.headers["content-type"], image.body[:4]) == ("image/png", b"\x89PNG")


def test_what_is_not_there_is_a_problem_with_our_code(get: Client, home: Served) -> None:
    run, asking = home.runs["shapes"], home.runs["asking"]
    for path, status, code in (
        ("/runs/nothing", 404, "ORC-150"),
        (f"/runs/{run}/steps/nothing", 404, "ORC-150"),
        (f"/runs/{run}/steps/load%5B", 400, "ORC-132"),
        (f"/runs/{home.runs['wide']}/steps/square%5B20000%5D", 404, "ORC-150"),
        (f"/runs/{home.runs['wide']}/outputs/square", 404, "ORC-150"),
        (f"/runs/{asking}/outputs/approve", 404, "ORC-150"),
        (f"/runs/{run}/outputs/parts?part=no", 404, "ORC-150"),
        (f"/runs/{run}/images/table", 404, "ORC-150"),
        (f"/runs/{home.runs['wide']}/logs/square", 400, "ORC-140"),
        ("/runs?cursor=%C3%BC", 400, "ORC-140"),
        ("/runs?limit=0", 422, "ORC-140"),
        (f"/runs/{run}/items/load?cursor=-1", 400, "ORC-140"),
        ("/nothing", 404, "ORC-100"),
    ):
        got = get(f"/api/v1{path}")
        assert (got.status, got.json["code"], got.json["status"]) == (status, code, status), (path, got.text)
        assert got.headers["content-type"] == "application/problem+json"
    assert get("/api/v1/runs", "DELETE").status == 405


def test_what_has_not_changed_is_not_sent_again(get: Client, home: Served) -> None:
    for path in (f"/api/v1/runs/{home.runs['wide']}", "/api/v1/runs", f"/runs/{home.runs['shapes']}", "/"):
        tag = get(path, Accept="text/html").headers["etag"]
        again = get(path, Accept="text/html", If_None_Match=f'"other", {tag}')
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)


def test_versions_of_models_and_the_steps_that_made_them(get: Client, home: Served) -> None:
    (version,) = get.api("/models")["items"]
    found = [version[name] for name in ("name", "version", "stage", "run", "step")]
    assert found == ["model:toy", 1, "dev", home.runs["shapes"], "fit"]
    page = get.page("/models")
    assert "model:toy@v1" in page
    assert f"/runs/{home.runs['shapes']}/steps/fit" in page
    assert get("/api/v1/models?name=data:x").json["code"] == "ORC-140"


def test_times_say_who_waited_and_what_the_end_waited_for(get: Client, home: Served) -> None:
    nodes = {node["address"]: node for node in get.api(f"/runs/{home.runs['shapes']}/nodes")["items"]}
    for node in nodes.values():
        assert node["ready_at"] <= node["started_at"] <= node["ended_at"]
        assert all(nodes[need]["ended_at"] <= node["started_at"] for need in node["needs"])
    chain = get.api(f"/runs/{home.runs['shapes']}")["critical"]
    assert chain[0] == "load"
    assert nodes[chain[-1]]["ended_at"] == max(node["ended_at"] for node in nodes.values())
    assert nodes["flaky"]["error"] is None  # it succeeded in the end; its attempts say what went wrong before


@pytest.mark.parametrize("what", ["graph.svg", "timeline.svg"])
def test_drawings(get: Client, home: Served, what: str) -> None:
    got = get(f"/api/v1/runs/{home.runs['shapes']}/{what}")
    assert (got.status, got.headers["content-type"], "flaky" in got.text) == (200, "image/svg+xml", True)
