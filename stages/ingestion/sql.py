"""Tables from SQL databases, by any SQLAlchemy URL.

Rows come in batches, so that a large result is never held twice. Values are always bound, and names of tables and
columns are looked up in the database before they are used, so that neither can carry SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import sqlalchemy
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from orchestrator import Retry, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import cast_columns, require_columns, suggestion
from stages.errors import DataRejected, SourceUnavailable

BATCH_ROWS = 50_000
"""Rows fetched and turned into Arrow at a time."""


@stage(retries=Retry(attempts=4, on=(SourceUnavailable,)), timeout="1h")
def read_sql(
    url: str, query: str, params: Mapping[str, Any] | None = None, types: Mapping[str, str] | None = None
) -> pa.Table:
    """Rows of a query.

    Args:
        url: SQLAlchemy URL; give it as a ``Secret`` if it holds a password.
        query: SQL with named parameters (``:since``).
        params: Their values; always bound, never pasted into the text.
        types: Arrow type names by column, for what the database does not say (all rows null, numbers as text).

    Raises:
        ConfigError: the URL is none, or its driver is not installed.
        DataRejected: the database refuses the query, or a column mixes types.
        SourceUnavailable: the database cannot be reached, or the connection broke; retried.
    """
    with connected(url) as connection:
        result = connection.execute(sqlalchemy.text(query), dict(params or {}))
        return table_of(result, types, "the query")


@stage(retries=Retry(attempts=4, on=(SourceUnavailable,)), timeout="1h")
def read_sql_table(
    url: str, table: str, columns: Sequence[str] | None = None, types: Mapping[str, str] | None = None
) -> pa.Table:
    """All rows of a table, or of some of its columns.

    Args:
        table: ``name`` or ``schema.name``, as the database has it.

    Raises:
        NotFound: there is no such table or column; names the closest.
        ConfigError, DataRejected, SourceUnavailable: as ``read_sql``.
    """
    with connected(url) as connection:
        reflected = reflect(connection, table)
        chosen = list(columns or reflected.columns.keys())
        require_columns(list(reflected.columns.keys()), chosen, f"table {table!r}")
        result = connection.execute(sqlalchemy.select(*(reflected.columns[name] for name in chosen)))
        return table_of(result, types, f"table {table!r}")


def reflect(connection: sqlalchemy.Connection, table: str) -> sqlalchemy.Table:
    """A table as the database describes it; raises NotFound."""
    schema, _, name = table.rpartition(".")
    inspector = sqlalchemy.inspect(connection)
    known = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
    if name not in known:
        raise NotFound(f"The database has no table {table!r}.{suggestion(name, known)}", table=table)
    return sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema or None, autoload_with=connection)


@contextmanager
def connected(url: str) -> Iterator[sqlalchemy.Connection]:
    """A connection that reads rows as they come; raises ConfigError and SourceUnavailable, without the password."""
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"The URL of the database cannot be used: {error}") from None
    except ModuleNotFoundError as error:
        raise ConfigError(f"The driver of the database is not installed: {error.name}") from None
    shown = engine.url.render_as_string(hide_password=True)
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise SourceUnavailable(f"{shown} cannot be reached: {_first_line(error.orig)}", url=shown) from None
    try:
        with connection:
            yield connection.execution_options(stream_results=True)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise SourceUnavailable(f"{shown} cannot be read: {_first_line(error.orig)}", url=shown) from None
        raise DataRejected(f"{shown} refuses the query: {_first_line(error.orig)}", url=shown) from None
    except SQLAlchemyError as error:
        raise DataRejected(f"{shown}: {_first_line(error)}", url=shown) from None


def table_of(result: sqlalchemy.CursorResult[Any], types: Mapping[str, str] | None, where: str) -> pa.Table:
    """All rows of a result, of the types asked for or found; raises DataRejected with ``where`` and the column."""
    names = list(result.keys())
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataRejected(f"{where} gives several columns the same name: {', '.join(twice)}; name them with AS.")
    batches, first = [], 0
    for rows in result.partitions(BATCH_ROWS):
        batches.append(pa.table([_column(rows, at, name, where, first) for at, name in enumerate(names)], names))
        first += len(rows)
    if not batches:
        return cast_columns(pa.table({name: pa.nulls(0) for name in names}), types or {}, where)
    try:
        whole = pa.concat_tables(batches, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRejected(f"{where}: a column changes its type from row to row: {error}") from None
    return cast_columns(whole, types or {}, where)


def _column(rows: Sequence[Any], at: int, name: str, where: str, first: int) -> pa.Array:
    values = [row[at] for row in rows]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        row = next(row for row in range(1, len(values) + 1) if not _fits(values[:row])) - 1
        raise DataRejected(
            f"{where}: column {name!r} mixes types; row {first + row} holds {values[row]!r}. Cast it in the query.",
            column=name,
            row=first + row,
        ) from None


def _fits(values: Sequence[Any]) -> bool:
    try:
        pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return False
    return True


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
