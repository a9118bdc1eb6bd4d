"""Tables in outputs, whatever library they are of, as Arrow tables; nothing is imported to find that out."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

MOST_PARTS = 8
"""Tables that are looked for in one output."""


def as_table(value: Any, rows: int | None = None) -> Any:
    """The value as a ``pyarrow.Table``; None if it is no table.

    Args:
        rows: Convert only about as many rows of a frame, evenly spread; an Arrow table stays whole.
    """
    pa = sys.modules.get("pyarrow")
    if pa is not None and isinstance(value, pa.Table):
        return value
    if pa is not None and isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        import pyarrow

        step = 1 if rows is None else max(len(value) // max(rows, 1), 1)
        return pyarrow.Table.from_pandas(value.iloc[::step], preserve_index=False)
    return None


def tables_in(output: Any) -> Iterator[tuple[str, Any]]:
    """Tables of an output by the name of its part: itself under an empty name, or fields, keys and items of it."""
    if is_table(output):
        yield "", output
        return
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        parts = [(field.name, getattr(output, field.name, None)) for field in dataclasses.fields(output)]
    elif type(output) is dict and len(output) <= MOST_PARTS:
        parts = [(str(key), value) for key, value in output.items()]
    elif isinstance(output, tuple | list) and len(output) <= MOST_PARTS:
        parts = [(str(place), value) for place, value in enumerate(output)]
    else:
        return
    yield from [(name, value) for name, value in parts if is_table(value)][:MOST_PARTS]


def is_table(value: Any) -> bool:
    """True for tables of pyarrow and pandas."""
    kind = type(value)
    return kind.__name__ in ("Table", "RecordBatch", "DataFrame") and kind.__module__.partition(".")[0] in (
        "pyarrow",
        "pandas",
    )
