"""Reading files in all formats, and real data sets; what is missing or broken is said clearly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected, SourceUnavailable
from stages.ingestion import dataset, files, read, read_batches, read_many, salvage

TABLE = pa.table({"carrier": ["UA", "AA"], "distance": [1400, 1089], "delay": [11.5, None]})


def write(path: Path) -> str:
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(TABLE, path)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(TABLE, path)
    else:
        pyarrow.feather.write_feather(TABLE, str(path))
    return str(path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow"])
def test_every_format_reads_back_whole_or_by_columns(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert read(path).equals(TABLE)
    assert read(path, columns=["delay", "carrier"]).equals(TABLE.select(["delay", "carrier"]))


def test_urls_go_through_fsspec(tmp_path: Path) -> None:
    assert read(f"file://{write(tmp_path / 't.parquet')}").equals(TABLE)


def test_a_format_can_be_said(tmp_path: Path) -> None:
    odd = tmp_path / "t.data"
    pyarrow.csv.write_csv(TABLE, odd)
    with pytest.raises(ConfigError, match="does not tell its format"):
        read(str(odd))
    assert read(str(odd), format="csv").equals(TABLE)


def test_a_missing_file_is_named_with_a_close_match(tmp_path: Path) -> None:
    write(tmp_path / "flights.parquet")
    with pytest.raises(NotFound) as caught:
        read(str(tmp_path / "flihgts.parquet"))
    assert "flihgts.parquet" in str(caught.value)
    assert "Did you mean 'flights.parquet'?" in str(caught.value)


def test_a_file_in_a_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        read(str(tmp_path / "no" / "t.parquet"))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").mkdir()
    with pytest.raises(NotFound, match="is a directory"):
        read(str(tmp_path / "d.parquet"))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow"])
def test_a_missing_column_is_named_with_the_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(NotFound) as caught:
        read(path, columns=["carier"])
    assert path in str(caught.value)
    assert "Did you mean 'carrier'?" in str(caught.value)


def test_a_mistyped_column_is_named_with_its_first_misfit(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv")
    with pytest.raises(DataRejected) as caught:
        read(path, types={"carrier": "int64"})
    assert path in str(caught.value)
    assert "column 'carrier' holds string and cannot be read as int64" in str(caught.value)
    assert "'UA' in row 0" in str(caught.value)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.csv"])
@pytest.mark.parametrize("content", [b"", b"\x00\x01 no table \xff", b'a,b\n1,2\n3\n"'])
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataRejected, match=r"cannot be read as"):
        read(str(path))


def test_the_flights_are_all_there(flights: pa.Table) -> None:
    assert flights.num_rows == 336_776
    assert flights.schema.field("time_hour").type == pa.timestamp("s")


def test_a_data_set_is_converted_once_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: dataset("vcd", "Arthritis", directory=str(tmp_path)), range(4)))
    assert all(table.equals(tables[0]) for table in tables)
    files = list(tmp_path.iterdir())
    assert len(files) == 1
    written = files[0].stat().st_mtime_ns
    again = dataset("vcd", "Arthritis", ["Age", "Sex"], {"Age": "float64"}, str(tmp_path))
    assert again.column_names == ["Age", "Sex"]
    assert files[0].stat().st_mtime_ns == written


def test_the_cache_is_under_orc_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORC_HOME", str(tmp_path))
    dataset("vcd", "Arthritis")
    assert len(list((tmp_path / "datasets").glob("vcd-Arthritis-*.parquet"))) == 1


def test_unknown_data_sets_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean 'nycflights13'"):
        dataset("nycflight13", "flights", directory=str(tmp_path))
    with pytest.raises(NotFound, match="Did you mean 'weather'"):
        dataset("nycflights13", "wether", directory=str(tmp_path))
    with pytest.raises(NotFound, match="vcd/Arthritis has no column 'age'"):
        dataset("vcd", "Arthritis", ["age"], directory=str(tmp_path))


def test_json_lines_and_tab_separated_files(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n')
    assert read(str(tmp_path / "t.jsonl")).to_pydict() == {"a": [1, 2], "b": ["x", None]}
    (tmp_path / "t.tsv").write_text("a\tb\n1\tx, y\n")
    assert read(str(tmp_path / "t.tsv")).to_pydict() == {"a": [1], "b": ["x, y"]}


def test_another_encoding_has_to_be_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("name\nZürich\n".encode("latin-1"))
    assert read(str(path), encoding="latin-1")["name"].to_pylist() == ["Zürich"]
    with pytest.raises(DataRejected, match="encoding"):
        read(str(path), types={"name": "string"})
    with pytest.raises(ConfigError, match="klingon"):
        read(str(path), encoding="klingon")


def test_line_breaks_inside_quotes_are_read_wherever_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f'{i},"line one\nline two {i}"' for i in range(100_000)]
    path.write_text("id,text\n" + "\n".join(rows) + "\n")
    table = read(str(path))
    assert table.num_rows == 100_000
    assert table["text"][99_999].as_py() == "line one\nline two 99999"


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    quotes = tmp_path / "quotes.csv"
    quotes.write_text('a,b\n1,"x\n2,y\n3,z\n')
    with pytest.raises(DataRejected, match=r"quotes\.csv"):
        read(str(quotes))
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataRejected, match="Row #3"):
        read(str(ragged))
    whole = Path(write(tmp_path / "t.parquet")).read_bytes()
    for name, data in (("cut.parquet", whole[: len(whole) // 2]), ("empty.parquet", b""), ("empty.csv", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataRejected, match=name):
            read(str(tmp_path / name))
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    with pytest.raises(DataRejected, match="several columns called 'a'"):
        read(str(tmp_path / "twice.csv"))


def test_text_of_two_encodings_is_refused_by_column_and_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id,name\n1,Zürich\n2,".encode() + "Köln\n3,Bern\n".encode("latin-1"))
    with pytest.raises(DataRejected, match=r"column 'name' holds b'K\\xf6ln' in row 1, which is not UTF-8") as caught:
        read(str(path))
    assert (caught.value.details["column"], caught.value.details["row"]) == ("name", 1)
    assert read(str(path), columns=["id"])["id"].to_pylist() == [1, 2, 3]


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x\n1\n2\n")
    parse: Any = files._parse

    def slow(*given: Any) -> pa.Table:
        table = parse(*given)
        path.write_text("x\n1\n2\n3\n")
        monkeypatch.setattr(files, "_parse", parse)
        return table

    monkeypatch.setattr(files, "_parse", slow)
    with pytest.raises(SourceUnavailable, match=r"t\.csv' was changed while it was read"):
        read(str(path))
    assert read(str(path)).num_rows == 3  # as the next attempt of a step would


def test_broken_rows_are_put_aside_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    good = [f"{n},name {n},Köln" for n in range(1_000)]
    lines: list[bytes] = [b"id,name,city", *(line.encode() for line in good)]
    lines[101] = b"100,name 100"
    lines[201] = b'200,"name 200,Ulm'
    lines[301] = "300,Jürgen,Köln".encode("latin-1")
    lines[401] = b'400,"name, 400","Ulm"'
    path.write_bytes(b"\r\n".join(lines) + b"\r\n\r\n")
    found = salvage(str(path))
    assert found.rows["id"].to_pylist() == [n for n in range(1_000) if n not in (100, 200, 300)]
    assert found.rows["name"][397].as_py() == "name, 400"
    assert found.rejected.to_pylist() == [
        {"line": 102, "reason": "2 values instead of 3", "text": "100,name 100"},
        {"line": 202, "reason": "a quote that is not closed", "text": '200,"name 200,Ulm'},
        {"line": 302, "reason": "bytes that are not UTF-8, from the 6th on", "text": "300,J\\xfcrgen,K\\xf6ln"},
    ]
    with pytest.raises(DataRejected, match=r"3 of 1003 lines are broken, more than 2; the first is line 102: 2 values"):
        salvage(str(path), max_rejected=2)
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 2\n[3]\n\n{"a": 4}\n')
    found = salvage(str(tmp_path / "t.jsonl"))
    assert found.rows["a"].to_pylist() == [1, 4]
    assert found.rejected["line"].to_pylist() == [2, 3]
    assert "instead of an object" in found.rejected["reason"][1].as_py()
    (tmp_path / "good.csv").write_text("a\n1\n")
    assert salvage(str(tmp_path / "good.csv")).rejected.num_rows == 0
    with pytest.raises(ConfigError, match="is parquet"):
        salvage(write(tmp_path / "t.parquet"))
    with pytest.raises(NotFound, match=r"no\.csv"):
        salvage(str(tmp_path / "no.csv"))
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DataRejected, match=r"empty\.csv"):
        salvage(str(tmp_path / "empty.csv"))


def test_a_file_that_claims_too_many_rows_is_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pa.table({"x": pa.nulls(1_000_000)}), path)
    with pytest.raises(DataRejected, match="1,000,000 rows, more than 999,999"):
        read(str(path), max_rows=999_999)
    footer = pyarrow.parquet.read_metadata(path)
    for _ in range(10):
        footer.append_row_groups(footer)
    footer.write_metadata_file(path)  # a thousand million rows, and none of them is there
    with pytest.raises(DataRejected, match="1,024,000,000 rows, more than 200,000,000; raise max_rows"):
        read(str(path))
    with pytest.raises(DataRejected, match=r"t\.parquet' cannot be read as Parquet"):
        next(iter(read_batches(str(path))))


def test_many_files_become_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 1):
        pyarrow.parquet.write_table(pa.table({"x": [number]}), tmp_path / f"part-{number}.parquet")
    for pattern in (str(tmp_path), str(tmp_path / "part-*.parquet"), f"file://{tmp_path}/*.parquet"):
        table = read_many(pattern, file_column="file")
        assert table["x"].to_pylist() == [1, 2]
        assert [Path(name).name for name in table["file"].to_pylist()] == ["part-1.parquet", "part-2.parquet"]
    with pytest.raises(NotFound, match="No file matches"):
        read_many(str(tmp_path / "none-*"))
    with pytest.raises(DataRejected, match="1 rows, more than 0"):
        read_many(str(tmp_path), max_rows=1)


def test_files_whose_columns_differ_are_refused(tmp_path: Path) -> None:
    pyarrow.csv.write_csv(pa.table({"a": [1], "b": [1]}), tmp_path / "1.csv")
    pyarrow.csv.write_csv(pa.table({"a": [1], "c": [1]}), tmp_path / "2.csv")
    with pytest.raises(DataRejected, match=r"2\.csv' lacks 'b' and adds 'c'"):
        read_many(str(tmp_path))
