"""How two stored values differ: tables by schema, counts and distributions, containers by their parts.

Only what Arrow, NumPy and msgpack wrote is read; a pickle is described and never loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ports.values import CONTAINERS, Cell, Description, Entry, decode_manifest, describe, digest_of

Read = Callable[[Cell], Any]
"""Gives the value of a cell whose codec runs no code."""

_TABLES = frozenset({"arrow", "parquet", "pandas"})
_QUANTILES = (0.25, 0.5, 0.75)
_MOST_CATEGORIES = 1000
"""A column of text with more distinct values is not compared value by value."""


class ColumnProfile(NamedTuple):
    """A column in numbers; ``quantiles`` are those of 25, 50 and 75 %."""

    type: str
    nulls: int
    minimum: Any = None
    maximum: Any = None
    mean: float | None = None
    quantiles: Sequence[float] = ()
    distinct: int | None = None


class ColumnDifference(NamedTuple):
    """A column in both versions; None where one lacks it.

    Attributes:
        distance: Between the distributions, 0 (the same) to 1: Kolmogorov and Smirnov's for numbers, half the sum of
            the differences of frequencies for other values; None if that cannot be said.
    """

    name: str
    before: ColumnProfile | None
    after: ColumnProfile | None
    distance: float | None


class PartDifference(NamedTuple):
    """A part of a container, or the value itself if it has no parts; None where one version lacks it."""

    name: str
    before: Description | None
    after: Description | None


class Difference(NamedTuple):
    """How two values differ; ``rows`` and ``columns`` are of tables, ``metrics`` what their steps reported."""

    equal: bool
    before: Description
    after: Description
    rows: tuple[int, int] | None
    columns: Sequence[ColumnDifference]
    parts: Sequence[PartDifference]
    metrics: Mapping[str, tuple[float | None, float | None]]


def compare(
    values: Any, before: Cell, after: Cell, old_metrics: Mapping[str, float], new_metrics: Mapping[str, float]
) -> Difference:
    """Compare two values.

    Args:
        values: Loads cells (``ports.values.Values``); only of codecs that run no code.
        old_metrics, new_metrics: What the steps that made the values reported.

    Raises:
        ArtifactMissing, ArtifactCorrupt: stored bytes are gone or damaged.
    """

    def read(cell: Cell) -> Any:
        return values.load(cell).value

    equal = digest_of(before) == digest_of(after)
    tables = None if equal else _tables(before, after, read)
    names = dict.fromkeys((*old_metrics, *new_metrics))
    return Difference(
        equal, describe(before), describe(after),
        None if tables is None else (tables[0].num_rows, tables[1].num_rows),
        [] if tables is None else _columns(*tables),
        [] if equal or tables is not None else _parts(before, after, read),
        {name: (old_metrics.get(name), new_metrics.get(name)) for name in names},
    )  # fmt: skip


def _tables(before: Cell, after: Cell, read: Read) -> tuple[pa.Table, pa.Table] | None:
    if not all(isinstance(cell, Entry) and cell.codec in _TABLES for cell in (before, after)):
        return None
    found = [read(cell) for cell in (before, after)]
    one, other = (
        value if isinstance(value, pa.Table) else pa.table(value) if isinstance(value, pa.RecordBatch)
        else pa.Table.from_pandas(value, preserve_index=False) if hasattr(value, "iloc") else None
        for value in found
    )  # fmt: skip
    return None if one is None or other is None else (one, other)


def _columns(before: pa.Table, after: pa.Table) -> list[ColumnDifference]:
    found = []
    for name in dict.fromkeys((*before.column_names, *after.column_names)):
        old = before[name] if before.column_names.count(name) == 1 else None
        new = after[name] if after.column_names.count(name) == 1 else None
        found.append(ColumnDifference(
            name, None if old is None else profile(old), None if new is None else profile(new),
            None if old is None or new is None else distance(old, new),
        ))  # fmt: skip
    return found


def profile(column: pa.ChunkedArray) -> ColumnProfile:
    """A column in numbers; what has no order, such as a list, only by its type and nulls."""
    kind, nulls = column.type, column.null_count
    numbers = _numbers(column)
    if numbers is not None:
        if not len(numbers):
            return ColumnProfile(str(kind), nulls)
        return ColumnProfile(
            str(kind), nulls, float(numbers.min()), float(numbers.max()), float(numbers.mean()),
            [float(value) for value in np.quantile(numbers, _QUANTILES)],
        )  # fmt: skip
    if _is_categorical(kind):
        distinct = pc.count_distinct(column).as_py()
    elif pa.types.is_temporal(kind):
        distinct = None
    else:
        return ColumnProfile(str(kind), nulls)
    ends = pc.min_max(column).as_py() if not pa.types.is_dictionary(kind) else {"min": None, "max": None}
    return ColumnProfile(str(kind), nulls, ends["min"], ends["max"], distinct=distinct)


def distance(before: pa.ChunkedArray, after: pa.ChunkedArray) -> float | None:
    """How far two distributions are apart, 0 to 1; see ``ColumnDifference``."""
    old, new = _numbers(before), _numbers(after)
    if old is not None and new is not None:
        if not len(old) or not len(new):
            return None
        old.sort()
        new.sort()
        places = np.concatenate((old, new))
        below = np.searchsorted(old, places, "right") / len(old) - np.searchsorted(new, places, "right") / len(new)
        return float(np.abs(below).max())
    if not (_is_categorical(before.type) and _is_categorical(after.type)):
        return None
    return _total_variation(_frequencies(before), _frequencies(after))


def _total_variation(before: Mapping[Any, float], after: Mapping[Any, float]) -> float | None:
    if not before or not after or max(len(before), len(after)) > _MOST_CATEGORIES:
        return None
    return sum(abs(before.get(key, 0.0) - after.get(key, 0.0)) for key in before.keys() | after.keys()) / 2


def _numbers(column: pa.ChunkedArray) -> Any:
    """The values of a column of numbers, without nulls, NaN and infinities; None if it is another column."""
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    found = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    return found[np.isfinite(found)]


def _is_categorical(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_categorical(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))


def _frequencies(column: pa.ChunkedArray) -> dict[Any, float]:
    values = column.drop_null()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    counted = pc.value_counts(values)
    return {entry["values"]: entry["counts"] / len(values) for entry in counted.to_pylist()}


def _parts(before: Cell, after: Cell, read: Read) -> list[PartDifference]:
    """Parts that are not the same."""
    old, new = _children(before, read), _children(after, read)
    if old is None or new is None:
        return [PartDifference("", describe(before), describe(after))]
    return [
        PartDifference(name, *(describe(side[name]) if name in side else None for side in (old, new)))
        for name in dict.fromkeys((*old, *new))
        if name not in old or name not in new or digest_of(old[name]) != digest_of(new[name])
    ]


def _children(cell: Cell, read: Read) -> dict[str, Cell] | None:
    """Parts of a container by name; None if it is no container."""
    if not isinstance(cell, Entry):
        return None
    if cell.codec in CONTAINERS and cell.data is not None:
        manifest = decode_manifest(cell.data)
        keys = range(len(manifest.cells)) if manifest.keys is None else manifest.keys
        return {str(key): child for key, child in zip(keys, manifest.cells, strict=True)}
    if cell.codec == "msgpack":
        value = read(cell)
        if isinstance(value, dict) and all(
            isinstance(item, bool | int | float | str | None) for item in value.values()
        ):
            return {str(key): item for key, item in value.items()}
    return None
