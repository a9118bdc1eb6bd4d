"""Columns of vectors, such as pixels and embeddings, as number columns that a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import is_numeric, require_columns, require_rows, rows_named, set_numbers
from stages.errors import DataRejected
from stages.transforms import InputKind, Transform


@dataclass(frozen=True)
class Vector(Transform):
    """The numbers of one column of lists, each multiplied by ``factor``; those of a missing list are missing.

    Attributes:
        width: Numbers of every list.
    """

    width: int
    factor: float

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Lists of numbers."""
        return dict.fromkeys(self.columns, "numbers")

    @property
    def makes(self) -> list[str]:
        """``column~0``, ``column~1``, …"""
        return [f"{self.columns[0]}~{place}" for place in range(self.width)]

    def apply(self, table: pa.Table) -> pa.Table:
        """Add one column for each place of the lists."""
        (name,) = self.columns
        require_columns(table.column_names, [name], self.place)
        lists = numbers_of(table.column(name), name)
        known = pc.is_valid(lists).to_numpy(zero_copy_only=False)
        wrong = pc.fill_null(pc.list_value_length(lists), self.width).to_numpy(zero_copy_only=False) != self.width
        if wrong.any():
            raise DataRejected(
                f"{self.place}: column {name!r} holds lists of other than {self.width} numbers in {rows_named(wrong)}.",
                column=name,
                rows=np.flatnonzero(wrong)[:5].tolist(),
            )
        numbers = np.full((len(lists), self.width), np.nan)
        numbers[known] = pc.cast(lists.flatten(), pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, self.width)
        for position, made in enumerate(self.makes):
            table = set_numbers(table, made, numbers[:, position] * self.factor)
        return table


def numbers_of(column: Any, name: str) -> Any:
    """A column of lists of numbers in one piece.

    Raises:
        DataRejected: it holds something else.
    """
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not is_numeric(kind.value_type):
        raise DataRejected(f"Column {name!r} holds {kind}; lists of numbers are needed here.", column=name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def fit_vector(table: pa.Table, column: str, factor: float = 1.0) -> Vector:
    """Take the numbers of a column of lists as columns; learns how many there are.

    Args:
        factor: Multiplies each number: 1/255 brings pixels to 0 … 1.

    Raises:
        NotFound: the column is missing.
        DataRejected: it holds no lists of numbers, of different lengths, or none at all.
    """
    require_columns(table.column_names, [column], "The table of fit_vector")
    require_rows(table, "The table of fit_vector")
    lengths = pc.drop_null(pc.list_value_length(numbers_of(table.column(column), column)))
    if not len(lengths):
        raise DataRejected(f"Column {column!r} holds no list to learn from in {table.num_rows} rows.", column=column)
    vector = Vector([column], int(lengths[0].as_py()), float(factor))
    vector.apply(table.select([column]))
    return vector
