"""Lineage in OpenLineage's words: events that its own client takes and sends, to a file and to a URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import Run, RunState

from orchestrator import RunFailed
from orchestrator.app.signals import begin, catch_up, tell_again
from orchestrator.app.switches import sinks_wanted
from orchestrator.errors import SinkUnavailable
from orchestrator.sinks.lineage import dataset_name, run_uuid
from orchestrator.testing.inprocess import InProcess
from tests.sinks import flow
from tests.sinks.receiver import receiving

Event = Any


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data.txt").write_text("1 2 3")
    return str(tmp_path / "data.txt")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("ORC_OPENLINEAGE_FILE", str(path))
    return path


def events(file: Path) -> list[Event]:
    found = [json.loads(line) for line in file.read_text().splitlines()]
    for event in found:  # what the spec wants of each
        assert RunState[event["eventType"]]
        assert Run(event["run"]["runId"])
        assert event["schemaURL"].endswith("OpenLineage.json#/$defs/RunEvent")
        assert event["producer"]
        for facets in (event["run"]["facets"], event["job"]["facets"]):
            assert all(facet["_schemaURL"].startswith("https://openlineage.io/spec/") for facet in facets.values())
    return found


def kinds(found: list[Event]) -> list[tuple[str, str]]:
    return [(event["job"]["name"], event["eventType"]) for event in found]


def one(found: list[Event], job: str, kind: str) -> Event:
    (event,) = [event for event in found if (event["job"]["name"], event["eventType"]) == (job, kind)]
    return event


def test_runs_and_steps_begin_and_end_and_name_what_they_read(data: str, file: Path, tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    run = process.run(flow.learn, path=data, tags={"team": "a"})
    found = events(file)
    told = kinds(found)
    assert (told[0], told[-1]) == (("learn", "START"), ("learn", "COMPLETE"))
    for job in ("learn.load", "learn.train", "learn.double", "learn.improve", "learn.add"):
        assert told.count((job, "START")) == told.count((job, "COMPLETE")) == 1
        assert told.index((job, "START")) < told.index((job, "COMPLETE"))
    top = one(found, "learn", "START")
    assert top["run"]["runId"] == run_uuid(run.id)
    assert {"key": "team", "value": "a", "source": "ORC"} in top["run"]["facets"]["tags"]["tags"]
    load = one(found, "learn.load", "COMPLETE")
    parent = load["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == run_uuid(run.id)
    assert (parent["job"]["namespace"], parent["job"]["name"]) == ("ray-orchestrator", "learn")
    (read,), (made,) = load["inputs"], load["outputs"]
    assert (read["namespace"], read["name"]) == ("file", data)
    assert read["facets"]["version"]["datasetVersion"]
    assert (made["namespace"], made["name"]) == ("ray-orchestrator", "learn/load")
    assert [column["name"] for column in made["facets"]["schema"]["fields"]] == ["x", "name"]
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 3
    train = one(found, "learn.train", "COMPLETE")
    assert [data["name"] for data in train["inputs"]] == ["learn/load"]
    assert [data["name"] for data in train["outputs"]] == ["model:toy"]
    assert {data["name"] for data in one(found, "learn.add", "COMPLETE")["inputs"]} >= {"model:toy", "learn/double"}


def test_failures_have_their_message(data: str, file: Path, tmp_path: Path) -> None:
    process = InProcess(tmp_path / "home")
    with pytest.raises(RunFailed):
        process.run(flow.failing, path=data)
    found = events(file)
    facet = one(found, "failing.refuse", "FAIL")["run"]["facets"]["errorMessage"]
    assert (facet["message"], facet["programmingLanguage"]) == ("ValueError: no good", "python")
    assert "in refuse" in facet["stackTrace"]
    assert "refuse" in one(found, "failing", "FAIL")["run"]["facets"]["errorMessage"]["message"]


def test_a_url_that_was_away_gets_each_event_and_the_same_twice_is_the_same(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = InProcess(tmp_path / "home")
    here = process.installation
    with receiving() as receiver:
        receiver.away = True
        monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
        assert sinks_wanted() == ["lineage"]
        begin(here)
        monkeypatch.delenv("OPENLINEAGE_URL")
        run = process.run(flow.learn, path=data)
        monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
        with pytest.raises(SinkUnavailable):
            catch_up(here)
        receiver.away = False
        catch_up(here)
        first = [json.loads(body) for body in receiver.bodies("/api/v1/lineage")]
        assert kinds(first)[-1] == ("learn", "COMPLETE")
        tell_again(here, run.id, "lineage")
        again = [json.loads(body) for body in receiver.bodies("/api/v1/lineage")][len(first) :]
    assert again == first


def test_names_of_data_sets_follow_the_convention() -> None:
    assert dataset_name("s3://bucket/a/b.parquet", "ns") == ("s3://bucket", "a/b.parquet")
    assert dataset_name("file:///tmp/a.csv", "ns") == ("file", "/tmp/a.csv")
    assert dataset_name("data:flights", "ns") == ("ns", "data:flights")
