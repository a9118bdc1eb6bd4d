"""What all fitted transforms share: named columns in, named columns out, one row as it would be inside a batch.

A transform is a frozen dataclass of plain lists and numbers. ``apply`` is used for validation and serving rows,
``training`` for the rows it was fitted on; they differ only where a row's own target could leak into its features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from stages.columns import floats, require_columns, set_numbers

InputKind = Literal["text", "number", "time", "numbers"]
"""What a raw column must hold; ``numbers`` are lists of them."""


@dataclass(frozen=True)
class Transform(ABC):
    """One fitted step.

    Attributes:
        columns: What it reads.
    """

    columns: list[str]

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Columns it reads, and what each must hold; numbers if a subclass does not say otherwise."""
        return dict.fromkeys(self.columns, "number")

    @property
    def makes(self) -> list[str]:
        """Columns it writes; its own ones if a subclass does not say otherwise."""
        return list(self.columns)

    @abstractmethod
    def apply(self, table: pa.Table) -> pa.Table:
        """Transform any rows.

        Raises:
            NotFound: a column is missing.
            DataRejected: a column is of the wrong type.
        """

    def training(self, table: pa.Table) -> pa.Table:
        """Transform the rows it was fitted on."""
        return self.apply(table)

    @property
    def place(self) -> str:
        """What the table is called in messages."""
        return f"The table given to {type(self).__name__}"


@dataclass(frozen=True)
class Numbers(Transform):
    """Numbers as they are, as float64: what trees take without any fitting."""

    def apply(self, table: pa.Table) -> pa.Table:
        """Convert the columns."""
        require_columns(table.column_names, self.columns, self.place)
        for name in self.columns:
            table = set_numbers(table, name, floats(table.column(name), name))
        return table


def fit_numbers(table: pa.Table, columns: Sequence[str]) -> Numbers:
    """Take numeric columns as they are.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric.
    """
    numbers = Numbers(list(columns))
    numbers.apply(table.slice(0, 0))
    return numbers
