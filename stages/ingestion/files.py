"""Tables from files: Parquet, CSV, JSON lines and Arrow, one or many, on any file system that fsspec knows."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet

from orchestrator import File, Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import cast_columns, require_columns, suggestion
from stages.errors import DataRejected, SourceUnavailable
from stages.ingestion.places import BUCKETS, place_of

Format = Literal["parquet", "csv", "json", "arrow"]

MOST_ROWS = 200_000_000
"""A file that claims more rows than this is refused before they are read, unless ``max_rows`` says otherwise."""

_FORMAT_OF_SUFFIX: Mapping[str, Format] = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "jsonl": "json",
    "ndjson": "json",
    "json": "json",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
}


@stage(cache="30d", retries=Retry(attempts=4, on=(OSError,)), timeout="10m")
def read(
    path: File,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    format: Format | None = None,
    encoding: str = "utf8",
    delimiter: str | None = None,
    max_rows: int = MOST_ROWS,
) -> pa.Table:
    """Read one file into a table.

    Args:
        path: Path or fsspec URL (``s3://…``, ``gs://…``, ``https://…``).
        columns: Columns to read, in this order; all when not given.
        types: Arrow type names by column; what does not fit is an error.
        format: ``parquet``, ``csv``, ``json`` (one object a line) or ``arrow``; by the ending of the path when not
            given.
        encoding: Of a CSV file.
        delimiter: Of a CSV file; a tab for ``.tsv`` and a comma otherwise when not given.
        max_rows: A file of more rows is an error.

    Raises:
        NotFound: no such file, or a column is missing from it.
        DataRejected: the file is not of its format or encoding, has too many rows, or a column does not have the
            wanted type.
        ConfigError: the format cannot be told, or a type name is not known.
    """
    kind = format or format_of(str(path))
    _check_encoding(encoding)
    asked = _Asked(kind, columns, encoding, delimiter or ("\t" if str(path).endswith(".tsv") else ","), max_rows)
    filesystem, inner = place_of(str(path))
    table = _read(filesystem, inner, str(path), asked)
    return cast_columns(table, types, str(path)) if types else table


@stage(retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def read_many(
    pattern: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    format: Format | None = None,
    encoding: str = "utf8",
    file_column: str | None = None,
    max_rows: int = MOST_ROWS,
) -> pa.Table:
    """Read all files that a pattern names into one table, in the order of their names.

    Args:
        pattern: Path or fsspec URL with ``*``, ``?`` and ``**``, or a folder: then all files in it.
        file_column: Name of a column to add that says which file a row comes from.

    Raises:
        NotFound: nothing matches.
        DataRejected: as ``read``, or the files do not have the same columns; names the file and the column.
    """
    _check_encoding(encoding)
    filesystem, inner = place_of(pattern)
    if filesystem.isdir(inner):
        inner = inner.rstrip("/") + "/*"
    names = sorted(name for name in filesystem.glob(inner) if not filesystem.isdir(name))
    if not names:
        raise NotFound(f"No file matches {pattern!r}.", path=pattern)
    tables: list[pa.Table] = []
    rows = 0
    for name in names:
        kind = format or format_of(name)
        asked = _Asked(kind, columns, encoding, "\t" if name.endswith(".tsv") else ",", max_rows - rows)
        table = _read(filesystem, name, name, asked)
        table = cast_columns(table, types, name) if types else table
        _check_columns(tables[0].column_names if tables else table.column_names, table.column_names, names[0], name)
        rows += table.num_rows
        tables.append(table)
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRejected(f"The files of {pattern!r} do not fit together: {error}; pass types=…") from None
    if file_column is None:
        return whole
    origins = pa.chunked_array([pa.array([name] * table.num_rows) for name, table in zip(names, tables, strict=True)])
    return whole.append_column(file_column, origins)


class _Asked(NamedTuple):
    """How to read a file."""

    kind: Format
    columns: Sequence[str] | None
    encoding: str
    delimiter: str
    max_rows: int


def _read(filesystem: fsspec.AbstractFileSystem, inner: str, shown: str, asked: _Asked) -> pa.Table:
    try:
        before = _stamp(filesystem, inner)
        with filesystem.open(inner, "rb") as source:
            try:
                table = _parse(pa.PythonFile(source, mode="r"), asked, shown)
            finally:  # what was read by halves may look broken
                if _stamp(filesystem, inner) != before:
                    raise SourceUnavailable(f"{shown!r} was changed while it was read.", path=shown)
        return table
    except SourceUnavailable:
        raise
    except FileNotFoundError:
        raise NotFound(f"There is no file {shown!r}.{_neighbour(filesystem, inner)}", path=shown) from None
    except IsADirectoryError:
        raise NotFound(f"{shown!r} is a directory; name one file in it, or use read_many.", path=shown) from None
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        hint = "; is it in another encoding? pass encoding=…" if asked.kind == "csv" and "UTF8" in str(error) else ""
        raise DataRejected(f"{shown!r} cannot be read as {asked.kind}: {error}{hint}", path=shown) from None
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError) or error.errno is not None:
            raise
        # Arrow tells damage of a file this way; that of a disk has a number.
        raise DataRejected(f"{shown!r} cannot be read as {asked.kind}: {error}", path=shown) from None


def _stamp(filesystem: fsspec.AbstractFileSystem, inner: str) -> tuple[Any, ...]:
    """What changes with a file, on disks and object stores; others do not tell, or not without reading it."""
    if not {"file", "local", "memory", *BUCKETS}.intersection(
        (filesystem.protocol,) if isinstance(filesystem.protocol, str) else filesystem.protocol
    ):
        return ()
    filesystem.invalidate_cache()
    info = filesystem.info(inner)
    return tuple(info.get(key) for key in ("size", "mtime", "ino", "created", "ETag", "e_tag", "last_modified"))


def _check_columns(first: Sequence[str], found: Sequence[str], first_name: str, name: str) -> None:
    missing, extra = [c for c in first if c not in found], [c for c in found if c not in first]
    if missing or extra:
        told = [
            f"{what} {', '.join(map(repr, names))}" for what, names in (("lacks", missing), ("adds", extra)) if names
        ]
        raise DataRejected(f"{name!r} {' and '.join(told)}, compared with {first_name!r}.", path=name)


def format_of(path: str) -> Format:
    """The format that the ending of a path tells; raises ConfigError."""
    suffix = path.rpartition(".")[2].lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        raise ConfigError(
            f"The ending of {path!r} does not tell its format (known: {', '.join(_FORMAT_OF_SUFFIX)}); pass format=…"
        )
    return _FORMAT_OF_SUFFIX[suffix]


def _parse(source: pa.NativeFile, asked: _Asked, path: str) -> pa.Table:
    columns = asked.columns
    if asked.kind == "parquet":
        file = pyarrow.parquet.ParquetFile(source)
        _check_rows(file.metadata.num_rows, asked, path)
        if columns is not None:
            require_columns(file.schema_arrow.names, columns, path)
        table = file.read(columns=None if columns is None else list(columns))
    elif asked.kind == "csv":
        table = _csv(source, asked)
        _check_last_quote(table, source, path)
        _check_text(table, columns, path)
    elif asked.kind == "json":
        table = pyarrow.json.read_json(source)
    else:
        table = pyarrow.ipc.open_file(source).read_all()
    _check_rows(table.num_rows, asked, path)
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataRejected(f"{path!r} has several columns called {', '.join(map(repr, twice))}.", path=path)
    if columns is None:
        return table
    require_columns(table.column_names, columns, path)
    return table.select(list(columns))


def _csv(source: pa.NativeFile, asked: _Asked) -> pa.Table:
    """Fast first. What that refuses is read again slowly: with line breaks inside quotes, and rows in errors."""

    def parse(fast: bool) -> pa.Table:
        return pyarrow.csv.read_csv(
            source,
            read_options=pyarrow.csv.ReadOptions(encoding=asked.encoding, use_threads=fast),
            parse_options=pyarrow.csv.ParseOptions(delimiter=asked.delimiter, newlines_in_values=not fast),
        )

    try:
        return parse(fast=True)
    except pa.ArrowInvalid:
        source.seek(0)
        return parse(fast=False)


def _check_last_quote(table: pa.Table, source: pa.NativeFile, path: str) -> None:
    """A quote that is never closed makes one value of the rest of the file, and Arrow does not mind."""
    last = table.slice(table.num_rows - 1).to_pylist() if table.num_rows else []
    if not any(isinstance(value, str) and "\n" in value for row in last for value in row.values()):
        return
    source.seek(0)
    quotes = 0
    while block := source.read(1 << 20):
        quotes += block.count(b'"')
    if quotes % 2:
        row = table.num_rows - 1
        raise DataRejected(f"{path!r}: a quote that begins in row {row} is never closed.", path=path, row=row)


def _check_text(table: pa.Table, columns: Sequence[str] | None, path: str) -> None:
    """Arrow makes bytes of a column in which one value is not UTF-8; nobody asked for that."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_binary(column.type) or (columns is not None and name not in columns):
            continue
        row, value = next((row, value) for row, value in enumerate(column.to_pylist()) if not _is_utf8(value))
        raise DataRejected(
            f"{path!r}: column {name!r} holds {value!r} in row {row}, which is not UTF-8. Pass encoding=… if the "
            "whole file is in another encoding, or read it with salvage, which puts such rows aside.",
            path=path,
            column=name,
            row=row,
        )


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_encoding(encoding: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise ConfigError(f"{encoding!r} is no encoding; write for example utf8, latin-1, cp1252") from None


def _check_rows(rows: int, asked: _Asked, path: str) -> None:
    if rows > asked.max_rows:
        raise DataRejected(f"{path!r} has {rows:,} rows, more than {asked.max_rows:,}; raise max_rows if it is right.")


def _neighbour(filesystem: fsspec.AbstractFileSystem, inner: str) -> str:
    """A close match among the files beside a missing one; empty where the place cannot be listed."""
    folder, _, name = inner.rpartition("/")
    try:
        beside = [entry.rpartition("/")[2] for entry in filesystem.ls(folder or ".", detail=False)]
    except (OSError, NotImplementedError, ValueError):
        return ""
    return suggestion(name, beside)
