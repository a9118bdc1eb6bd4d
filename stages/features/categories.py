"""Text to numbers: one column for each value, ranks, frequencies, hashes. What training did not see has a policy."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import Floats, listed, require_choice, require_columns, set_numbers, texts
from stages.errors import DataRejected
from stages.features.counts import TextCounts, count_texts
from stages.features.encoders import UNSEEN
from stages.transforms import InputKind, Transform

Unseen = Literal["zero", "other", "error"]

UNSEEN_POLICIES: tuple[Unseen, ...] = ("zero", "other", "error")


@dataclass(frozen=True)
class Categorical(Transform):
    """A transform of text columns."""

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text."""
        return dict.fromkeys(self.columns, "text")

    def apply(self, table: pa.Table) -> pa.Table:
        """Add the columns it makes."""
        require_columns(table.column_names, self.columns, self.place)
        for position, name in enumerate(self.columns):
            for made, numbers in self.encoded(position, name, texts(table.column(name), name)).items():
                table = set_numbers(table, made, numbers)
        return table

    @abstractmethod
    def encoded(self, position: int, name: str, values: Any) -> dict[str, Floats]:
        """New columns for the one at a position among ``columns``."""


def _codes(values: Any, known: list[str]) -> Floats:
    """Position of each value among the known ones; ``UNSEEN`` for others and missing ones."""
    found = pc.fill_null(pc.index_in(values, pa.array(known, pa.string()), skip_nulls=True), UNSEEN)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.float64)


def _refuse_unseen(name: str, values: Any, codes: Floats) -> None:
    strange = (codes == UNSEEN) & pc.is_valid(values).to_numpy(zero_copy_only=False)
    if strange.any():
        row = int(np.argmax(strange))
        raise DataRejected(
            f"Column {name!r} holds {values[row].as_py()!r} in row {row}, which training did not see. "
            "Correct it, or fit with unseen='zero' or 'other'.",
            column=name,
            row=row,
        )


@dataclass(frozen=True)
class OneHot(Categorical):
    """One 0/1 column ``column=value`` for each value; a missing value has zeros everywhere.

    Attributes:
        values: By column, sorted.
        unseen: ``zero`` (zeros everywhere), ``other`` (a column ``column=(other)``) or ``error``.
    """

    values: list[list[str]]
    unseen: Unseen

    @property
    def makes(self) -> list[str]:
        """``column=value``."""
        return [
            made for name, values in zip(self.columns, self.values, strict=True) for made in self._names(name, values)
        ]

    def _names(self, name: str, values: list[str]) -> list[str]:
        return [f"{name}={value}" for value in values] + ([f"{name}=(other)"] if self.unseen == "other" else [])

    def encoded(self, position: int, name: str, values: Any) -> dict[str, Floats]:
        """Zeros and ones."""
        known = self.values[position]
        codes = _codes(values, known)
        if self.unseen == "error":
            _refuse_unseen(name, values, codes)
        columns = {f"{name}={value}": (codes == code).astype(np.float64) for code, value in enumerate(known)}
        if self.unseen == "other":
            there = pc.is_valid(values).to_numpy(zero_copy_only=False)
            columns[f"{name}=(other)"] = ((codes == UNSEEN) & there).astype(np.float64)
        return columns


@dataclass(frozen=True)
class Ordinal(Categorical):
    """The position of a value in a given or alphabetical order, as ``column.rank``; -1 if unseen or missing."""

    values: list[list[str]]
    unseen: Unseen

    @property
    def makes(self) -> list[str]:
        """``column.rank``."""
        return [f"{name}.rank" for name in self.columns]

    def encoded(self, position: int, name: str, values: Any) -> dict[str, Floats]:
        """Positions."""
        codes = _codes(values, self.values[position])
        if self.unseen == "error":
            _refuse_unseen(name, values, codes)
        return {f"{name}.rank": codes}


@dataclass(frozen=True)
class Frequency(Categorical):
    """The share of training rows that had the value, as ``column.share``; 0 if unseen or missing."""

    values: list[list[str]]
    shares: list[list[float]]

    @property
    def makes(self) -> list[str]:
        """``column.share``."""
        return [f"{name}.share" for name in self.columns]

    def encoded(self, position: int, name: str, values: Any) -> dict[str, Floats]:
        """Shares."""
        shares = np.array([*self.shares[position], 0.0])  # the last is what UNSEEN, -1, points at
        return {f"{name}.share": shares[_codes(values, self.values[position]).astype(np.int64)]}


@dataclass(frozen=True)
class Hashed(Categorical):
    """Counts by hash bucket, as ``column#0`` …; any value has a bucket without having been seen.

    Attributes:
        buckets: Columns made for each column.
    """

    buckets: int

    @property
    def makes(self) -> list[str]:
        """``column#bucket``."""
        return [f"{name}#{bucket}" for name in self.columns for bucket in range(self.buckets)]

    def encoded(self, position: int, name: str, values: Any) -> dict[str, Floats]:
        """1 in the bucket of the value."""
        distinct = pc.dictionary_encode(values)
        buckets = np.array([bucket_of(value, self.buckets) for value in distinct.dictionary.to_pylist()] + [UNSEEN])
        codes = pc.fill_null(distinct.indices, len(buckets) - 1).to_numpy(zero_copy_only=False)
        return {f"{name}#{bucket}": (buckets[codes] == bucket).astype(np.float64) for bucket in range(self.buckets)}


def bucket_of(value: str, buckets: int) -> int:
    """The bucket of a text: the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little") % buckets


def fit_onehot(
    table: pa.Table, columns: Sequence[str], unseen: Unseen = "zero", min_rows: int = 1, most: int = 100
) -> OneHot:
    """One column for each value of some text columns.

    Args:
        unseen: What becomes of values that training did not see (or saw too rarely): ``zero``, ``other``, ``error``.
        min_rows: Rarer values count as unseen.
        most: Values kept for each column, the most frequent ones.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text or holds no value, or there are no rows.
        ConfigError: the policy is not known.
    """
    return onehot_of(count_texts(table, columns), unseen, min_rows, most)


def onehot_of(counts: TextCounts, unseen: Unseen = "zero", min_rows: int = 1, most: int = 100) -> OneHot:
    """``fit_onehot`` of what was counted."""
    require_choice(unseen, UNSEEN_POLICIES, "The policy for unseen values")
    kept = [[value for value in found if found[value] >= min_rows][:most] for found in counts.by_frequency()]
    return OneHot(counts.columns, [sorted(values) for values in kept], unseen)


def fit_ordinal(
    table: pa.Table,
    columns: Sequence[str],
    order: Mapping[str, Sequence[str]] | None = None,
    unseen: Unseen = "zero",
) -> Ordinal:
    """The rank of each value.

    Args:
        order: Values from lowest to highest, by column; alphabetical for columns that it does not name.
        unseen: ``error``, or -1 for any other policy.

    Raises:
        NotFound, DataRejected, ConfigError: as ``fit_onehot``; or a value is missing from a given order.
    """
    return ordinal_of(count_texts(table, columns), order, unseen)


def ordinal_of(
    counts: TextCounts, order: Mapping[str, Sequence[str]] | None = None, unseen: Unseen = "zero"
) -> Ordinal:
    """``fit_ordinal`` of what was counted."""
    require_choice(unseen, UNSEEN_POLICIES, "The policy for unseen values")
    given = order or {}
    require_columns(counts.columns, given, "The list of columns of fit_ordinal")
    values = []
    for name, found in zip(counts.columns, counts.by_frequency(), strict=True):
        seen = sorted(found)
        wanted = list(given.get(name, seen))
        if lost := [value for value in seen if value not in wanted]:
            raise ConfigError(f"The order given for {name!r} lacks {listed(map(repr, lost))}, which the table holds.")
        values.append(wanted)
    return Ordinal(counts.columns, values, unseen)


def fit_frequency(table: pa.Table, columns: Sequence[str]) -> Frequency:
    """How frequent each value is; raises as ``fit_onehot``."""
    return frequency_of(count_texts(table, columns))


def frequency_of(counts: TextCounts) -> Frequency:
    """``fit_frequency`` of what was counted."""
    found = counts.by_frequency()
    shares = [[count / counts.rows for count in values.values()] for values in found]
    return Frequency(counts.columns, [list(values) for values in found], shares)


def fit_hashed(table: pa.Table, columns: Sequence[str], buckets: int = 16) -> Hashed:
    """Buckets of hashes; nothing is learned, so it fits streams and columns of many values.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text.
        ConfigError: there is no bucket.
    """
    if buckets < 1:
        raise ConfigError(f"Hashing needs at least one bucket, not {buckets}")
    hashed = Hashed(list(columns), buckets)
    hashed.apply(table.slice(0, 0))
    return hashed
