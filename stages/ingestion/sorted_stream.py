"""Batches of a sorted stream cut anew, so that each group is in one of them and can be worked off at once.

A group of a stream may get rows until its end, unless the rows come in order of the key: then it is complete when the
next key appears. The order is the one in which ``scope="groups"`` puts groups, so results come out alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import require_columns
from stages.errors import DataRejected
from stages.rows import Codes, value_codes


def whole_groups(tables: Iterable[pa.Table], by: Sequence[str], where: str = "The stream") -> Iterator[pa.Table]:
    """The same rows in the same order, in batches that hold whole groups; for the bodies of streaming stages.

    Args:
        tables: Rows in ascending order of the key; ``NaN`` after numbers, missing keys last.
        by: Columns of the key.
        where: Beginning of a message.

    Raises:
        NotFound: a key column is missing.
        DataRejected: the rows are not in order; names the first that comes too late.
        ConfigError: there is no key.
    """
    if not by:
        raise ConfigError("whole_groups needs at least one key column")
    held: list[pa.Table] = []  # rows of the group that may go on
    nothing: pa.Table | None = None
    row = 0
    for table in tables:
        require_columns(table.column_names, by, where)
        if not table.num_rows:
            nothing = table
            continue
        last = [held[-1].slice(held[-1].num_rows - 1)] if held else []
        steps = np.diff(_places(_joined([one.select(list(by)) for one in (*last, table)], where), by))
        if (steps < 0).any():
            late = int(np.argmax(steps < 0)) + 1 - len(last)
            key = ", ".join(f"{name} {table.column(name)[late].as_py()!r}" for name in by)
            raise DataRejected(
                f"{where}: row {row + late} ({key}) comes after rows of a later key; sort the rows by {', '.join(by)}, "
                "or leave by= out and let the stage wait for the end of the stream.",
                row=row + late,
            )
        begins = np.flatnonzero(steps) + 1 - len(last)
        cut = int(begins[-1]) if len(begins) else 0
        if len(begins):
            yield _joined([*held, table.slice(0, cut)], where)
            held = []
        held.append(table.slice(cut))
        row += table.num_rows
    if held:
        yield _joined(held, where)
    elif nothing is not None:
        yield nothing


def _joined(tables: Sequence[pa.Table], where: str) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataRejected(f"{where}: its batches do not fit together: {error}") from None


def _places(keys: pa.Table, by: Sequence[str]) -> Codes:
    """A number for each row that orders the keys, by the first column, then the next."""
    codes = np.zeros(keys.num_rows, dtype=np.int64)
    for name in by:
        ranks, count = _ranks(keys.column(name), name)
        codes = np.unique(codes * count + ranks, return_inverse=True)[1].astype(np.int64)
    return codes


def _ranks(column: Any, name: str) -> tuple[Codes, int]:
    if pa.types.is_floating(column.type):
        column = pc.add(pc.cast(column, pa.float64()), 0.0)  # -0.0 is 0.0
    if pa.types.is_nested(column.type):
        raise DataRejected(f"Column {name!r} holds {column.type}; it cannot be a key.", column=name)
    encoded = value_codes(column)
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    places = np.empty(max(len(order), 1), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places[encoded.indices.to_numpy(zero_copy_only=False)], max(len(order), 1)
