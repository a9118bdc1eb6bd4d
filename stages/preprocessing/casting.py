"""Making a table what it should be: the wanted columns, each of its type; what does not fit is told or nulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from stages.columns import cast_column, listed, require_choice, require_columns, rows_named, set_column, type_named
from stages.errors import DataRejected

_WHOLE = r"^\s*[+-]?\d{1,19}\s*$"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf(inity)?|nan|NaN|Inf(inity)?)\s*$"
_TIME = r"^\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True)
class Cast:
    """A table of the wanted types.

    Attributes:
        nulled: Values that did not fit and became null, by column; columns without such are not there.
    """

    table: pa.Table
    nulled: dict[str, int]


@stage(cache="30d", timeout="10m")
def cast(
    table: pa.Table,
    types: Mapping[str, str],
    misfits: Literal["error", "null"] = "error",
    extra: Literal["keep", "drop", "error"] = "keep",
) -> Cast:
    """Give columns their types.

    Args:
        types: Arrow type names by column.
        misfits: Whether a value that does not fit is an error or becomes null and is counted.
        extra: What becomes of columns that ``types`` does not name.

    Raises:
        NotFound: a column is missing; offers the one that it may have been renamed to.
        DataRejected: a value does not fit; names the column and the first such rows. Or there are extra columns.
        ConfigError: a type name is not known.
    """
    where = "The table to cast"
    require_choice(misfits, ("error", "null"), "misfits")
    require_choice(extra, ("keep", "drop", "error"), "extra")
    require_columns(table.column_names, types, where)
    others = [name for name in table.column_names if name not in types]
    if others and extra == "error":
        raise DataRejected(
            f"{where} has columns that the schema does not name: {listed(others)}. Add them to it, or pass "
            "extra='drop'.",
            columns=others,
        )
    if extra == "drop":
        table = table.select(list(types))
    nulled = {}
    for name, type_name in types.items():
        wanted = type_named(type_name)
        column = table.column(name)
        if column.type == wanted:
            continue
        done, wrong = _cast_fitting(column, wanted)
        if wrong.any():
            if misfits == "error":
                raise _misfit(where, name, column, type_name, wrong)
            nulled[name] = int(wrong.sum())
        table = set_column(table, name, done)
    return Cast(table, nulled)


def _misfit(where: str, name: str, column: Any, type_name: str, wrong: Any) -> DataRejected:
    rows = np.flatnonzero(wrong)[:5]
    samples = ", ".join(repr(column[int(row)].as_py()) for row in rows)
    return DataRejected(
        f"{where}: column {name!r} holds {column.type} and cannot be read as {type_name} in {rows_named(wrong)}: "
        f"{samples}. Correct them, or pass misfits='null' to have them nulled and counted.",
        column=name,
        rows=rows.tolist(),
    )


def _cast_fitting(column: Any, wanted: pa.DataType) -> tuple[Any, Any]:
    """The column as the wanted type with nulls for misfits, and where these are."""
    try:
        return cast_column(column, wanted), np.zeros(len(column), dtype=bool)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if pa.types.is_nested(column.type):
            return pa.nulls(len(column), wanted), pc.is_valid(column).to_numpy()
        encoded = pc.dictionary_encode(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    values = encoded.dictionary
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.utf8_trim_whitespace(values)  # blanks around a number are no part of it
    hopeful = _hopeful(values, wanted)
    fitting = np.zeros(len(values), dtype=bool)
    places = np.flatnonzero(hopeful)
    _find_fitting(values.take(pa.array(places)), wanted, places, fitting)
    kept = cast_column(pc.if_else(pa.array(fitting), values, pa.scalar(None, values.type)), wanted)
    known = pc.is_valid(encoded.indices).to_numpy(zero_copy_only=False)
    codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    return kept.take(encoded.indices), known & ~fitting[codes] if len(values) else ~known & known


def _hopeful(values: Any, wanted: pa.DataType) -> Any:
    """Which values look as if they fit: rules out most that do not, at the speed of Arrow."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        pattern = (
            _WHOLE if pa.types.is_integer(wanted)
            else _NUMBER if pa.types.is_floating(wanted)
            else _TIME if pa.types.is_timestamp(wanted) or pa.types.is_date(wanted)
            else None
        )  # fmt: skip
        if pattern is not None:
            return pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type) and pa.types.is_integer(wanted):
        numbers = values.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            return np.isfinite(numbers) & (np.trunc(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
    return np.ones(len(values), dtype=bool)


def _find_fitting(values: Any, wanted: pa.DataType, places: Any, fitting: Any) -> None:
    """Mark what can be cast, halving what cannot: a few casts for each misfit instead of one for each value."""
    if not len(values):
        return
    try:
        cast_column(values, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(values) > 1:
            middle = len(values) // 2
            _find_fitting(values.slice(0, middle), wanted, places[:middle], fitting)
            _find_fitting(values.slice(middle), wanted, places[middle:], fitting)
    else:
        fitting[places] = True


@dataclass(frozen=True)
class Renaming:
    """What became of the columns.

    Attributes:
        renamed: New name by old name.
    """

    table: pa.Table
    renamed: dict[str, str]


@stage(cache="30d", timeout="10m")
def rename(
    table: pa.Table, names: Mapping[str, str] | None = None, wanted: Sequence[str] = (), likeness: float = 0.8
) -> Renaming:
    """Rename columns as told, and missing wanted ones by their likeness to columns that nobody asked for.

    Args:
        names: New name by old name.
        wanted: Columns that must be there afterwards; one that is missing takes the closest other column, differences
            of case, blanks, dots and dashes counting nothing.
        likeness: How alike the names must be, from 0 to 1.

    Raises:
        NotFound: a column is missing and none is like it.
        DataRejected: two columns would have one name, or several are equally like a missing one.
    """
    given = dict(names or {})
    require_columns(table.column_names, given, "The table to rename")
    current = [given.get(name, name) for name in table.column_names]
    for name in wanted:
        if name in current:
            continue
        free = {_plain_name(other): other for other in current if other not in wanted}
        close = get_close_matches(_plain_name(name), list(free), n=2, cutoff=likeness)
        if not close:
            require_columns(current, [name], "The table to rename")
        if len(close) > 1 and close[0] != _plain_name(name):
            raise DataRejected(
                f"The table to rename has no column {name!r}, and both {free[close[0]]!r} and {free[close[1]]!r} are "
                "like it; say which with names=….",
                column=name,
            )
        current[current.index(free[close[0]])] = name
    if len(set(current)) < len(current):
        twice = sorted({name for name in current if current.count(name) > 1})
        raise DataRejected(f"After renaming there would be several columns {twice}.", columns=twice)
    changes = {old: new for old, new in zip(table.column_names, current, strict=True) if old != new}
    return Renaming(table.rename_columns(current), changes)


def _plain_name(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " ._-")
