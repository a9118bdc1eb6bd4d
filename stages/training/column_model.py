"""A model whose predictions are a column of the rows: what another has to beat, or what was predicted elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stages.columns import Floats, column_floats, rows_named
from stages.errors import DataRejected
from stages.training.target import Class, Task


@dataclass(frozen=True)
class ColumnModel:
    """Takes predictions from a column: last week's value, a rule of thumb, out-of-fold predictions.

    Attributes:
        column: Numbers: values for a regression, probabilities of ``classes[1]`` (or any score that rises with it).
        target: Column it predicts.
        classes: Values of the target, two of them; empty for a regression.
    """

    column: str
    target: str
    classes: list[Class] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """``binary`` with classes, ``regression`` without."""
        return "binary" if self.classes else "regression"

    def predict(self, table: pa.Table) -> Floats:
        """The column, shape (rows,).

        Raises:
            NotFound: it is missing.
            DataRejected: it is not numeric or has gaps; names the rows.
        """
        values = column_floats(table, self.column, f"The table to predict {self.target!r} for")
        gaps = ~np.isfinite(values)
        if gaps.any():
            raise DataRejected(
                f"Column {self.column!r} is to predict {self.target!r}, and is missing in {rows_named(gaps)}.",
                column=self.column,
            )
        return values
