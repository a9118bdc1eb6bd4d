"""Cleaning a table: wrong values out, missing ones filled, types made right, rows chosen, times built."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import cast_columns, require_columns
from stages.errors import DataRejected

Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]

Condition = tuple[str, Operator, Any]
"""``("distance", ">", 0)``, ``("origin", "in", ["EWR", "JFK"])``."""

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@stage(cache="30d", timeout="10m")
def clean(
    table: pa.Table,
    need: Sequence[str] = (),
    drop: Sequence[str] = (),
    clip: Mapping[str, tuple[float | None, float | None]] | None = None,
    fill: Mapping[str, Any] | None = None,
    types: Mapping[str, str] | None = None,
) -> pa.Table:
    """Apply the usual repairs, in this order.

    Args:
        types: Arrow type names by column; what does not fit is an error.
        clip: Lower and upper bound by column (None: no bound); values outside are set to the bound.
        fill: Value by column that replaces nulls.
        need: Columns that must not be null; rows where one is are dropped.
        drop: Columns to leave out of the result.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column does not have the wanted type, or a bound or filling value does not fit its column.
    """
    where = "The table given to clean"
    require_columns(table.column_names, [*need, *drop, *(clip or {}), *(fill or {})], where)
    if types:
        table = cast_columns(table, types, where)
    for name, (low, high) in (clip or {}).items():
        table = _replace(table, name, _clipped(table.column(name), name, low, high))
    for name, value in (fill or {}).items():
        table = _replace(table, name, _filled(table.column(name), name, value))
    if need:
        table = table.filter(reduce(pc.and_, (pc.is_valid(table.column(name)) for name in need)))
    return table.drop_columns(list(drop)) if drop else table


def _replace(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _clipped(column: Any, name: str, low: float | None, high: float | None) -> Any:
    try:
        if low is not None:
            column = pc.max_element_wise(column, pa.scalar(low, column.type), skip_nulls=False)
        if high is not None:
            column = pc.min_element_wise(column, pa.scalar(high, column.type), skip_nulls=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise DataRejected(f"Column {name!r} holds {column.type} and cannot be clipped to [{low}, {high}].") from None
    return column


def _filled(column: Any, name: str, value: Any) -> Any:
    try:
        return pc.fill_null(column, pa.scalar(value, column.type))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise DataRejected(f"Column {name!r} holds {column.type}; its nulls cannot become {value!r}.") from None


@stage(scope="rows", cache="30d", timeout="10m")
def select_rows(table: pa.Table, conditions: Sequence[Condition]) -> pa.Table:
    """Keep the rows that meet every condition; a null meets none.

    Raises:
        NotFound: a column is missing.
        ConfigError: an operator is not known.
        DataRejected: a value cannot be compared with its column.
    """
    require_columns(table.column_names, [name for name, _, _ in conditions], "The table given to select_rows")
    masks = [_mask(table.column(name), name, symbol, value) for name, symbol, value in conditions]
    return table.filter(reduce(pc.and_, masks)) if masks else table


def _mask(column: Any, name: str, symbol: str, value: Any) -> Any:
    try:
        if symbol in _COMPARE:
            return _COMPARE[symbol](column, pa.scalar(value))
        if symbol in ("in", "not in"):
            found = pc.is_in(column, pa.array(value, column.type))
            return found if symbol == "in" else pc.and_(pc.is_valid(column), pc.invert(found))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise DataRejected(f"Column {name!r} holds {column.type}; it cannot be compared with {value!r}.") from None
    raise ConfigError(f"{symbol!r} is not a comparison; use one of {', '.join(_COMPARE)}, in, not in")


@stage(scope="rows", cache="30d", timeout="10m")
def add_flag(table: pa.Table, name: str, column: str, symbol: Operator, value: Any) -> pa.Table:
    """Add a 0/1 column that says where ``column`` compares so with ``value``; null where the column is null.

    This is how a label is made: ``add_flag(rows, "late", "arr_delay", ">", 15)``.

    Raises:
        NotFound, ConfigError, DataRejected: as ``select_rows``.
    """
    require_columns(table.column_names, [column], "The table given to add_flag")
    source = table.column(column)
    flag = pc.cast(_mask(source, column, symbol, value), pa.int8())
    flag = pc.if_else(pc.is_valid(source), flag, pa.scalar(None, pa.int8()))
    if name in table.column_names:
        return _replace(table, name, flag)
    return table.append_column(name, flag)


@stage(cache="30d", timeout="10m")
def add_time(table: pa.Table, name: str, parts: Mapping[str, str]) -> pa.Table:
    """Add a local timestamp (seconds, no zone) built from columns of numbers.

    Args:
        parts: Column by part: ``year``, ``month`` and ``day`` are needed, ``hour`` and ``minute`` are 0 when not given.

    Raises:
        NotFound: a column is missing.
        ConfigError: a part is missing or not known.
        DataRejected: a column is not numeric, or holds a month or day that no calendar has.
    """
    known = ("year", "month", "day", "hour", "minute")
    if not {"year", "month", "day"} <= set(parts) <= set(known):
        raise ConfigError(
            f"add_time needs year, month and day, and takes hour and minute; it was given {dict(parts)!r}"
        )
    require_columns(table.column_names, parts.values(), "The table given to add_time")
    try:
        numbers = {part: pc.cast(table.column(column), pa.int64()) for part, column in parts.items()}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataRejected(f"The parts of {name!r} must be whole numbers: {error}") from None
    valid = reduce(operator.and_, (pc.is_valid(part).to_numpy() for part in numbers.values()))
    years, months, days, hours, minutes = (_part(numbers.get(part), len(valid), part in known[1:3]) for part in known)
    month = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months - 1)
    day = month.astype("datetime64[D]") + (days - 1)
    wrong = valid & ((months < 1) | (months > 12) | (day.astype("datetime64[M]") != month))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataRejected(
            f"Row {row} has no such date: year {years[row]}, month {months[row]}, day {days[row]}.", row=row
        )
    stamps = day.astype("datetime64[s]") + hours * np.timedelta64(3600, "s") + minutes * np.timedelta64(60, "s")
    return table.append_column(name, pa.array(stamps, pa.timestamp("s"), mask=~valid))


def _part(numbers: Any | None, rows: int, from_one: bool) -> Any:
    if numbers is None:
        return np.zeros(rows, dtype=np.int64)
    return pc.fill_null(numbers, 1 if from_one else 1970).to_numpy()
