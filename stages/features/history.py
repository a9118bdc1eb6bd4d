"""Features of the past: lags, rolling windows and as-of joins; no row sees what comes after it.

These look at other rows, so they belong before a feature plan: a server is sent their results, or keeps the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, column_floats, require_choice, require_columns, rows_named, set_column, set_numbers
from stages.errors import DataRejected
from stages.preprocessing.duplicates import refuse_duplicates
from stages.preprocessing.missing import in_order
from stages.rows import group_codes

Rolling = Literal["mean", "sum", "min", "max", "std", "count"]

ROLLINGS: tuple[Rolling, ...] = ("mean", "sum", "min", "max", "std", "count")


@stage(cache="30d", timeout="10m")
def add_lags(
    table: pa.Table, columns: Sequence[str], order: str, steps: Sequence[int] = (1,), by: Sequence[str] = ()
) -> pa.Table:
    """Add ``column.lag1`` …: the value so many rows earlier in the group, null where there is none.

    Args:
        order: Time-like column; rows of one group must not share a time.
        steps: How many rows back, each 1 or more.
        by: Columns of the group; the whole table is one when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: the order column has gaps, or two rows of a group the same time.
        ConfigError: a step is less than 1, which would look ahead.
    """
    if any(step < 1 for step in steps):
        raise ConfigError(f"A lag looks back 1 row or more, not {list(steps)}: others would look ahead")
    where = "The table given to add_lags"
    sequence, groups = _timeline(table, columns, order, by, where)
    result = table
    for name in columns:
        column = table.column(name).combine_chunks()
        for step in steps:
            earlier = np.full(table.num_rows, -1, dtype=np.int64)
            if step < table.num_rows:
                same = groups[step:] == groups[:-step]
                earlier[sequence[step:][same]] = sequence[:-step][same]
            source = pa.array(earlier, mask=earlier < 0)
            result = set_column(result, f"{name}.lag{step}", column.take(source))
    return result


@stage(cache="30d", timeout="10m")
def add_rolling(
    table: pa.Table,
    columns: Sequence[str],
    order: str,
    rows: int,
    statistics: Sequence[Rolling] = ("mean",),
    by: Sequence[str] = (),
    least: int = 1,
) -> pa.Table:
    """Add ``column.mean7`` …: a statistic of the last rows of the group before this one, without the row itself.

    Args:
        order: Time-like column; rows of one group must not share a time.
        rows: Length of the window.
        by: Columns of the group; the whole table is one when not given.
        least: Fewest known values in a window; null with fewer.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric, the order column has gaps, or two rows of a group the same time.
        ConfigError: the window has no row, or a statistic is not known.
    """
    if rows < 1 or least < 1:
        raise ConfigError(f"A window has at least one row and one value, not {rows=}, {least=}")
    for statistic in statistics:
        require_choice(statistic, ROLLINGS, "A rolling statistic")
    where = "The table given to add_rolling"
    sequence, groups = _timeline(table, columns, order, by, where)
    start = np.searchsorted(groups, groups, side="left")  # groups are in runs of ascending codes
    place = np.arange(len(groups))
    first = np.maximum(start, place - rows)
    result = table
    for name in columns:
        ordered = column_floats(table, name, where)[sequence]
        for statistic in statistics:
            values = np.empty(len(ordered))
            values[sequence] = _rolled(ordered, first, place, rows, statistic, least)
            result = set_numbers(result, f"{name}.{statistic}{rows}", values)
    return result


def _rolled(values: Floats, first: Any, place: Any, rows: int, statistic: str, least: int) -> Floats:
    """Statistic of ``values[first[i]:i]``, windows by the block so that memory stays small."""
    padded = np.concatenate([np.full(rows, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, rows)[: len(values)]
    result = np.empty(len(values))
    block = max(1, 4_000_000 // rows)
    for begin in range(0, len(values), block):
        part = slice(begin, begin + block)
        window = windows[part]
        inside = np.arange(rows)[None, :] >= (rows - (place - first)[part])[:, None]
        known = inside & ~np.isnan(window)
        counts = known.sum(axis=1)
        result[part] = np.where(counts >= least, _statistic(window, known, counts, statistic), np.nan)
    return result


def _statistic(window: Floats, known: Any, counts: Any, statistic: str) -> Any:
    if statistic == "count":
        return counts.astype(np.float64)
    if statistic in ("min", "max"):
        empty = np.inf if statistic == "min" else -np.inf
        return getattr(np.where(known, window, empty), statistic)(axis=1)
    sums = np.where(known, window, 0.0).sum(axis=1)
    if statistic == "sum":
        return sums
    means = sums / np.maximum(counts, 1)
    if statistic == "mean":
        return means
    return np.sqrt(np.where(known, (window - means[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(counts, 1))


def _timeline(table: pa.Table, columns: Sequence[str], order: str, by: Sequence[str], where: str) -> tuple[Any, Any]:
    require_columns(table.column_names, [*columns, order, *by], where)
    refuse_duplicates(table, [*by, order], where)
    return in_order(table, order, by, where)


@stage(cache="30d", timeout="10m")
def join_asof(
    left: pa.Table,
    right: pa.Table,
    on: str,
    by: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    tolerance_s: float | None = None,
    strict: bool = False,
    duplicates: Literal["error", "last"] = "error",
) -> pa.Table:
    """Take over from ``right`` the latest row that is not later, for each row of ``left``; nulls where there is none.

    Args:
        on: Time column, a timestamp, date or number of the same type in both.
        by: Key columns that must be equal, of the same types in both.
        columns: What to take over; all but ``on`` and ``by`` when not given.
        tolerance_s: Oldest row that still counts, in seconds (in units of ``on`` for numbers).
        strict: Only rows that are earlier, not those of the same time.
        duplicates: Whether two rows of ``right`` with the same key and time are an error, or the last of them counts.

    Raises:
        NotFound: a column is missing.
        DataRejected: the types differ, a time is missing, a key and time occur twice, or a column would be there twice.
        ConfigError: ``duplicates`` is not known.
    """
    require_choice(duplicates, ("error", "last"), "duplicates")
    taken = [name for name in (columns or right.column_names) if name not in (on, *by)]
    require_columns(left.column_names, [on, *by], "The left table of join_asof")
    require_columns(right.column_names, [on, *by, *taken], "The right table of join_asof")
    for name in (on, *by):
        if (one := left.schema.field(name).type) != (other := right.schema.field(name).type):
            raise DataRejected(
                f"{name!r} is {one} in the left table of join_asof and {other} in the right one.", column=name
            )
    if twice := [name for name in taken if name in left.column_names]:
        raise DataRejected(f"Both tables of join_asof have {twice}; choose with columns=….", columns=twice)
    if duplicates == "error" and right.num_rows:
        refuse_duplicates(right, [*by, on], "The right table of join_asof")
    times, known_times = _times(left, on, "left"), _times(right, on, "right")
    keys = pa.concat_tables([left.select(list(by)), right.select(list(by))]) if by else left.select([])
    codes = group_codes(keys, by, "join_asof") if by else np.zeros(left.num_rows + right.num_rows, dtype=np.int64)
    found = _latest(codes[: left.num_rows], times, codes[left.num_rows :], known_times, strict)
    if tolerance_s is not None and right.num_rows:
        unit = _per_second(left.schema.field(on).type)
        old = (found >= 0) & (times - known_times[np.maximum(found, 0)] > tolerance_s * unit)
        found = np.where(old, -1, found)
    source = pa.array(found, mask=found < 0)
    for name in taken:
        left = left.append_column(name, right.column(name).combine_chunks().take(source))
    return left


def _latest(groups: Any, times: Any, known_groups: Any, known_times: Any, strict: bool) -> Any:
    """For each row the position of the latest known one of its group that is not later; -1 where there is none."""
    rank = np.unique(np.concatenate([times, known_times]), return_inverse=True)[1]
    width = np.int64(rank.max(initial=0) + 1)
    known = known_groups * width + rank[len(times) :]
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], groups * width + rank[: len(times)], side="left" if strict else "right") - 1
    if not len(order):
        return np.full(len(times), -1, dtype=np.int64)
    candidate = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (known_groups[candidate] == groups), candidate, -1)


def _times(table: pa.Table, on: str, side: str) -> Any:
    column = table.column(on)
    gaps = pc.is_null(column, nan_is_null=True).to_numpy()
    if gaps.any():
        raise DataRejected(f"The {side} table of join_asof: {on!r} is missing in {rows_named(gaps)}.", column=on)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        return pc.cast(column, pa.int64()).to_numpy()
    if pa.types.is_date32(kind):
        return pc.cast(column, pa.int32()).to_numpy().astype(np.int64)
    return column_floats(table, on, f"The {side} table of join_asof")


def _per_second(kind: pa.DataType) -> float:
    if pa.types.is_timestamp(kind):
        return {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
    return 1 / 86_400 if pa.types.is_date32(kind) else 1e3 if pa.types.is_date64(kind) else 1.0
