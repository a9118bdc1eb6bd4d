"""Data sets as immutable Parquet files and a manifest that names them: written in parts, visible all at once.

A part is named by its content and is never changed. Only the manifest says which parts belong to the data set, with
their rows, bytes and digests, and it is put in place last, in one step. So whatever happens on the way (a repeated
step, a second run, a kill between two parts), readers see the old data set or the new one, never half of one and no row
twice. Parts that no manifest names are left over; ``remove_unlisted`` takes them away.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from blake3 import blake3

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import require_columns
from stages.errors import DataRejected
from stages.ingestion.places import place_of
from stages.ingestion.sorted_stream import whole_groups

MANIFEST = "manifest.json"
FORMAT = 1
BATCH_ROWS = 262_144


@dataclass(frozen=True)
class PartFile:
    """One file of a data set, written but not yet part of it.

    Attributes:
        digest: BLAKE3 of its bytes, which also names it.
        schema: Arrow IPC bytes of the schema, base64.
    """

    folder: str
    name: str
    rows: int
    bytes: int
    digest: str
    schema: str


@dataclass(frozen=True)
class DataSet:
    """What a manifest says.

    Attributes:
        folder: Path or fsspec URL.
        schema: Arrow IPC bytes of the schema, base64.
        digest: BLAKE3 of the manifest: which rows these are.
    """

    folder: str
    parts: list[PartFile]
    rows: int
    schema: str
    digest: str


def _listed(parts: list[PartFile]) -> DataSet:
    """Make a data set of these parts, in this order: put the manifest in place.

    Raises:
        DataRejected: their columns differ; names part, column and types.
    """
    folder = parts[0].folder
    schema = _schema_text(_common_schema(parts))
    entries = [{name: getattr(part, name) for name in ("name", "rows", "bytes", "digest")} for part in parts]
    document = {
        "format": FORMAT,
        "rows": sum(part.rows for part in parts),
        "columns": {field.name: str(field.type) for field in _schema_of(schema)},
        "schema": schema,
        "parts": entries,
    }
    data = (json.dumps(document, indent=1) + "\n").encode()
    filesystem, inner = place_of(folder)
    _put(filesystem, inner, MANIFEST, data)
    return _data_set(folder, data)


@stage(scope="rows", merge=_listed, effects=True, retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def write_parquet(table: pa.Table, folder: str, compression: str = "zstd") -> PartFile:
    """Write a table, a stream or a list of tables as one data set, in place of what the folder held.

    Each batch of a stream, and each part of a large table, becomes a file; rows keep their order.

    Args:
        folder: Path or fsspec URL of a folder that holds this data set and nothing else.
        compression: Of Parquet: ``zstd``, ``snappy``, ``lz4``, ``gzip`` or ``none``.

    Returns:
        The ``DataSet``.

    Raises:
        ConfigError: the compression is not known.
        DataRejected: a column is of a type that Parquet does not have, or batches differ in their columns.
    """
    sink = pa.BufferOutputStream()
    try:
        pyarrow.parquet.write_table(table, sink, compression=compression, store_schema=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise DataRejected(f"{folder}: the table cannot be written as Parquet: {error}") from None
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{compression!r} is no compression of Parquet here: {error}") from None
    data = sink.getvalue()
    digest = blake3(memoryview(data)).hexdigest()
    name = f"part-{digest[:32]}.parquet"
    filesystem, inner = place_of(folder)
    if not _is_there(filesystem, f"{inner}/{name}", data.size):
        _put(filesystem, inner, name, memoryview(data))
    return PartFile(folder, name, table.num_rows, data.size, digest, _schema_text(table.schema))


def find_data_set(folder: str) -> DataSet:
    """What the manifest of a folder says.

    Raises:
        NotFound: there is none; says if a write was begun and not finished.
        DataRejected: the manifest is not one of ours.
    """
    filesystem, inner = place_of(folder)
    try:
        data = bytes(filesystem.cat_file(f"{inner}/{MANIFEST}"))
    except FileNotFoundError:
        begun = len(filesystem.glob(f"{inner}/part-*.parquet"))
        why = f" {begun} part files lie there, of a write that was not finished." if begun else ""
        raise NotFound(f"{folder!r} holds no data set: there is no {MANIFEST}.{why}", path=folder) from None
    return _data_set(folder, data)


@stage(retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def read_parts(folder: str | DataSet, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a data set, in one table.

    Args:
        folder: Path or URL, as it is now; or a ``DataSet``, exactly as it was written.
        columns: Columns to read, in this order; all when not given.

    Raises:
        NotFound: there is no data set, a part of it is gone, or it lacks a column.
        DataRejected: a part is not what was written, or the manifest is damaged; names the file.
    """
    found = find_data_set(folder) if isinstance(folder, str) else folder
    tables = list(_tables(found, columns))
    return pa.concat_tables(tables) if tables else _wanted_schema(found, columns).empty_table()


@stage(streaming=True, retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def read_batches(
    path: str | DataSet, columns: Sequence[str] | None = None, rows: int = BATCH_ROWS, by: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """The rows of a data set or of Parquet files, batch by batch: no more than one part is in memory.

    Args:
        path: Folder of a data set, a ``DataSet``, or a Parquet file or pattern (``part-*.parquet``).
        columns: Columns to read, in this order; all when not given.
        rows: Most rows of a batch.
        by: Key of rows that come in its order: then no group is in two batches, and a batch has as many rows as that
            takes. A stage with ``scope="groups"`` can be mapped over such batches.

    Raises:
        NotFound, DataRejected: as ``read_parts``; or the rows are not in order of ``by``, names the first.
    """
    if rows < 1:
        raise ConfigError(f"read_batches: a batch has at least one row, not {rows}")
    found = _batches(path, columns, rows)
    shown = path.folder if isinstance(path, DataSet) else path
    yield from whole_groups(found, by, repr(shown)) if by else found


def _batches(path: str | DataSet, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    if isinstance(path, DataSet) or not _is_files(path):
        found = find_data_set(path) if isinstance(path, str) else path
        for table in _tables(found, columns):
            for start in range(0, max(table.num_rows, 1), rows):
                yield table.slice(start, rows)
        return
    filesystem, inner = place_of(path)
    names = sorted(filesystem.glob(inner)) if "*" in inner else [inner]
    if not names:
        raise NotFound(f"No file matches {path!r}.", path=path)
    for name in names:
        yield from _file_batches(filesystem, name, columns, rows)


def remove_unlisted(folder: str, older_than_s: float = 86_400.0) -> list[str]:
    """Remove part files that the manifest does not name, of unfinished writes and earlier data sets.

    Args:
        older_than_s: Seconds since they were written: a write that is going on keeps its own that way, and readers of
            an earlier data set have so much time.

    Returns:
        Their names.

    Raises:
        NotFound: the folder holds no data set.
    """
    listed = {part.name for part in find_data_set(folder).parts}
    filesystem, inner = place_of(folder)
    removed = []
    for path in sorted(filesystem.glob(f"{inner}/part-*.parquet")):
        name = path.rpartition("/")[2]
        if name not in listed and time.time() - filesystem.modified(path).timestamp() >= older_than_s:
            filesystem.rm_file(path)
            removed.append(name)
    return removed


# ---- reading


def _tables(found: DataSet, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    filesystem, inner = place_of(found.folder)
    schema = _wanted_schema(found, columns)
    for part in found.parts:
        shown = f"{found.folder}/{part.name}"
        try:
            data = filesystem.cat_file(f"{inner}/{part.name}")
        except FileNotFoundError:
            raise NotFound(f"{shown} is gone, and {MANIFEST} names it.", path=shown) from None
        if blake3(data).hexdigest() != part.digest:
            raise DataRejected(
                f"{shown} is not what was written: {len(data):,} bytes of another digest, instead of {part.bytes:,}; "
                "write the data set again",
                path=shown,
            )
        yield pyarrow.parquet.read_table(pa.BufferReader(data), columns=schema.names).cast(schema)


def _file_batches(filesystem: Any, name: str, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    try:
        with filesystem.open(name, "rb") as source:
            file = pyarrow.parquet.ParquetFile(pa.PythonFile(source, mode="r"))
            if columns is not None:
                require_columns(file.schema_arrow.names, columns, name)
            wanted = list(columns) if columns is not None else file.schema_arrow.names
            if not file.metadata.num_rows:
                yield file.schema_arrow.empty_table().select(wanted)
            for batch in file.iter_batches(batch_size=rows, columns=wanted):
                yield pa.Table.from_batches([batch]).select(wanted)
    except FileNotFoundError:
        raise NotFound(f"There is no file {name!r}.", path=name) from None
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or isinstance(error, ConnectionError)):
            raise
        raise DataRejected(f"{name!r} cannot be read as Parquet: {error}", path=name) from None


def _is_files(path: str) -> bool:
    return path.endswith((".parquet", ".pq")) or "*" in path


def _wanted_schema(found: DataSet, columns: Sequence[str] | None) -> pa.Schema:
    schema = _schema_of(found.schema)
    if columns is None:
        return schema
    require_columns(schema.names, columns, found.folder)
    return pa.schema([schema.field(name) for name in columns])


def _data_set(folder: str, data: bytes) -> DataSet:
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise DataRejected(f"{folder}/{MANIFEST} has format {document['format']}; this version reads {FORMAT}")
        schema = document["schema"]
        _schema_of(schema)
        parts = [PartFile(folder=folder, schema=schema, **entry) for entry in document["parts"]]
        return DataSet(folder, parts, document["rows"], schema, blake3(data).hexdigest())
    except DataRejected:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:  # Arrow says OSError of a schema that is none
        raise DataRejected(f"{folder}/{MANIFEST} is damaged: {type(error).__name__}: {error}", path=folder) from None


# ---- schemas


def _common_schema(parts: Sequence[PartFile]) -> pa.Schema:
    """The schema of all parts; a column of nothing but nulls takes the type that it has in others."""
    first = _schema_of(parts[0].schema)
    types = {field.name: field.type for field in first}
    for place, part in enumerate(parts):
        if part.schema == parts[0].schema:
            continue
        schema = _schema_of(part.schema)
        if schema.names != first.names:
            changed = sorted(set(schema.names) ^ set(first.names)) or "their order"
            raise DataRejected(f"{part.folder}: part {place} differs from part 0 in its columns: {changed}")
        for field in schema:
            known = types[field.name]
            if pa.types.is_null(known):
                types[field.name] = field.type
            elif field.type != known and not pa.types.is_null(field.type):
                raise DataRejected(
                    f"{part.folder}: column {field.name!r} is {known} at first and {field.type} in part {place}; "
                    "cast it before it is written",
                    column=field.name,
                )
    return pa.schema([(name, types[name]) for name in first.names], first.metadata)


def _schema_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def _schema_of(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))


# ---- files


def _is_there(filesystem: Any, path: str, size: int) -> bool:
    return bool(filesystem.exists(path)) and filesystem.size(path) == size


def _put(filesystem: Any, folder: str, name: str, data: bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all: object stores do that by themselves."""
    if "file" not in filesystem.protocol:
        filesystem.pipe_file(f"{folder}/{name}", bytes(data))
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(data)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(fresh, f"{folder}/{name}")
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
