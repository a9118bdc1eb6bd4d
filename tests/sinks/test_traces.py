"""Spans of runs, steps and attempts reach a real OTLP receiver, with those that stages opened inside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from orchestrator import RunFailed
from orchestrator.app.installation import Installation
from orchestrator.app.signals import begin, catch_up, tell_again
from orchestrator.app.switches import sinks_wanted
from orchestrator.errors import SinkUnavailable
from orchestrator.graph import spans
from orchestrator.testing.inprocess import InProcess
from tests.sinks import flow
from tests.sinks.receiver import Receiver, receiving

Span = Any


def received(receiver: Receiver) -> dict[bytes, Span]:
    """Spans by id; one that came twice is one, as for any backend."""
    found: dict[bytes, Span] = {}
    for body in receiver.bodies("/v1/traces"):
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                found |= {span.span_id: span for span in scope.spans}
    return found


def by_name(found: dict[bytes, Span]) -> dict[str, list[Span]]:
    names: dict[str, list[Span]] = {}
    for span in sorted(found.values(), key=lambda span: span.start_time_unix_nano):
        names.setdefault(span.name, []).append(span)
    return names


def attribute(span: Span, name: str) -> Any:
    (value,) = [one.value for one in span.attributes if one.key == name]
    return getattr(value, value.WhichOneof("value"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    (tmp_path / "data.txt").write_text("1 2 3")
    return str(tmp_path / "data.txt")


def test_a_run_is_a_trace_over_driver_and_workers(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        run = flow.learn.options(on="local", tags={"team": "a"}).run(path=data)
        deadline = time.monotonic() + 60  # the workers' own spans leave when they end, or every half second
        while len(by_name(received(receiver)).get("fit", ())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        found = received(receiver)
    names = by_name(found)
    (top,) = names["run learn"]
    assert top.parent_span_id == b""
    assert {span.trace_id for span in found.values()} == {spans.trace_id(run.id).to_bytes(16, "big")}
    assert attribute(top, "orc.tag.team") == "a"
    assert {"step load", "step train", "map double", "step double[2]", "step improve", "step add"} <= names.keys()
    (train,) = names["step train"]
    assert train.parent_span_id == top.span_id
    first, second = names["attempt train 1"][0], names["attempt train 2"][0]
    assert {first.parent_span_id, second.parent_span_id} == {train.span_id}
    assert (first.status.code, second.status.code) == (2, 1)
    assert first.status.message == "OSError: not yet"
    assert [span.parent_span_id for span in names["fit"]] == [first.span_id, second.span_id]
    for inner, outer in zip(names["fit"], (first, second), strict=True):
        told = attribute(inner, "traceparent")
        assert told == f"00-{outer.trace_id.hex()}-{outer.span_id.hex()}-01"
    for name, found_here in names.items():
        if name.startswith(("attempt", "step", "map")):
            assert all(top.start_time_unix_nano <= span.start_time_unix_nano for span in found_here)
            assert all(span.end_time_unix_nano <= top.end_time_unix_nano for span in found_here)
    (items,) = names["map double"]
    assert names["step double[0]"][0].parent_span_id == items.span_id
    (body,) = names["step improve"]
    assert names["step improve/double"][0].parent_span_id == body.span_id


def test_a_receiver_that_was_away_is_told_later_and_twice_is_once(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = InProcess(tmp_path / "home")
    here = process.installation
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        begin(here)
        receiver.away = True
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")  # the run itself tells nobody
        run = process.run(flow.learn, path=data)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with pytest.raises(SinkUnavailable):
            catch_up(here)
        assert received(receiver) == {}
        receiver.away = False
        assert catch_up(here)["traces"] > 0
        first = received(receiver)
        assert {"run learn", "attempt train 2"} <= by_name(first).keys()
        assert catch_up(here) == {"traces": 0}
        tell_again(here, run.id, "traces")
        assert received(receiver).keys() == first.keys()


def test_a_failure_is_an_error_with_the_users_frames(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        process = InProcess(tmp_path / "home")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with pytest.raises(RunFailed):
            process.run(flow.failing, path=data)
        names = by_name(received(receiver))
    (attempt,) = names["attempt refuse 1"]
    assert attribute(attempt, "exception.type") == "ValueError"
    assert "in refuse" in attribute(attempt, "exception.stacktrace")
    assert names["run failing"][0].status.code == 2


def test_nothing_is_loaded_or_told_unless_it_is_wanted(data: str, tmp_path: Path) -> None:
    assert sinks_wanted({}) == []
    assert sinks_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}) == []
    process = InProcess(tmp_path / "home")
    process.run(flow.learn, path=data)
    assert not (Installation(process.installation.settings).settings.home / "readers").exists()
