"""Data sets by manifest: what was written is what is read, whatever lies beside it, and damage is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.ingestion import find_data_set, read_batches, read_parts, remove_unlisted, write_parquet


@pytest.fixture(params=["file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "set") if request.param == "file" else f"memory://{tmp_path.name}/set"


@pytest.fixture
def local(tmp_path: Path) -> str:
    return str(tmp_path / "set")


def batches(*sizes: int) -> Iterator[pa.Table]:
    start = 0
    for size in sizes:
        yield pa.table({"n": range(start, start + size), "s": [str(n) for n in range(start, start + size)]})
        start += size


def test_what_was_written_is_read_in_order(folder: str) -> None:
    table = pa.concat_tables(batches(5, 3, 4))
    written = write_parquet(batches(5, 3, 4), folder)
    assert [part.rows for part in written.parts] == [5, 3, 4]
    assert written == find_data_set(folder)
    assert read_parts(folder).equals(table)
    assert read_parts(written, ["s"]).equals(table.select(["s"]))
    assert [batch.num_rows for batch in read_batches(folder, rows=4)] == [4, 1, 3, 4]
    assert pa.concat_tables(read_batches(written, ["n"], rows=2)).equals(table.select(["n"]))


def test_writing_again_adds_nothing(folder: str) -> None:
    first = write_parquet(batches(4, 4), folder)
    assert write_parquet(list(batches(4, 4)), folder) == first
    assert write_parquet(next(batches(2)), folder).rows == 2
    assert read_parts(folder).num_rows == 2
    assert read_parts(first).num_rows == 8  # its parts are still there for who holds it
    assert len(remove_unlisted(folder)) == 0
    assert set(remove_unlisted(folder, older_than_s=0)) == {part.name for part in first.parts}
    assert read_parts(folder).num_rows == 2
    with pytest.raises(NotFound, match=r"is gone, and manifest\.json names it"):
        read_parts(first)


def test_equal_parts_are_rows_of_their_own(folder: str) -> None:
    write_parquet([pa.table({"n": [1]}), pa.table({"n": [1]})], folder)
    assert read_parts(folder)["n"].to_pylist() == [1, 1]


def test_a_table_without_rows_keeps_its_columns(folder: str) -> None:
    write_parquet(next(batches(0)).cast(pa.schema([("n", pa.int64()), ("s", pa.string())])), folder)
    assert read_parts(folder).schema == pa.schema([("n", pa.int64()), ("s", pa.string())])
    assert [batch.num_rows for batch in read_batches(folder)] == [0]


def test_a_part_of_nulls_takes_the_type_of_the_others(folder: str) -> None:
    write_parquet([pa.table({"s": pa.nulls(2)}), pa.table({"s": ["x"]})], folder)
    assert read_parts(folder)["s"].to_pylist() == [None, None, "x"]


def test_parts_of_other_columns_are_refused_and_the_old_set_stays(folder: str) -> None:
    write_parquet(next(batches(2)), folder)
    with pytest.raises(DataRejected, match="column 'n' is int64 at first and double in part 1"):
        write_parquet([pa.table({"n": [1]}), pa.table({"n": [1.5]})], folder)
    with pytest.raises(DataRejected, match=r"part 1 differs from part 0 in its columns: \['m'\]"):
        write_parquet([pa.table({"n": [1]}), pa.table({"n": [1], "m": [1]})], folder)
    assert read_parts(folder).num_rows == 2


def test_damage_is_named(local: str) -> None:
    written = write_parquet(batches(3, 3), local)
    part = Path(local, written.parts[1].name)
    whole = part.read_bytes()
    for damaged in (whole[:-20], whole.replace(whole[40:44], b"\0\0\0\0")):
        part.write_bytes(damaged)
        with pytest.raises(DataRejected, match=rf"{part.name} is not what was written"):
            read_parts(local)
    part.write_bytes(whole[:-20])
    assert write_parquet(batches(3, 3), local) == written
    assert read_parts(local).num_rows == 6
    manifest = Path(local, "manifest.json")
    for text in ("{", "[]", json.dumps({"format": 9}), manifest.read_text().replace('"schema": "', '"schema": "AAAA')):
        manifest.write_text(text)
        with pytest.raises(DataRejected, match="manifest"):
            read_parts(local)


def test_a_folder_without_a_manifest_says_so(local: str) -> None:
    with pytest.raises(NotFound, match=r"holds no data set: there is no manifest\.json"):
        read_parts(local)
    write_parquet(batches(1, 1), local)
    Path(local, "manifest.json").unlink()
    with pytest.raises(NotFound, match="2 part files lie there, of a write that was not finished"):
        list(read_batches(local))


def test_parquet_files_come_in_batches(tmp_path: Path) -> None:
    for number, table in enumerate(batches(7, 5)):
        pyarrow.parquet.write_table(table, tmp_path / f"part-{number}.parquet")
    found = list(read_batches(str(tmp_path / "part-*.parquet"), ["s"], rows=4))
    assert [table.num_rows for table in found] == [4, 3, 4, 1]
    assert pa.concat_tables(found)["s"].to_pylist() == [str(n) for n in range(12)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda at: list(read_batches(f"{at}/no.parquet")), NotFound, "There is no file"),
        (lambda at: list(read_batches(f"{at}/no-*.parquet")), NotFound, "No file matches"),
        (lambda at: list(read_batches(f"{at}/bad.parquet")), DataRejected, "cannot be read as Parquet"),
        (lambda at: list(read_batches(f"{at}/good.parquet", ["m"])), NotFound, "no column 'm'"),
        (lambda at: list(read_batches(f"{at}/good.parquet", rows=0)), ConfigError, "at least one row"),
        (lambda at: write_parquet(pa.table({"n": [1]}), at, compression="zip"), ConfigError, "'zip' is no compression"),
        (
            lambda at: write_parquet(pa.table({"n": pa.array([], pa.month_day_nano_interval())}), at),
            DataRejected,
            "Parq",
        ),
    ],
)
def test_what_cannot_be_read_or_written_is_named(call: Any, error: type[Exception], message: str, local: str) -> None:
    Path(local).mkdir()
    pyarrow.parquet.write_table(pa.table({"n": [1]}), f"{local}/good.parquet")
    Path(local, "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(error, match=message):
        call(local)
