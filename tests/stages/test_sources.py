"""Databases, HTTP interfaces and Delta tables as sources, against the real thing on this machine."""

from __future__ import annotations

import json
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
from deltalake import write_deltalake

from orchestrator import pipeline
from orchestrator.errors import ConfigError, NotFound
from orchestrator.testing import InProcess
from stages.errors import DataRejected, SourceUnavailable
from stages.ingestion import read_delta, read_http, read_sql, read_sql_table

# ---- SQL


@pytest.fixture
def shop(tmp_path: Path) -> str:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE orders (id INTEGER, name TEXT, total REAL)")
        database.execute('CREATE TABLE "odd ""name"" -- x" (a INTEGER)')
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", [(i, f"n{i}", i / 2) for i in range(120_001)])
        database.commit()
    return f"sqlite:///{path}"


def test_a_query_comes_back_whole_over_several_batches(shop: str) -> None:
    table = read_sql(shop, "SELECT * FROM orders WHERE id >= :low ORDER BY id", {"low": 1})
    assert table.num_rows == 120_000
    assert table.schema == pa.schema({"id": pa.int64(), "name": pa.string(), "total": pa.float64()})
    assert table["id"][-1].as_py() == 120_000


def test_a_table_is_read_by_its_columns_and_types(shop: str) -> None:
    table = read_sql_table(shop, "orders", ["total", "id"], {"id": "int32"})
    assert table.schema == pa.schema({"total": pa.float64(), "id": pa.int32()})


def test_an_empty_result_keeps_its_columns(shop: str) -> None:
    table = read_sql(shop, "SELECT id, name FROM orders WHERE id < 0", types={"id": "int64"})
    assert (table.column_names, table.num_rows, table.schema.field("id").type) == (["id", "name"], 0, pa.int64())


@pytest.mark.parametrize("name", ["orders; DROP TABLE orders", 'orders" WHERE 1=1 --', "odd", "oders"])
def test_a_name_is_looked_up_and_never_run(shop: str, name: str) -> None:
    with pytest.raises(NotFound, match="has no table"):
        read_sql_table(shop, name)
    assert read_sql(shop, "SELECT count(*) AS n FROM orders")["n"][0].as_py() == 120_001


def test_odd_names_that_exist_are_read(shop: str) -> None:
    assert read_sql_table(shop, 'odd "name" -- x').num_rows == 0


def test_values_are_bound(shop: str) -> None:
    found = read_sql(shop, "SELECT * FROM orders WHERE name = :name", {"name": "n1' OR '1'='1"})
    assert found.num_rows == 0


def test_what_is_wrong_is_named(shop: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean 'total'"):
        read_sql_table(shop, "orders", ["totl"])
    with pytest.raises(DataRejected, match="no such column"):
        read_sql(shop, "SELECT wrong FROM orders")
    with pytest.raises(DataRejected, match=r"column 'x' mixes types; row 1 holds 'a'"):
        read_sql(shop, "SELECT 1 AS x UNION ALL SELECT 'a'")
    with pytest.raises(DataRejected, match="same name: id"):
        read_sql(shop, "SELECT id, id FROM orders")
    with pytest.raises(ConfigError):
        read_sql("nonsense", "SELECT 1")
    with pytest.raises(SourceUnavailable, match="cannot be reached") as caught:
        read_sql("postgresql+psycopg://someone:hunter2@127.0.0.1:1/none", "SELECT 1")
    assert "hunter2" not in str(caught.value)


# ---- HTTP

ROWS = [{"id": i, "name": f"n{i}"} for i in range(25)]
Answer = Callable[[dict[str, list[str]], str], tuple[int, dict[str, str], Any]]


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, Answer]]]:
    """A server whose answers a test sets by path."""
    answers: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, headers, body = answers[parts.path](parse_qs(parts.query), self.headers.get("Authorization", ""))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()
    thread.join()


def counted(query: dict[str, list[str]], name: str, default: int = 0) -> int:
    return int(query.get(name, [str(default)])[0])


def test_each_way_of_paging_reads_every_row_once(site: tuple[str, dict[str, Answer]]) -> None:
    url, answers = site
    answers["/all"] = lambda query, _: (200, {}, ROWS)
    answers["/link"] = lambda query, _: (
        200, {}, {"data": {"items": ROWS[(at := counted(query, "at")) : at + 10]},
                  "next": f"/link?at={at + 10}" if at < 20 else None},
    )  # fmt: skip
    answers["/header"] = lambda query, _: (
        200, {"Link": f'<{url}/header?at={(at := counted(query, "at")) + 10}>; rel="next"'} if counted(query, "at") < 20
        else {}, ROWS[(at := counted(query, "at")) : at + 10],
    )  # fmt: skip
    answers["/token"] = lambda query, _: (
        200, {}, {"rows": ROWS[(at := counted(query, "cursor")) : at + 10],
                  "more": {"token": at + 10 if at < 20 else None}},
    )  # fmt: skip
    answers["/page"] = lambda query, _: (200, {}, ROWS[(page := counted(query, "page")) * 10 - 10 : page * 10])
    answers["/offset"] = lambda query, _: (200, {}, ROWS[(at := counted(query, "skip")) : at + 10])
    tables = [
        read_http(f"{url}/all"),
        read_http(f"{url}/link", rows="data.items", paging="link"),
        read_http(f"{url}/header", paging="link"),
        read_http(f"{url}/token", rows="rows", paging="token", next_field="more.token", parameter="cursor"),
        read_http(f"{url}/page", paging="page", page_rows=10),
        read_http(f"{url}/offset", paging="offset", parameter="skip", page_rows=10),
    ]
    assert [table.to_pylist() for table in tables] == [ROWS] * 6


def test_headers_go_along_and_columns_are_chosen(site: tuple[str, dict[str, Answer]]) -> None:
    url, answers = site
    answers["/"] = lambda query, key: (200, {}, ROWS) if key == "Bearer x" else (401, {}, {})
    table = read_http(f"{url}/", columns=["name"], headers={"Authorization": "Bearer x"})
    assert (table.column_names, table.num_rows) == (["name"], 25)
    with pytest.raises(ConfigError, match="answers 401"):
        read_http(f"{url}/")


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((503, {}, {}), SourceUnavailable, "answers 503"),
        ((200, {}, b"<html>"), DataRejected, "no JSON"),
        ((200, {}, {"items": []}), DataRejected, r"no list at the top of the answer; it has items"),
        ((200, {}, [1]), DataRejected, "row 0 is a int"),
        ((200, {}, [{"a": 1}, {"a": "x"}]), DataRejected, "column 'a' mixes types"),
    ],
)
def test_an_answer_that_is_none_is_told_apart(
    site: tuple[str, dict[str, Answer]], answer: tuple[int, dict[str, str], Any], error: type[Exception], told: str
) -> None:
    url, answers = site
    answers["/"] = lambda query, _: answer
    with pytest.raises(error, match=told):
        read_http(f"{url}/")


def test_pages_that_never_end_are_refused(site: tuple[str, dict[str, Answer]]) -> None:
    url, answers = site
    answers["/circle"] = lambda query, _: (200, {}, {"rows": ROWS, "next": "/circle"})
    answers["/endless"] = lambda query, _: (200, {}, ROWS[:1])
    with pytest.raises(DataRejected, match="names itself"):
        read_http(f"{url}/circle", rows="rows", paging="link")
    with pytest.raises(DataRejected, match="more than 5 pages"):
        read_http(f"{url}/endless", paging="page", page_rows=1, max_pages=5)


@pipeline
def of_pages(url: str) -> pa.Table:
    return read_http(url, paging="page", page_rows=10)


def test_a_source_that_fails_half_way_is_read_from_the_beginning_by_the_next_attempt(
    site: tuple[str, dict[str, Answer]], tmp_path: Path
) -> None:
    url, answers = site
    asked: list[int] = []

    def pages(query: dict[str, list[str]], _: str) -> tuple[int, dict[str, str], Any]:
        page = counted(query, "page")
        asked.append(page)
        if asked == [1, 2]:
            return 503, {}, {}
        return 200, {}, ROWS[page * 10 - 10 : page * 10]

    answers["/"] = pages
    with pytest.raises(SourceUnavailable, match=r"page=2 answers 503"):
        read_http(f"{url}/", paging="page", page_rows=10)
    asked.clear()
    run = InProcess(tmp_path).run(of_pages, url=f"{url}/")
    assert asked == [1, 2, 1, 2, 3]
    assert run.result().to_pylist() == ROWS
    assert [attempt.failure is None for attempt in run["read_http"].attempts] == [False, True]


def test_nobody_there_is_worth_another_attempt() -> None:
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        read_http("http://127.0.0.1:1/")
    with pytest.raises(ConfigError, match="no address"):
        read_http("ftp://127.0.0.1/")


# ---- Delta


def test_a_delta_table_is_read_at_any_version(tmp_path: Path) -> None:
    place = str(tmp_path / "table")
    write_deltalake(place, pa.table({"x": [1, 2], "y": ["a", "b"]}))
    write_deltalake(place, pa.table({"x": [3], "y": ["c"]}), mode="append")
    assert sorted(read_delta(place)["x"].to_pylist()) == [1, 2, 3]
    assert read_delta(place, version=0, columns=["y"]).to_pydict() == {"y": ["a", "b"]}
    with pytest.raises(NotFound, match="version 9"):
        read_delta(place, version=9)
    with pytest.raises(NotFound, match="Did you mean"):
        read_delta(place, columns=["yy"])
    with pytest.raises(NotFound, match="no Delta table"):
        read_delta(str(tmp_path / "none"))


def test_a_damaged_delta_table_is_named(tmp_path: Path) -> None:
    place = tmp_path / "table"
    write_deltalake(str(place), pa.table({"x": [1, 2]}))
    (file,) = place.glob("*.parquet")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataRejected, match="damaged"):
        read_delta(str(place))
