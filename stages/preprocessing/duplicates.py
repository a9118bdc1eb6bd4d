"""Rows that are there twice: dropped by their keys, or refused with the keys named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from stages.columns import require_choice, require_columns
from stages.errors import DataRejected
from stages.preprocessing.missing import in_order
from stages.rows import Codes, group_codes

Keep = Literal["first", "last", "error"]


@stage(cache="30d", timeout="10m")
def deduplicate(table: pa.Table, keys: Sequence[str] = (), keep: Keep = "first", order: str | None = None) -> pa.Table:
    """Keep one row of each key; the rows left stay in their order.

    Args:
        keys: Columns that say which rows are the same; all columns when not given. Null is a value like any other.
        keep: The ``first`` or ``last`` of the rows of a key, or an ``error`` if there are several.
        order: Column by which to tell first and last; the order of the table when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: a key is there twice and ``keep`` is ``error``, or the order column has gaps.
        ConfigError: ``keep`` is not known.
    """
    require_choice(keep, ("first", "last", "error"), "keep")
    where = "The table to deduplicate"
    names = list(keys) or table.column_names
    require_columns(table.column_names, [*names, *([order] if order else [])], where)
    if not table.num_rows:
        return table
    if keep == "error":
        refuse_duplicates(table, names, where)
        return table
    if order is None:
        sequence, groups = np.arange(table.num_rows), group_codes(table, names, where)
    else:
        sequence, groups = in_order(table, order, names, where)
    if keep == "last":
        sequence, groups = sequence[::-1], groups[::-1]
    _, first = np.unique(groups, return_index=True)
    return table.take(pa.array(np.sort(sequence[first])))


def refuse_duplicates(table: pa.Table, keys: Sequence[str], where: str) -> None:
    """Check that no two rows agree in all keys.

    Raises:
        NotFound: a key column is missing.
        DataRejected: some do; names the first keys, with their rows.
    """
    codes = group_codes(table, keys, where)
    counts = np.bincount(codes) if len(codes) else np.array([], dtype=np.int64)
    repeated = np.flatnonzero(counts > 1)
    if not len(repeated):
        return
    named = "; ".join(_named(table, keys, codes, code) for code in repeated[:3])
    raise DataRejected(
        f"{where} has {len(repeated)} key(s) on several rows: {named}. Keep one of each with deduplicate, "
        "or correct them.",
        columns=list(keys),
        keys=len(repeated),
    )


def _named(table: pa.Table, keys: Sequence[str], codes: Codes, code: Any) -> str:
    rows = np.flatnonzero(codes == code)
    key = table.select(list(keys)).slice(int(rows[0]), 1).to_pylist()[0]
    shown = ", ".join(str(row) for row in rows[:5])
    return f"{key} in rows {shown}{' …' if len(rows) > 5 else ''}"
