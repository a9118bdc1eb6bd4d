"""Columns of Arrow tables: finding them, converting them, and saying clearly what is wrong with them.

Every stage that takes column names goes through here, so that a missing or mistyped column is
reported in the same words everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected

_OFFSET = r":\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$"
"""How ISO times that carry an offset end."""

Floats = npt.NDArray[np.float64]
"""A one- or two-dimensional array of float64, NaN where a value is missing."""


def suggestion(name: str, available: Iterable[str]) -> str:
    """A sentence that offers the closest of ``available``; empty when none is close."""
    close = get_close_matches(name, list(available), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str], limit: int = 30) -> str:
    """Names for an error message, cut after ``limit``."""
    found = list(names)
    return ", ".join(found[:limit]) + (f", … ({len(found)} in all)" if len(found) > limit else "")


def require_columns(available: Sequence[str], wanted: Iterable[str], where: str) -> None:
    """Check that all wanted columns are there.

    Args:
        where: What is looked at, for the message: ``"flights.parquet"`` or ``"the table given to join"``.

    Raises:
        NotFound: a column is missing; names it, the place, what is there and the closest match.
        DataRejected: there are several columns of that name.
    """
    several = {name for name in available if available.count(name) > 1} if len(set(available)) < len(available) else ()
    for name in wanted:
        if name in several:
            raise DataRejected(f"{where} has several columns {name!r}; rename or drop all but one.", column=name)
        if name not in available:
            raise NotFound(
                f"{where} has no column {name!r}.{suggestion(name, available)} It has: {listed(available)}.",
                column=name,
                columns=list(available),
            )


def type_named(name: str) -> pa.DataType:
    """The Arrow type of a name such as ``int64``, ``double``, ``string`` or ``timestamp[s]``.

    Raises:
        ConfigError: Arrow has no type of that name.
    """
    try:
        return pa.type_for_alias(name)
    except ValueError:
        raise ConfigError(
            f"{name!r} is not an Arrow type; write for example int64, float64, string, bool, date32, timestamp[s]"
        ) from None


def cast_columns(table: pa.Table, types: Mapping[str, str], where: str) -> pa.Table:
    """Cast columns to the named types; values that do not fit are an error, never a null.

    ISO times with an offset (``…Z``, ``…+02:00``) cast to a type without a zone become UTC.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column holds what cannot be cast; names it, its type and the first such value.
        ConfigError: a type name is not known.
    """
    require_columns(table.column_names, types, where)
    for name, type_name in types.items():
        wanted = type_named(type_name)
        column = table.column(name)
        if column.type == wanted:
            continue
        try:
            cast = cast_column(column, wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row, value = _first_misfit(column, wanted)
            raise DataRejected(
                f"{where}: column {name!r} holds {column.type} and cannot be read as {type_name}; "
                f"the first value that does not fit is {value!r} in row {row}.",
                column=name,
                row=row,
            ) from None
        table = table.set_column(table.column_names.index(name), name, cast)
    return table


def cast_column(column: Any, wanted: pa.DataType) -> Any:
    """Cast one column, ISO times with an offset to UTC where the type has no zone; raises Arrow's own errors."""
    texts = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if texts and pa.types.is_timestamp(wanted) and wanted.tz is None:
        try:
            return pc.cast(column, wanted)
        except pa.ArrowInvalid:
            zoned = pc.match_substring_regex(column, _OFFSET)
            missing = pa.scalar(None, column.type)
            moments = pc.cast(pc.if_else(zoned, column, missing), pa.timestamp(wanted.unit, "UTC"))
            return pc.coalesce(pc.cast(pc.if_else(zoned, missing, column), wanted), pc.cast(moments, wanted))
    return pc.cast(column, wanted)


def _first_misfit(column: Any, wanted: pa.DataType) -> tuple[int, Any]:
    """Row and value of the first misfit, found by halving: a few casts instead of one a row."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            cast_column(column.slice(low, middle - low), wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
        else:
            low = middle
    return low, column[low].as_py() if len(column) else None


def floats(column: Any, where: str) -> Floats:
    """A numeric or boolean column as float64, NaN where it is null.

    Args:
        where: Name of the column, for the message.

    Raises:
        DataRejected: the column is not numeric.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataRejected(f"Column {where!r} holds {kind}; numbers are needed here.", column=where)
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def column_floats(table: pa.Table, name: str, where: str) -> Floats:
    """``floats`` of a named column; raises NotFound when it is missing."""
    require_columns(table.column_names, [name], where)
    return floats(table.column(name), name)


def matrix(table: pa.Table, names: Sequence[str], where: str) -> Floats:
    """Columns side by side: shape (rows, len(names)), NaN where a value is missing."""
    require_columns(table.column_names, names, where)
    result = np.empty((table.num_rows, len(names)), dtype=np.float64)
    for position, name in enumerate(names):
        result[:, position] = floats(table.column(name), name)
    return result


def is_numeric(kind: pa.DataType) -> bool:
    """True for integers, floats and booleans: what can be averaged."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def set_numbers(table: pa.Table, name: str, values: Floats) -> pa.Table:
    """Put a float64 column in place of the one of that name, or at the end; NaN becomes null."""
    return set_column(table, name, pa.array(values, pa.float64(), from_pandas=True))


def add_matrix(table: pa.Table, names: Sequence[str], values: Floats) -> pa.Table:
    """Add float64 columns at the end, in one go; columns of the same names make way, NaN becomes null.

    Args:
        values: Shape (rows, len(names)).
    """
    new = frozenset(names)
    kept = [name for name in table.column_names if name not in new]
    added = [pa.array(values[:, position], pa.float64(), from_pandas=True) for position in range(len(names))]
    return pa.table([*(table.column(name) for name in kept), *added], names=[*kept, *names])


def set_column(table: pa.Table, name: str, column: Any) -> pa.Table:
    """Put a column in place of the one of that name, or at the end."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


def texts(column: Any, name: str) -> Any:
    """A text column as Arrow strings in one piece, dictionary-encoded ones decoded.

    Raises:
        DataRejected: the column holds no text.
    """
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataRejected(
            f"Column {name!r} holds {column.type}; text is needed here (cast it to string first).", column=name
        )
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.cast(flat, pa.string())


def learnable(table: pa.Table, name: str, where: str) -> Floats:
    """A numeric column to learn from: at least one value, none of them infinite; NaN where a value is missing.

    Raises:
        NotFound: the column is missing.
        DataRejected: the column is not numeric, holds no value at all, or an infinite one; names the rows.
    """
    values = finite_floats(table, name, where)
    if np.isnan(values).all():
        raise DataRejected(
            f"{where}: column {name!r} holds no value to learn from in {len(values)} rows; leave it out.", column=name
        )
    return values


def finite_floats(table: pa.Table, name: str, where: str) -> Floats:
    """A numeric column without infinite values; NaN where a value is missing.

    Raises:
        NotFound: the column is missing.
        DataRejected: the column is not numeric, or holds an infinite value; names the rows.
    """
    values = column_floats(table, name, where)
    infinite = np.isinf(values)
    if infinite.any():
        raise DataRejected(
            f"{where}: column {name!r} is infinite in {rows_named(infinite)}; make these null or clip them first.",
            column=name,
            rows=np.flatnonzero(infinite)[:5].tolist(),
        )
    return values


def rows_named(mask: Any, limit: int = 5) -> str:
    """The true positions of a mask in words: ``rows 3, 8, 12 (17 in all)``."""
    found = np.flatnonzero(np.asarray(mask))
    text = ", ".join(str(row) for row in found[:limit])
    return f"row{'s' if len(found) != 1 else ''} {text}" + (f" ({len(found)} in all)" if len(found) > limit else "")


def require_rows(table: pa.Table, where: str) -> None:
    """Check that there is something to learn from; raises DataRejected for an empty table."""
    if not table.num_rows:
        raise DataRejected(f"{where} has no rows; look at what was read or filtered before it.")


def require_choice(value: str, choices: Iterable[str], what: str) -> None:
    """Check a parameter that takes one of some words.

    Raises:
        ConfigError: it is none of them; offers the closest.
    """
    known = list(choices)
    if value not in known:
        raise ConfigError(f"{what} is one of {', '.join(known)}, not {value!r}.{suggestion(value, known)}")
