"""PostgreSQL as a source: its types, names that carry SQL, a server that dies while it is read, new rows only."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import pipeline
from orchestrator.errors import NotFound
from orchestrator.testing import InProcess
from stages.errors import DataRejected, SourceUnavailable
from stages.ingestion import read_new_rows, read_sql, read_sql_table, sql
from tests.store.postgres_server import PostgresServer


@pytest.fixture
def shop(postgres: PostgresServer) -> str:
    url = postgres.database()
    name = url.rpartition("/")[2]
    postgres.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, at timestamptz, day date, price numeric(10, 2), paid boolean, "
        "note text, tags text[], code uuid, body bytea, more jsonb, weight real)",
        name,
    )
    postgres.execute(
        "INSERT INTO orders SELECT n, timestamptz '2024-03-01 00:00+00' + n * interval '1 minute', date '2024-03-01', "
        "n / 4.0, n % 2 = 0, CASE WHEN n % 3 = 0 THEN NULL ELSE 'note ' || n END, ARRAY['a', 'b'], "
        "md5(n::text)::uuid, decode('00ff', 'hex'), jsonb_build_object('n', n), n / 2.0 "
        "FROM generate_series(1, 30001) n",
        name,
    )
    postgres.execute('CREATE TABLE "odd ""name""; --" (a int)', name)
    postgres.execute("CREATE SCHEMA other; CREATE TABLE other.things AS SELECT 7 AS x", name)
    return url


def test_a_table_comes_back_with_its_types(shop: str) -> None:
    table = read_sql_table(shop, "orders")
    assert table.num_rows == 30_001
    assert table.select(["id", "paid", "note", "price", "day", "weight"]).slice(1, 1).to_pylist() == [
        {
            "id": 2, "paid": True, "note": "note 2", "price": Decimal("0.50"), "day": datetime.date(2024, 3, 1),
            "weight": 1.0,
        }
    ]  # fmt: skip
    assert table["note"].null_count == 10_000
    assert pa.types.is_timestamp(table.schema.field("at").type)
    assert table["at"][0].as_py().astimezone(datetime.UTC).isoformat() == "2024-03-01T00:01:00+00:00"
    assert table["tags"][0].as_py() == ["a", "b"]
    assert table["body"][0].as_py() == b"\x00\xff"
    assert str(table["code"][0].as_py()) == "c4ca4238-a0b9-2382-0dcc-509a6f75849b"
    assert table["more"][0].as_py()["n"] == 1
    assert read_sql_table(shop, "other.things")["x"].to_pylist() == [7]


@pytest.mark.parametrize("name", ["orders; DROP TABLE orders", 'orders" WHERE true; --', "odd", "other.orders"])
def test_a_name_is_looked_up_and_never_run(shop: str, name: str) -> None:
    with pytest.raises(NotFound, match="has no table"):
        read_sql_table(shop, name)
    assert read_sql_table(shop, 'odd "name"; --').num_rows == 0
    assert (
        read_sql(shop, "SELECT count(*) AS n FROM orders WHERE note = :x", {"x": "' OR true; --"})["n"][0].as_py() == 0
    )
    with pytest.raises(NotFound, match="Did you mean 'price'"):
        read_sql_table(shop, "orders", ["prise"])
    with pytest.raises(DataRejected, match=r"does not exist"):
        read_sql(shop, "SELECT nothing FROM orders")


def test_a_server_that_dies_while_it_is_read_is_worth_another_attempt(
    postgres: PostgresServer, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 10_000)
    took: Any = sql._column
    calls: list[int] = []

    def column(*given: Any) -> pa.Array:
        calls.append(1)
        if len(calls) == 3:
            postgres.stop()
        return took(*given)

    monkeypatch.setattr(sql, "_column", column)
    try:
        with pytest.raises(SourceUnavailable, match="cannot be read"):
            read_sql(shop, "SELECT id, note FROM orders ORDER BY id")
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            read_sql(shop, "SELECT 1")
    finally:
        if postgres.process is None:
            postgres.start()
    assert read_sql(shop, "SELECT id FROM orders ORDER BY id")["id"].to_pylist() == list(range(1, 30_002))


@pipeline
def newest(url: str) -> pa.Table:
    return read_new_rows(url, "orders", "at", "id", columns=["id"], overlap=90)


def test_new_rows_are_read_once_by_their_time_with_latecomers(
    postgres: PostgresServer, shop: str, tmp_path: Path
) -> None:
    name = shop.rpartition("/")[2]
    here = InProcess(tmp_path)

    def ids() -> list[int]:
        found: list[int] = here.run(newest, url=shop).result()["id"].to_pylist()
        return found

    postgres.execute("DELETE FROM orders WHERE id > 1000", name)
    assert ids() == list(range(1, 1001))
    assert ids() == []
    add = "INSERT INTO orders (id, at) SELECT %s, timestamptz '2024-03-01 00:00+00' + %s * interval '1 second'"
    postgres.execute(add, name, 2001, 1001 * 60)
    postgres.execute(add, name, 2002, 1000 * 60 - 60)  # a transaction that was open meanwhile
    assert ids() == [2002, 2001]
    assert ids() == []
