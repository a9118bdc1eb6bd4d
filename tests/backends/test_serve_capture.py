"""Capture of predictions without a server: who is in the sample, what the queue holds, a folder that is away."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.artifacts.store import open_objects
from orchestrator.backends.serve_capture import Capturing, Recorder, Sample, SampleQueue, is_sampled
from orchestrator.backends.serve_parts import tables
from orchestrator.errors import ConfigError, StoreUnavailable
from orchestrator.ports.capture import Capture

INPUTS = {"x": "number", "name": "text", "at": "time", "vector": "numbers"}
ROW = {"x": 1, "name": "a", "at": "2026-01-02T03:04", "vector": [1, 2.5]}


def sample(number: int = 1, rows: Any = (ROW,), answers: Any = ({"probability": 0.25},), status: int = 200) -> Sample:
    answer = {"predictions": answers} if status == 200 else {"error": answers}
    asked = json.dumps({"rows": rows}).encode()
    return Sample(f"{number:016x}", 1_800_000_000.0 + number, 1.5, status, asked, json.dumps(answer).encode())


def capture(folder: Path, **more: Any) -> Capture:
    return Capture(str(folder), **{"share": 1.0, "inputs": INPUTS, **more})


def read(folder: Path, kind: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(path) for path in sorted(folder.glob(f"shop/v1/{kind}-*.parquet"))]
    return [row for table in tables for row in table.to_pylist()]


def counts(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("shop/v1/counts-*.json")
    return dict(json.loads(path.read_text()))


def test_the_id_of_a_request_decides_whether_it_is_in_the_sample() -> None:
    ids = [f"{number:016x}" for number in range(20_000)]
    few = {one for one in ids if is_sampled(one, 0.05)}
    assert few == {one for one in ids if is_sampled(one, 0.05)}
    assert 850 < len(few) < 1_150
    assert few < {one for one in ids if is_sampled(one, 0.2)}  # a larger share keeps what a smaller one did
    assert all(is_sampled(one, 1.0) for one in ids)


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(tmp_path: Path) -> None:
    size = len(sample().body) + len(sample().answer)
    due = threading.Event()
    queue = SampleQueue(capture(tmp_path, queue_bytes=3 * size, part_requests=3), due)
    for number in range(5):
        queue.offer(sample(number))
        assert due.is_set() == (number >= 2)
    found = queue.counts()
    assert (found["requests"], found["sampled"], found["dropped"]) == (5, 5, 2)
    assert len(queue.take()) == 3
    queue.offer(sample())
    assert len(queue.take()) == 1


def test_rows_get_the_types_of_the_signature_and_what_does_not_match_is_kept_apart() -> None:
    bad = [
        {**ROW, "x": "much"}, {**ROW, "x": True}, {**ROW, "name": 3}, {**ROW, "name": "\ud800"}, {**ROW, "at": 5},
        {**ROW, "at": "2026-01-02T03:04+01:00"}, {**ROW, "vector": [1, None]}, {"x": 1}, 7,
    ]  # fmt: skip
    nothing = dict.fromkeys(INPUTS)
    rows, apart = tables([sample(1, [ROW, nothing, *bad], [0.5, None, *[1] * len(bad)])], INPUTS, "v1")
    assert [(name, str(rows.schema.field(name).type)) for name in INPUTS] == [
        ("x", "double"), ("name", "string"), ("at", "timestamp[us]"), ("vector", "list<item: double>")
    ]  # fmt: skip
    first, second = rows.to_pylist()
    assert (first["x"], first["vector"], first["answer_value"], first["answer_row"]) == (1.0, [1.0, 2.5], 0.5, 0)
    assert (first["answer_id"], first["answer_version"]) == ("v1--0000000000000001", "v1")
    assert (second["x"], second["answer_value"], second["answer_json"]) == (None, None, "null")
    assert [row["answer_row"] for row in apart.to_pylist()] == list(range(2, 2 + len(bad)))
    assert "'x' must be a finite number, not 'much'" in apart.to_pylist()[0]["error"]
    assert "'name' is missing" in apart.to_pylist()[7]["error"]


def test_a_label_and_a_refused_request_are_kept_as_what_they_are() -> None:
    several = sample(1, [ROW], [{"label": "b", "probabilities": {"a": 0.1, "b": 0.9}}])
    refused = sample(2, [{"x": "much"}], "x is no \ud800 number", status=422)
    rows, apart = tables([several, refused], INPUTS, "v1")
    assert (rows["answer_label"].to_pylist(), rows["answer_value"].to_pylist()) == (["b"], [None])
    (only,) = apart.to_pylist()
    assert (only["answer_status"], only["answer_row"]) == (422, None)
    assert "x is no" in only["error"]
    assert json.loads(only["asked"]) == {"rows": [{"x": "much"}]}


class Flaky:
    """A folder that does not answer until it is told to."""

    def __init__(self, folder: Path) -> None:
        self._objects = open_objects(str(folder))
        self.down = True

    def create(self, path: str, data: bytes) -> bool:
        """As a folder does, or not at all."""
        if self.down:
            raise StoreUnavailable("the folder is away")
        return self._objects.create(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """As a folder does, or not at all."""
        if self.down:
            raise StoreUnavailable("the folder is away")
        self._objects.replace(path, data)


def test_a_folder_that_does_not_answer_costs_only_what_no_longer_fits(tmp_path: Path) -> None:
    size = len(sample().body) + len(sample().answer)
    settings, folder = capture(tmp_path, queue_bytes=2 * size), Flaky(tmp_path)
    queue = SampleQueue(settings)
    recorder = Recorder(settings, "shop/v1", "v1", folder, queue)
    queue.offer(sample(1))
    assert not recorder.record()
    for number in (2, 3, 4):
        queue.offer(sample(number))
    assert not recorder.record()
    assert not list(tmp_path.rglob("*.parquet"))
    folder.down = False
    assert recorder.record()
    assert recorder.record()
    assert recorder.record()
    assert [row["answer_id"] for row in read(tmp_path, "rows")] == ["v1--0000000000000001", "v1--0000000000000002",
                                                                    "v1--0000000000000003"]  # fmt: skip
    found = counts(tmp_path)
    assert (found["requests"], found["dropped"], found["failures"], found["rows"], found["parts"]) == (4, 1, 2, 3, 2)


def test_a_request_that_cannot_be_kept_does_not_end_the_capture(tmp_path: Path) -> None:
    settings = capture(tmp_path)
    queue = SampleQueue(settings)
    recorder = Recorder(settings, "shop/v1", "v1", open_objects(str(tmp_path)), queue)
    queue.offer(sample()._replace(answer=b"no JSON"))
    assert recorder.record()
    queue.offer(sample())
    assert recorder.record()
    assert (len(read(tmp_path, "rows")), counts(tmp_path)["dropped"]) == (1, 1)


def test_the_end_of_a_replica_writes_what_waits(tmp_path: Path) -> None:
    capturing = Capturing(capture(tmp_path, every_s=3600), "shop", "v1", open_objects(str(tmp_path)))
    for number in range(10):
        capturing.see(sample(number))
    capturing.see(sample(10, [ROW], "refused", status=422))
    capturing.close(timeout_s=60)
    assert (len(read(tmp_path, "rows")), len(read(tmp_path, "apart"))) == (10, 1)
    assert counts(tmp_path)["requests"] == capturing.counts()["requests"] == 11
    assert not list(tmp_path.rglob("unfinished/*"))


def test_nothing_asked_writes_nothing(tmp_path: Path) -> None:
    Capturing(capture(tmp_path), "shop", "v1", open_objects(str(tmp_path))).close(timeout_s=60)
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"folder": "captures"}, "no absolute path and no URL"),
        ({"share": 0}, "share=0 has to be over 0"),
        ({"share": 1.5}, "share=1.5"),
        ({"every_s": 0}, "every_s=0"),
        ({"queue_bytes": 0}, "queue_bytes=0"),
        ({"inputs": {"x": "float"}}, "'x' is 'float'; it can be text, number, time, numbers"),
        ({"inputs": {"answer_id": "text"}}, "'answer_id' begins with 'answer_'"),
    ],
)
def test_captures_that_are_none_are_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Capture(**{"folder": "/tmp/captures", **more})
