"""Incremental ingestion: ties, latecomers, changed files, and sources that are not what the cursor needs."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from orchestrator import RunFailed, pipeline
from orchestrator.errors import ConfigError
from orchestrator.testing import InProcess
from stages.ingestion import incremental, read_new_files, read_new_http, read_new_rows


@pytest.fixture
def here(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


# ---- files


@pipeline
def of_files(pattern: str) -> pa.Table:
    return read_new_files(pattern, overlap_s=100.0)


@pytest.fixture
def drop(tmp_path: Path) -> Callable[[str, str, float], None]:
    def write(name: str, rows: str, at: float) -> None:
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"a\n{rows}\n")
        os.utime(path, (at, at))

    return write


def test_files_are_read_once_in_order_with_ties_and_latecomers(
    here: InProcess, tmp_path: Path, drop: Callable[[str, str, float], None]
) -> None:
    folder = str(tmp_path / "in")
    drop("b.csv", "2", 1000)
    drop("a.csv", "1", 1000)
    first = here.run(of_files, pattern=folder).result()
    assert first["a"].to_pylist() == [1, 2]
    empty = here.run(of_files, pattern=folder).result()
    assert empty.schema == first.schema
    assert empty.num_rows == 0
    drop("c.csv", "3", 1000)  # the same time as what was read
    drop("d.csv", "4", 950)  # late, within the overlap
    assert here.run(of_files, pattern=folder).result()["a"].to_pylist() == [4, 3]
    (tmp_path / "in" / "c.csv").unlink()
    drop("e.csv", "5", 1200)
    assert here.run(of_files, pattern=folder).result()["a"].to_pylist() == [5]


def test_a_file_that_was_changed_after_it_had_been_read_is_told(
    here: InProcess, tmp_path: Path, drop: Callable[[str, str, float], None]
) -> None:
    drop("a.csv", "1", 1000)
    here.run(of_files, pattern=str(tmp_path / "in"))
    drop("a.csv", "1\n2", 1001)
    with pytest.raises(RunFailed, match="was changed after a run had read it"):
        here.run(of_files, pattern=str(tmp_path / "in"))


def test_a_file_that_changes_while_it_is_read_is_read_again(
    here: InProcess, tmp_path: Path, drop: Callable[[str, str, float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("a.csv", "1", 1000)
    read: Any = incremental.read

    def grows(*given: Any, **named: Any) -> pa.Table:
        table = read(*given, **named)
        monkeypatch.setattr(incremental, "read", read)
        drop("a.csv", "1\n2", 1001)
        return table

    monkeypatch.setattr(incremental, "read", grows)
    run = here.run(of_files, pattern=str(tmp_path / "in"))
    assert run.result()["a"].to_pylist() == [1, 2]
    assert len(run["read_new_files"].attempts) == 2


def test_a_pattern_that_never_matched_is_told(here: InProcess, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="No file matches"):
        here.run(of_files, pattern=str(tmp_path / "*.csv"))


# ---- SQL


@pipeline
def of_rows(url: str, column: str, key: str | None = None) -> pa.Table:
    return read_new_rows(url, "events", column, key, columns=["id"], overlap=1 if key else 0)


@pytest.fixture
def events(tmp_path: Path) -> Callable[..., str]:
    path = tmp_path / "events.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE events (id INTEGER, at INTEGER)")

    def add(*rows: tuple[int, int | None]) -> str:
        with closing(sqlite3.connect(path)) as database, database:
            database.executemany("INSERT INTO events VALUES (?, ?)", rows)
        return f"sqlite:///{path}"

    return add


def test_rows_with_a_key_may_tie_and_come_late(here: InProcess, events: Callable[..., str]) -> None:
    def ids() -> list[int]:
        ids: list[int] = here.run(of_rows, url=url, column="at", key="id").result()["id"].to_pylist()
        return ids

    url = events((1, 10), (2, 10))
    assert ids() == [1, 2]
    events((3, 10), (4, 9), (5, 12), (6, 3))  # 6 is later than the overlap allows
    assert ids() == [4, 3, 5]
    assert ids() == []
    events((7, 12), (8, 11))
    assert ids() == [8, 7]


def test_rows_without_a_key_go_by_a_column_without_ties(here: InProcess, events: Callable[..., str]) -> None:
    url = events((1, 10), (2, 11))
    assert here.run(of_rows, url=url, column="at").result()["id"].to_pylist() == [1, 2]
    events((3, 12))
    assert here.run(of_rows, url=url, column="at").result()["id"].to_pylist() == [3]
    events((4, 12))
    with pytest.raises(RunFailed, match="has ties; pass key="):
        here.run(of_rows, url=url, column="at")


def test_rows_that_would_never_be_read_are_told(here: InProcess, events: Callable[..., str]) -> None:
    url = events((1, 10), (2, None))
    with pytest.raises(RunFailed, match="no value in 'at'"):
        here.run(of_rows, url=url, column="at")
    with pytest.raises(RunFailed, match="Did you mean 'at'"):
        here.run(of_rows, url=url, column="ate")
    with pytest.raises(ConfigError, match="pass key="):
        read_new_rows(url, "events", "at", overlap=5)


# ---- HTTP


@pipeline
def of_answers(url: str) -> pa.Table:
    return read_new_http(url, field="at", key="id", rows="items")


@pytest.fixture
def service() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    rows: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            since = parse_qs(urlsplit(self.path).query).get("since", [""])[0]
            body = json.dumps({"items": [row for row in rows if row["at"] >= since]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/events?kind=x", rows
    server.shutdown()
    thread.join()
    server.server_close()


def test_answers_are_read_once(here: InProcess, service: tuple[str, list[dict[str, Any]]]) -> None:
    url, rows = service
    rows += [{"id": 1, "at": "2024-05-01T10:00"}, {"id": 2, "at": "2024-05-01T11:00"}]
    assert here.run(of_answers, url=url).result()["id"].to_pylist() == [1, 2]
    rows += [{"id": 3, "at": "2024-05-01T11:00"}, {"id": 4, "at": "2024-05-02T00:00"}]
    assert here.run(of_answers, url=url).result()["id"].to_pylist() == [3, 4]
    assert here.run(of_answers, url=url).result()["id"].to_pylist() == []
