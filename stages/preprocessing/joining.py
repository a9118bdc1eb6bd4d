"""Putting tables together and taking them apart, with a result order that never depends on threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_choice, require_columns
from stages.errors import DataRejected
from stages.rows import group_codes


@dataclass(frozen=True)
class Split:
    """Rows to fit on, and later rows to judge by."""

    train: pa.Table
    test: pa.Table


@stage(cache="30d", timeout="10m")
def join(
    left: pa.Table,
    right: pa.Table,
    on: Sequence[str],
    columns: Sequence[str] | None = None,
    how: Literal["left", "inner"] = "left",
    duplicates: Literal["error", "first", "last", "all"] = "error",
) -> pa.Table:
    """Look up the rows of ``left`` in ``right``: many to one, in the order of ``left``.

    Args:
        on: Key columns, by the same names and types in both.
        columns: What to take over from ``right``; all but the keys when not given.
        how: ``left`` keeps rows without a match (nulls), ``inner`` drops them.
        duplicates: What to do when a key occurs twice in ``right``: refuse, take its first or last row there, or take
            all of them, which multiplies rows of ``left``.

    Raises:
        NotFound: a column is missing.
        DataRejected: a key occurs twice in ``right``, the keys differ in type, or a column would be there twice.
        ConfigError: ``duplicates`` is not known.
    """
    require_choice(duplicates, ("error", "first", "last", "all"), "duplicates")
    taken = [name for name in (columns or right.column_names) if name not in on]
    require_columns(left.column_names, on, "The left table of join")
    require_columns(right.column_names, [*on, *taken], "The right table of join")
    for name in on:
        if pa.types.is_nested(left.schema.field(name).type):
            raise DataRejected(
                f"Key {name!r} is {left.schema.field(name).type}, by which rows cannot be joined.", column=name
            )
        if left.schema.field(name).type != right.schema.field(name).type:
            raise DataRejected(
                f"Key {name!r} is {left.schema.field(name).type} in the left table of join and "
                f"{right.schema.field(name).type} in the right one; cast one of them first.",
                column=name,
            )
    if twice := [name for name in taken if name in left.column_names]:
        raise DataRejected(f"Both tables of join have {twice}; choose with columns=… or drop them from one side.")
    right = _one_row_each(right, on, duplicates)
    order, place = "__row__", "__place__"
    numbered = left.append_column(order, pa.array(np.arange(left.num_rows)))
    found = right.select([*on, *taken]).append_column(place, pa.array(np.arange(right.num_rows)))
    kind = "left outer" if how == "left" else "inner"
    joined = numbered.join(found, keys=list(on), join_type=kind)
    # One chunk a column: how the join cuts its output depends on threads, and equal tables are to have equal digests.
    return (
        joined.sort_by([(order, "ascending"), (place, "ascending")])
        .select([*left.column_names, *taken])
        .combine_chunks()
    )


def _one_row_each(right: pa.Table, on: Sequence[str], duplicates: str) -> pa.Table:
    if duplicates == "all":
        return right
    codes = group_codes(right, on, "The right table of join")
    counts = np.bincount(codes) if len(codes) else np.zeros(1, dtype=np.int64)
    if counts.max() <= 1:
        return right
    if duplicates == "error":
        rows = np.flatnonzero(codes == counts.argmax())
        key = right.select(list(on)).slice(int(rows[0]), 1).to_pylist()[0]
        raise DataRejected(
            f"The right table of join has {counts.max()} rows for {key}; the key must be unique there "
            f"({int((counts > 1).sum())} keys are not, the first rows of this one are {rows[:5].tolist()}). Say which "
            "row to take with duplicates='first' or 'last', or 'all' to multiply rows.",
            columns=list(on),
            rows=rows[:5].tolist(),
        )
    positions = np.arange(len(codes)) if duplicates == "first" else np.arange(len(codes))[::-1]
    kept = positions[np.unique(codes[positions], return_index=True)[1]]
    return right.take(pa.array(np.sort(kept)))


@stage(cache="30d", timeout="10m")
def shift_time(table: pa.Table, column: str, by_s: int) -> pa.Table:
    """Move a timestamp column by a number of seconds.

    Joined on the shifted time, a row sees what was known that long before: a look-up that cannot leak the future.

    Raises:
        NotFound: the column is missing.
        DataRejected: the column holds no timestamps.
    """
    require_columns(table.column_names, [column], "The table given to shift_time")
    kind = table.schema.field(column).type
    if not pa.types.is_timestamp(kind):
        raise DataRejected(f"Column {column!r} holds {kind}; only timestamps can be shifted.", column=column)
    moved = pc.cast(pc.add(table.column(column), pa.scalar(by_s, pa.duration("s"))), kind)
    return table.set_column(table.column_names.index(column), column, moved)


@stage(cache="30d", timeout="10m")
def split_by(table: pa.Table, column: str, values: Sequence[Any]) -> list[pa.Table]:
    """One table for each value of a column, in the order of ``values``: the shards of a fan-out.

    Raises:
        NotFound: the column is missing.
        DataRejected: a value does not occur, or cannot be compared with the column.
    """
    return _parts(table, column, values)


def _parts(table: pa.Table, column: str, values: Sequence[Any]) -> list[pa.Table]:
    require_columns(table.column_names, [column], "The table to split")
    parts = []
    for value in values:
        try:
            part = table.filter(pc.equal(table.column(column), pa.scalar(value)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kind = table.schema.field(column).type
            raise DataRejected(f"Column {column!r} holds {kind}; it cannot equal {value!r}.", column=column) from None
        if part.num_rows == 0:
            raise DataRejected(f"No row has {column} = {value!r}.", column=column, value=value)
        parts.append(part.combine_chunks())
    return parts


@stage(cache="30d", timeout="10m")
def split_time(table: pa.Table, column: str, train: Sequence[Any], test: Sequence[Any]) -> Split:
    """Split by values of a time-like column (months, years, dates): train on some, judge by later ones.

    Raises:
        ConfigError: a test value does not come after every training value.
        NotFound, DataRejected: as ``split_by``.
    """
    if not train or not test or max(train) >= min(test):
        raise ConfigError(f"A temporal split needs test {column}s after all training ones, not {train} then {test}")
    parts = _parts(table, column, [*train, *test])
    return Split(_stack(parts[: len(train)]), _stack(parts[len(train) :]))


@stage(cache="30d", timeout="10m")
def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one schema below each other, in order.

    Raises:
        ConfigError: there is no table.
        DataRejected: the schemas differ.
    """
    if not tables:
        raise ConfigError("concat needs at least one table")
    return _stack(tables)


def _stack(tables: Sequence[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(list(tables)).combine_chunks()
    except pa.ArrowInvalid as error:
        raise DataRejected(f"The tables given to concat do not fit together: {error}") from None
