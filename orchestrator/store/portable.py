"""A journal in one file that is no database's own: a backup, and the way from one database to another.

The file is gzip of frames, each a length and msgpack: a head with the schema, then pages of rows, table by table, at
last how many rows each table had, so that a file that was cut short is found out. It holds one state of all tables,
taken while runs may be driven. Leases are left out: whoever restores a journal drives nothing yet.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from sqlalchemy import Connection, Table, insert, select

from orchestrator.errors import ConfigError, JournalCorrupt, NotFound, SchemaTooNew
from orchestrator.ports.values import digest_bytes
from orchestrator.store import schema
from orchestrator.store.database import Database

_KIND = "orchestrator journal 1"
_TABLES = (
    schema.run, schema.tags, schema.fact, schema.chunk, schema.snapshot, schema.inbox, schema.cache,
    schema.cursor, schema.named, schema.published, schema.published_tag, schema.promotion,
)  # fmt: skip
_PER_FRAME = 256
"""Rows in one frame; with each of them a chunk, some 16 MB."""

_LENGTH_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def back_up(database: Database, path: Path) -> dict[str, int]:
    """Write everything into a new file, which is whole and on disk when this returns; rows by table.

    Raises:
        ConfigError: the file exists, or cannot be written.
        StoreUnavailable: the database cannot be read.
    """
    if path.exists():
        raise ConfigError(f"{path} exists; a backup is not overwritten, choose another name")
    try:
        # Beside the file it becomes: a rename within one folder is all or nothing.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            unfinished = Path(file.name)
            try:
                with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed:
                    counts = _export(database, packed)
                file.flush()
                os.fsync(file.fileno())
                unfinished.rename(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    return counts


def restore(database: Database, path: Path) -> dict[str, int]:
    """Fill an empty database from a backup, all or nothing; rows by table.

    Raises:
        ConfigError: the database has runs already, or the file is no backup.
        NotFound: there is no such file.
        SchemaTooNew: a newer release wrote the file.
        JournalCorrupt: the file is damaged or was cut short.
    """
    if not path.is_file():
        raise NotFound(f"there is no backup {path}")
    try:
        with gzip.open(path, "rb") as file, database.write() as connection:
            _refuse_unless_empty(connection, database.label)
            return _import(connection, _frames(file), path)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
        raise JournalCorrupt(f"{path} is no backup or is damaged: {error}; nothing was restored") from error


def damaged_chunks(database: Database) -> Iterator[str]:
    """Where the bytes of an inline chunk have another digest than they should."""
    with database.still() as connection:
        for row in connection.execution_options(yield_per=_PER_FRAME).execute(select(schema.chunk)):
            if digest_bytes(row.data) != row.digest:
                yield f"run {row.run}: chunk {row.digest} is damaged"


def _export(database: Database, file: gzip.GzipFile) -> dict[str, int]:
    counts: dict[str, int] = {}
    _put(file, {"kind": _KIND, "schema": schema.HEAD})
    with database.still() as connection:
        for table in _TABLES:
            # An inbox is kept in its order, by numbers that are the database's own.
            columns = [column for column in table.c if column is not schema.inbox.c.number]
            query = select(*columns).order_by(*table.primary_key.columns)
            name, names = str(table.name), [str(column.name) for column in columns]
            counts[name] = 0
            for rows in connection.execution_options(yield_per=_PER_FRAME).execute(query).partitions():
                _put(file, {"table": name, "columns": names, "rows": [tuple(row) for row in rows]})
                counts[name] += len(rows)
    _put(file, {"end": counts})
    return counts


def _put(file: gzip.GzipFile, frame: Mapping[str, Any]) -> None:
    data = _encode(frame)
    file.write(len(data).to_bytes(_LENGTH_BYTES, "big"))
    file.write(data)


def _frames(file: BinaryIO | gzip.GzipFile) -> Iterator[dict[str, Any]]:
    while True:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
        frame: dict[str, Any] = _decode(file.read(length))
        yield frame


def _import(connection: Connection, frames: Iterator[dict[str, Any]], path: Path) -> dict[str, int]:
    head = next(frames)
    if head.get("kind") != _KIND:
        raise ValueError(f"it does not begin as {_KIND!r}")
    if head["schema"] > schema.HEAD:
        raise SchemaTooNew(
            f"{path} was written by a newer release (schema {head['schema']}, this one knows {schema.HEAD}); "
            "upgrade with: pip install --upgrade ray-orchestrator"
        )
    tables: dict[str, Table] = {table.name: table for table in _TABLES}
    counts: Counter[str] = Counter(dict.fromkeys(tables, 0))
    for frame in frames:
        if "end" in frame:
            if frame["end"] != counts:
                raise ValueError("rows are missing")
            break
        rows = [dict(zip(frame["columns"], row, strict=True)) for row in frame["rows"]]
        connection.execute(insert(tables[frame["table"]]), rows)
        counts[frame["table"]] += len(rows)
    return dict(counts)


def _refuse_unless_empty(connection: Connection, label: str) -> None:
    for table in (schema.run, schema.cache):
        if connection.execute(select(table).limit(1)).first() is not None:
            raise ConfigError(f"{label} is not empty; restore into a new database and let ORC_STORE name that one")
