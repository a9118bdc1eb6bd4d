"""Training and test rows apart: by time, by group, by stratum, or at random; the same seed gives the same split."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_columns, require_rows, rows_named
from stages.errors import DataRejected
from stages.preprocessing.joining import Split
from stages.rows import group_codes


@stage(cache="30d", timeout="10m")
def split_at(
    table: pa.Table, column: str, at: datetime | date | float | str | None = None, share: float = 0.2
) -> Split:
    """Split by time: rows before a moment to train on, those from it on to judge by. Equal times stay on one side.

    Args:
        column: Timestamp, date or number that orders the rows.
        at: First moment of the test rows, ISO text or a value; found from ``share`` when not given.
        share: About how many of the rows are test rows.

    Raises:
        NotFound: the column is missing.
        DataRejected: the column has gaps, the moment does not fit it, or one side would be empty.
        ConfigError: the share is not between 0 and 1.
    """
    where = "The table to split"
    require_columns(table.column_names, [column], where)
    _check(table, share, where)
    times = table.column(column)
    gaps = pc.is_null(times, nan_is_null=True).to_numpy()
    if gaps.any():
        raise DataRejected(f"{where}: {column!r} is missing in {rows_named(gaps)}; drop or fill them.", column=column)
    try:
        if at is None:
            place = min(max(round(table.num_rows * (1 - share)), 0), table.num_rows - 1)
            moment = times.take(pc.sort_indices(times))[place]
        else:
            moment = pc.cast(pa.scalar(at), times.type)
        later = pc.greater_equal(times, moment)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise DataRejected(
            f"Column {column!r} holds {times.type}; it cannot be split at {at!r}.", column=column
        ) from None
    return _apart(table, later.to_numpy(), f"at {moment.as_py()} of {column!r}")


@stage(cache="30d", timeout="10m")
def split_groups(table: pa.Table, by: Sequence[str], share: float = 0.2, seed: int = 0) -> Split:
    """Split so that no group has rows on both sides; whole groups are drawn until the share is reached.

    Args:
        by: Columns of the group: the customer, the patient, the day.
        share: About how many of the rows are test rows.

    Raises:
        NotFound: a column is missing.
        DataRejected: there is only one group, or one side would be empty.
        ConfigError: the share is not between 0 and 1, or there is no column.
    """
    where = "The table to split"
    if not by:
        raise ConfigError("split_groups needs at least one column")
    _check(table, share, where)
    codes = group_codes(table, by, where)
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise DataRejected(f"{where} has a single group in {list(by)}; there is nothing to split.", columns=list(by))
    order = np.random.default_rng(seed).permutation(len(sizes))
    reached = np.cumsum(sizes[order])
    count = min(int(np.searchsorted(reached, share * table.num_rows)) + 1, len(sizes) - 1)
    return _apart(table, np.isin(codes, order[:count]), f"by {list(by)}")


@stage(cache="30d", timeout="10m")
def split_stratified(table: pa.Table, by: Sequence[str], share: float = 0.2, seed: int = 0) -> Split:
    """Split at random with the same share of each stratum on the test side, to the nearest row.

    Args:
        by: Columns of the stratum, such as the target; none splits all rows at random.
        share: Share of the rows that are test rows.

    Raises:
        NotFound: a column is missing.
        DataRejected: a stratum has a single row, or one side would be empty.
        ConfigError: the share is not between 0 and 1.
    """
    where = "The table to split"
    _check(table, share, where)
    codes = group_codes(table, by, where)
    sizes = np.bincount(codes)
    if by and (lonely := np.flatnonzero(sizes == 1)).size:
        row = int(np.flatnonzero(codes == lonely[0])[0])
        key = table.select(list(by)).slice(row, 1).to_pylist()[0]
        raise DataRejected(
            f"{where}: {len(lonely)} strata have a single row, such as {key} in row {row}; merge or drop them.", row=row
        )
    shuffled = np.random.default_rng(seed).permutation(table.num_rows)
    ranked = shuffled[np.argsort(codes[shuffled], kind="stable")]
    place = np.arange(table.num_rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.clip(np.round(sizes * share), 1, np.maximum(sizes - 1, 1))
    test = np.zeros(table.num_rows, dtype=bool)
    test[ranked[place < np.repeat(wanted, sizes)]] = True
    return _apart(table, test, f"by {list(by)}")


def _check(table: pa.Table, share: float, where: str) -> None:
    if not 0 < share < 1:
        raise ConfigError(f"The share of test rows lies between 0 and 1, not {share!r}")
    require_rows(table, where)


def _apart(table: pa.Table, test: np.ndarray[tuple[int], np.dtype[np.bool_]], how: str) -> Split:
    if test.all() or not test.any():
        side = "training" if test.all() else "test"
        raise DataRejected(f"Split {how}, {table.num_rows} rows leave no {side} row.")
    mask = pa.array(test)
    return Split(table.filter(pc.invert(mask)).combine_chunks(), table.filter(mask).combine_chunks())
