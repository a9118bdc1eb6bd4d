"""What is new in a source since the last run that succeeded: files of a folder, rows of a table, answers of a service.

Each stage keeps a cursor: how far it has read, and what it has read near there, since clocks and counters of sources
have ties and latecomers. The cursor moves with the success of the run, so a failed one leaves its rows to the next.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import fsspec
import pyarrow as pa
import sqlalchemy

from orchestrator import Retry, stage, step
from orchestrator.errors import ConfigError, NotFound
from stages.columns import require_columns
from stages.errors import DataRejected, SourceUnavailable
from stages.ingestion.files import MOST_ROWS, Format, read
from stages.ingestion.http import Paging, read_http
from stages.ingestion.places import place_of
from stages.ingestion.sql import connected, reflect, table_of


class _File(NamedTuple):
    """A file as its file system describes it; ``changed_at`` in seconds, ``version`` differs when the content does."""

    name: str
    changed_at: float
    version: str


@stage(retries=Retry(attempts=4, on=(OSError,)), timeout="1h")
def read_new_files(
    pattern: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    format: Format | None = None,
    cursor: str = "",
    overlap_s: float = 86_400.0,
    max_rows: int = MOST_ROWS,
) -> pa.Table:
    """Rows of the files that no run before has read, in the order of their times and names.

    Args:
        pattern: Path or fsspec URL with ``*``, ``?`` and ``**``, or a folder: then all files in it.
        columns, types, format: As ``read``.
        cursor: Name of the cursor; that of the step when not given.
        overlap_s: A file whose time of change lies so much before the newest one read is still found. Files of that
            span are remembered by name; one that comes with an older time is not seen.
        max_rows: More new rows are an error.

    Returns:
        A table; without new files it is empty and has the columns of the one before.

    Raises:
        NotFound: nothing matches, and nothing ever did.
        DataRejected: as ``read``; or a file was changed after it had been read.
        SourceUnavailable: a file changed while it was read; tried again.
    """
    name = cursor or _own_name()
    before = step().cursors[name] or {}
    filesystem, inner = place_of(pattern)
    if filesystem.isdir(inner):
        inner = inner.rstrip("/") + "/*"
    there = sorted(_listed(filesystem, inner), key=lambda file: (file.changed_at, file.name))
    if not there and not before:
        raise NotFound(f"No file matches {pattern!r}.", path=pattern)
    mark, read_before = before.get("mark"), before.get("names", {})
    new = [file for file in there if _is_new(file, mark, read_before, overlap_s)]
    tables: list[pa.Table] = []
    for file in new:
        left = max_rows - sum(table.num_rows for table in tables)
        path = filesystem.unstrip_protocol(file.name)
        tables.append(read(path, columns, types, format, max_rows=left))
        if _described(filesystem, file.name) != file:
            raise SourceUnavailable(f"{file.name!r} was changed while it was read.", path=file.name)
    if not tables:
        return _empty(before.get("schema", ""))
    whole = _joined(tables, pattern)
    newest = max([file.changed_at for file in there] + ([mark] if mark is not None else []))
    near = {file.name: file.version for file in there if file.changed_at >= newest - overlap_s}
    step().cursors[name] = {"mark": newest, "names": near, "schema": _written(whole.schema)}
    return whole


@stage(retries=Retry(attempts=4, on=(SourceUnavailable,)), timeout="1h")
def read_new_rows(
    url: str,
    table: str,
    column: str,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
    cursor: str = "",
    overlap: float = 0.0,
) -> pa.Table:
    """Rows of a table that no run before has read, by a column that grows.

    Args:
        url: SQLAlchemy URL; give it as a ``Secret`` if it holds a password.
        table: ``name`` or ``schema.name``, as the database has it.
        column: A number or time that new rows have larger values of (or equal ones, with ``key``).
        key: A column that is different in each row. With it rows may share a value of ``column``, and latecomers are
            found; without it each value of ``column`` belongs to one row, and anything else is an error.
        columns: To read; all when not given.
        cursor: Name of the cursor; that of the step when not given.
        overlap: How far below the largest value read latecomers are looked for, in units of ``column`` (seconds for
            times); wants ``key``. Transactions that are open while a run reads may commit such rows.

    Raises:
        NotFound: there is no such table or column; names the closest.
        DataRejected: rows have no value in ``column``, or share one without ``key``; or as ``read_sql``.
        SourceUnavailable: the database cannot be reached, or the connection broke; retried.
        ConfigError: ``overlap`` is given without ``key``.
    """
    if overlap and key is None:
        raise ConfigError("overlap=… looks at rows a second time; pass key=…, by which they are told apart")
    name = cursor or _own_name()
    before = step().cursors[name]
    with connected(url) as connection:
        reflected = reflect(connection, table)
        known = list(reflected.columns.keys())
        chosen = list(columns or known)
        require_columns(known, [*chosen, column, *([key] if key else [])], f"table {table!r}")
        _refuse_empty(connection, reflected, table, column)
        hidden = [extra for extra in dict.fromkeys([column, key or column]) if extra not in chosen]
        query = sqlalchemy.select(*(reflected.columns[each] for each in [*chosen, *hidden]))
        query = query.order_by(reflected.columns[column], *([reflected.columns[key]] if key else []))
        if before:
            query = query.where(reflected.columns[column] >= _below(_decoded(before["mark"]), overlap))
        whole = table_of(connection.execute(query), types, f"table {table!r}")
    found = _Found(whole, column, key or column, f"table {table!r}", key is not None)
    new, after = found.since(before, overlap)
    if after is not None:
        step().cursors[name] = after
    return new.select(chosen)


@stage(retries=Retry(attempts=5, on=(SourceUnavailable,)), timeout="1h")
def read_new_http(
    url: str,
    field: str,
    key: str,
    parameter: str = "since",
    rows: str = "",
    types: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    paging: Paging = "none",
    next_field: str = "next",
    page_parameter: str = "page",
    page_rows: int = 100,
    cursor: str = "",
) -> pa.Table:
    """Rows of an HTTP interface that no run before has read.

    Args:
        field: Of each row: a number or text (an ISO time) that grows; its largest value goes into ``parameter``.
        key: Field that is different in each row. The interface may answer with rows from ``since`` on or after it.
        parameter: Of the query, with the largest value read; left out the first time.
        rows, types, headers, paging, next_field, page_rows: As ``read_http``; ``page_parameter`` is its ``parameter``.
        cursor: Name of the cursor; that of the step when not given.

    Raises:
        SourceUnavailable, DataRejected, ConfigError: as ``read_http``; a row without ``field`` or ``key`` is rejected.
    """
    name = cursor or _own_name()
    before = step().cursors[name]
    asked = url if not before else _with(url, parameter, _decoded(before["mark"]))
    whole = read_http(
        asked, rows, None, types, headers, paging, next_field, page_parameter, page_rows
    )  # fmt: skip
    if not whole.num_rows:
        return whole if not before else _empty(before["schema"])
    require_columns(whole.column_names, [field, key], asked)
    if whole[field].null_count or whole[key].null_count:
        raise DataRejected(f"{asked}: a row has no {field!r} or no {key!r}; it could be read twice, or never.")
    new, after = _Found(whole.sort_by([(field, "ascending")]), field, key, asked, True).since(before, 0.0)
    if after is not None:
        step().cursors[name] = {**after, "schema": _written(whole.schema)}
    return new


class _Found(NamedTuple):
    """Rows from the cursor on, in order of ``column``; those that ``key`` says were read before are among them."""

    table: pa.Table
    column: str
    key: str
    where: str
    may_tie: bool

    def since(self, before: Any, overlap: float) -> tuple[pa.Table, dict[str, Any] | None]:
        """Rows that are new, and the cursor after them; None if nothing is."""
        marks, keys = self.table[self.column].to_pylist(), self.table[self.key].to_pylist()
        told = [_told(key) for key in keys]
        if len(set(told)) < len(told):
            twice = Counter(told).most_common(1)[0][0]
            advice = "is not a key" if self.may_tie else "has ties; pass key=…, a column that tells rows apart"
            raise DataRejected(f"{self.where}: several rows have {self.key!r} {twice}: it {advice}.", column=self.key)
        seen = frozenset(before["keys"]) if before else frozenset()
        floor = _below(_decoded(before["mark"]), overlap) if before else None
        fresh = [
            place for place, key in enumerate(told) if key not in seen and (floor is None or marks[place] >= floor)
        ]
        new = self.table.take(pa.array(fresh, pa.int64()))
        if not fresh:
            return new, None
        mark = marks[-1] if not before else max(marks[-1], _decoded(before["mark"]))
        low = _below(mark, overlap)
        near = [key for place, key in enumerate(told) if marks[place] >= low]
        return new, {"mark": _encoded(mark, self), "keys": near}


def _own_name() -> str:
    """The step's own cursor; reading it refuses items of a map, which have none."""
    _ = step().cursor
    return step().node


def _listed(filesystem: fsspec.AbstractFileSystem, pattern: str) -> list[_File]:
    found = filesystem.glob(pattern, detail=True)
    return [_file(filesystem, name, info) for name, info in found.items() if info.get("type") != "directory"]


def _described(filesystem: fsspec.AbstractFileSystem, name: str) -> _File:
    filesystem.invalidate_cache()
    return _file(filesystem, name, filesystem.info(name))


def _file(filesystem: fsspec.AbstractFileSystem, name: str, info: Mapping[str, Any]) -> _File:
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or filesystem.modified(name)
    at = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    version = (
        info.get("ETag") or info.get("etag") or info.get("e_tag") or f"{at!r} {info.get('size')} {info.get('ino', '')}"
    )
    return _File(name, at, str(version))


def _is_new(file: _File, mark: float | None, read_before: Mapping[str, str], overlap_s: float) -> bool:
    known = read_before.get(file.name)
    if known is not None and known != file.version:
        raise DataRejected(
            f"{file.name!r} was changed after a run had read it; its rows would come twice. Give what is new a name of "
            "its own, or start again with another cursor=….",
            path=file.name,
        )
    return known is None and (mark is None or file.changed_at >= mark - overlap_s)


def _joined(tables: Sequence[pa.Table], pattern: str) -> pa.Table:
    for table in tables[1:]:
        require_columns(table.column_names, tables[0].column_names, f"a new file of {pattern!r}")
    try:
        return pa.concat_tables(
            [table.select(tables[0].column_names) for table in tables], promote_options="permissive"
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRejected(f"The new files of {pattern!r} do not fit together: {error}; pass types=…") from None


def _written(schema: pa.Schema) -> str:
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def _empty(schema: str) -> pa.Table:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema))).empty_table() if schema else pa.table({})


def _refuse_empty(connection: sqlalchemy.Connection, table: sqlalchemy.Table, shown: str, column: str) -> None:
    nulls = sqlalchemy.select(sqlalchemy.literal(1)).select_from(table).where(table.columns[column].is_(None)).limit(1)
    if connection.execute(nulls).first() is not None:
        raise DataRejected(f"table {shown!r}: rows have no value in {column!r} and would never be read.", column=column)


def _below(mark: Any, overlap: float) -> Any:
    if not overlap:
        return mark
    return mark - timedelta(seconds=overlap) if isinstance(mark, date) else mark - type(mark)(overlap)


def _told(key: Any) -> str:
    """A key as text, different for different keys."""
    return f"{type(key).__name__} {key!r}" if not isinstance(key, str | int) else str(key)


def _encoded(mark: Any, found: _Found) -> Any:
    match mark:
        case bool() | None:
            pass
        case int() | float() | str():
            return mark
        case datetime():
            return {"time": mark.isoformat()}
        case date():
            return {"date": mark.isoformat()}
        case Decimal():
            return {"decimal": str(mark)}
    raise DataRejected(
        f"{found.where}: {found.column!r} holds {mark!r}, which has no order to read by; choose a number or a time.",
        column=found.column,
    )


def _decoded(mark: Any) -> Any:
    if not isinstance(mark, Mapping):
        return mark
    ((kind, text),) = mark.items()
    reads: dict[str, Callable[[str], Any]] = {
        "time": datetime.fromisoformat,
        "date": date.fromisoformat,
        "decimal": Decimal,
    }
    return reads[kind](text)


def _with(url: str, parameter: str, value: object) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != parameter]
    text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
    return urlunsplit(parts._replace(query=urlencode([*query, (parameter, text)])))
