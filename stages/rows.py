"""Rows of a table as numbers: a hash of each, a digest of all, and the group each belongs to.

Hashes depend on the values alone, not on chunks, slices or how the table came about, so rows of two tables can be
compared and a record can say on which rows it was taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import require_columns

Hashes = npt.NDArray[np.uint64]
"""One 64-bit hash for each row."""

Codes = npt.NDArray[np.int64]
"""One number for each row; rows with the same number belong together."""

_MISSING = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(table: pa.Table, columns: Sequence[str] | None = None) -> Hashes:
    """A hash of each row over some columns (all when not given): shape (rows,).

    Whole numbers equal each other whatever their type; null and NaN are one value.

    Raises:
        NotFound: a column is missing.
    """
    names = list(table.column_names if columns is None else columns)
    require_columns(table.column_names, names, "The table to hash")
    result = np.zeros(table.num_rows, dtype=np.uint64)
    for name in names:
        result = _mixed(result * np.uint64(31) + _column_hashes(table.column(name)))
    return result


def rows_digest(table: pa.Table) -> str:
    """Which rows these are, in their order: 32 hexadecimal characters; equal tables have equal digests."""
    digest = hashlib.blake2b("\0".join(table.column_names).encode(), digest_size=16)
    digest.update(row_hashes(table).tobytes())
    return digest.hexdigest()


def group_codes(table: pa.Table, keys: Sequence[str], where: str) -> Codes:
    """The group of each row, numbered by first appearance; null is a value like any other.

    Raises:
        NotFound: a key column is missing.
    """
    require_columns(table.column_names, keys, where)
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in keys:
        encoded = value_codes(table.column(name))
        own = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        codes = _by_appearance(codes * (len(encoded.dictionary) + 1) + own)
    return codes


def value_codes(column: Any) -> Any:
    """A column as an Arrow dictionary array in which null is a value like any other; nested values as text."""
    return pc.dictionary_encode(_flat(column), null_encoding="encode")


def _by_appearance(codes: Codes) -> Codes:
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first, kind="stable")] = np.arange(len(first))
    return order[inverse]


def _flat(column: Any) -> Any:
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        return pc.cast(flat, flat.type.value_type)
    if pa.types.is_nested(flat.type):
        return pa.array([None if value is None else repr(value) for value in flat.to_pylist()], pa.string())
    return flat


def _column_hashes(column: Any) -> Hashes:
    flat = _flat(column)
    kind = flat.type
    if pa.types.is_floating(kind):
        values = pc.cast(flat, pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
        whole = (np.trunc(values) == values) & (np.abs(values) < 2.0**53)
        bits = np.where(whole, np.where(whole, values, 0.0).astype(np.int64).view(np.uint64), values.view(np.uint64))
        return np.where(np.isnan(values), _MISSING, _mixed(bits))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _whole(pc.cast(flat, pa.int64(), safe=False))
    if pa.types.is_temporal(kind):
        return _whole(pc.cast(flat, pa.int32() if kind.bit_width == 32 else pa.int64()))
    encoded = pc.dictionary_encode(_as_text(flat), null_encoding="encode")
    hashes = np.array([_text_hash(value) for value in encoded.dictionary.to_pylist()], dtype=np.uint64)
    return hashes[encoded.indices.to_numpy(zero_copy_only=False)] if len(hashes) else np.empty(0, dtype=np.uint64)


def _as_text(flat: Any) -> Any:
    kind = flat.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return flat
    return pa.array([None if value is None else repr(value) for value in flat.to_pylist()], pa.string())


def _text_hash(value: str | bytes | None) -> int:
    if value is None:
        return int(_MISSING)
    data = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _whole(numbers: Any) -> Hashes:
    values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    missing = pc.is_null(numbers).to_numpy(zero_copy_only=False)
    return np.where(missing, _MISSING, _mixed(values))


def _mixed(values: Hashes) -> Hashes:
    """Every bit of the input decides about every bit of the result (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
