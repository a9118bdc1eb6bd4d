"""Descriptions of the tables that steps make, for next to nothing: at most a twentieth of the body's time.

Rows and nulls are counted exactly; the rest (distinct values, range, mean, quantiles, most frequent values) comes from
evenly spread blocks of rows, as many as the time allows. Each column is looked at once: numbers are sorted, anything
else is counted by value. A profile is plain data, so that it is read back without running any code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from orchestrator.backends.bundles.tables import as_table, tables_in

SHARE = 0.05
"""Of the time of the bodies, at most."""

FIRST_US = 2_000
"""What the first profile of a bundle may cost in any case, so that small tables have one too."""

SAMPLE_ROWS = 20_000
TOP = 5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_COLUMNS = 200
TEXT_CHARS = 60

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""Types of outputs that hold no table: all that the path of light steps looks at."""

_TABLE_US, _COLUMN_US, _VALUE_US = 150, 80, 0.03
"""What a profile is expected to cost; what it did cost is charged."""


class Profiler:
    """Profiles the outputs of a bundle's steps within its share of their time.

    Args:
        clock_ns: Counts nanoseconds.
    """

    def __init__(self, clock_ns: Callable[[], int] = perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._spare_us = float(FIRST_US)
        self._earned = False

    def profile(self, output: object, elapsed_us: int) -> dict[str, Any] | None:
        """Profiles by part (an empty name for the output itself); None if there is no table or no time for it.

        Args:
            elapsed_us: What the body took.
        """
        earned = SHARE * elapsed_us
        self._spare_us = self._spare_us + earned if self._earned else max(self._spare_us, earned)
        self._earned = True
        parts = list(tables_in(output))
        found: dict[str, Any] = {}
        for name, value in parts:
            rows = self._affordable(value, len(parts))
            if rows:
                started = self._clock_ns()
                found[name] = _profile(value, rows)
                self._spare_us -= (self._clock_ns() - started) / 1000
        return found or None

    def _affordable(self, table: Any, parts: int) -> int:
        """How many rows to look at."""
        columns = min(max(table.shape[1], 1), MOST_COLUMNS)
        left_us = self._spare_us / parts - _TABLE_US - columns * _COLUMN_US
        rows = left_us / (columns * _VALUE_US)
        return min(SAMPLE_ROWS, int(rows)) if rows >= min(100, table.shape[0]) else 0


def _profile(value: Any, rows: int) -> dict[str, Any]:
    """A profile, or why there is none: a table that cannot be described is no reason to lose it."""
    try:
        return table_profile(value, rows)
    except Exception as error:  # frames hold anything, and their libraries raise anything
        return {"rows": value.shape[0], "problem": f"{type(error).__name__}: {error}"[:500]}


def table_profile(value: Any, most_rows: int = SAMPLE_ROWS) -> dict[str, Any]:
    """One table as plain data: ``rows``, ``sampled`` rows, and ``columns`` in order."""
    table = as_table(value, most_rows)
    sample = _sample(table, most_rows)
    names = table.column_names[:MOST_COLUMNS]
    columns = [
        {
            "name": name,
            "type": str(table.schema.field(place).type),
            "nulls": table.column(place).null_count,
            **_column(sample.column(place)),
        }
        for place, name in enumerate(names)
    ]
    return {"rows": value.shape[0], "sampled": sample.num_rows, "columns": columns}


def _sample(table: Any, most: int) -> Any:
    import pyarrow as pa

    if table.num_rows <= most:
        return table
    blocks = min(50, most)
    width, stride = most // blocks, table.num_rows / blocks
    return pa.concat_tables([table.slice(int(block * stride), width) for block in range(blocks)])


def _column(column: Any) -> dict[str, Any]:
    import pyarrow as pa

    kind = column.type
    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind) or (types.is_temporal(kind) and not types.is_interval(kind)):
        return _numbers(column)
    if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return _values(column)
    return {}


def _numbers(column: Any) -> dict[str, Any]:
    """Distinct values, range, mean and quantiles by one sort; times as ISO text."""
    import numpy as np
    import pyarrow as pa

    kind, present = column.type, column.drop_null() if column.null_count else column
    temporal = pa.types.is_temporal(kind)
    if temporal:
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        present = present.cast(width)
    values = np.sort(present.to_numpy())
    nans = 0
    if values.dtype.kind == "f":
        values = values[: np.searchsorted(values, np.nan)]
        nans = len(present) - len(values)
    found: dict[str, Any] = {"nans": nans} if nans else {}
    if not len(values):
        return {**found, "distinct": 0}

    def shown(value: Any) -> Any:
        if temporal:
            return _text(pa.scalar(int(value), width).cast(kind))
        plain = value.item()
        return plain if isinstance(plain, int) or math.isfinite(plain) else repr(plain)

    found["distinct"] = int(np.count_nonzero(values[1:] != values[:-1])) + 1
    found["min"], found["max"] = shown(values[0]), shown(values[-1])
    if not temporal:
        with np.errstate(all="ignore"):
            found["mean"] = shown(np.mean(values, dtype=np.float64))
    places = [round(share * (len(values) - 1)) for share in QUANTILES]
    found["quantiles"] = [shown(values[place]) for place in places]
    return found


def _values(column: Any) -> dict[str, Any]:
    """Distinct values and the most frequent ones with their counts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    counted = pc.value_counts(column.drop_null() if column.null_count else column)
    counts = counted.field("counts")
    order = pc.select_k_unstable(counts, min(TOP, len(counts)), sort_keys=[("", "descending")])
    top = counted.take(order).to_pylist()
    shown = [(_shortened(entry["values"]), entry["counts"]) for entry in top]
    return {"distinct": len(counts), "top": [list(pair) for pair in sorted(shown, key=lambda it: (-it[1], str(it[0])))]}


def _text(scalar: Any) -> str:
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):  # beyond what datetime can hold
        return str(scalar)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _shortened(value: Any) -> Any:
    return value[:TEXT_CHARS] + "…" if isinstance(value, str) and len(value) > TEXT_CHARS else value
