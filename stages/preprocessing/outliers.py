"""Outliers: bounds learned from training rows, and what becomes of values beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import floats, learnable, require_choice, require_columns, require_rows, set_numbers
from stages.transforms import Transform

Bounding = Literal["iqr", "zscore", "quantile"]

BOUNDINGS: tuple[Bounding, ...] = ("iqr", "zscore", "quantile")

_WIDTHS = {"iqr": 1.5, "zscore": 3.0, "quantile": 0.01}


@dataclass(frozen=True)
class Bounds(Transform):
    """Clips values to learned bounds, or makes those beyond them null.

    Attributes:
        lows, highs: By column, both still inside.
        nullify: Null instead of the bound.
    """

    lows: list[float]
    highs: list[float]
    nullify: bool

    def apply(self, table: pa.Table) -> pa.Table:
        """Clip the columns in place; infinite values are beyond any bound, missing ones stay missing."""
        require_columns(table.column_names, self.columns, self.place)
        for name, low, high in zip(self.columns, self.lows, self.highs, strict=True):
            values = floats(table.column(name), name)
            inside = np.clip(values, low, high)
            table = set_numbers(table, name, np.where(inside == values, values, np.nan) if self.nullify else inside)
        return table


def fit_bounds(
    table: pa.Table,
    columns: Sequence[str],
    method: Bounding = "iqr",
    width: float | None = None,
    nullify: bool = False,
) -> Bounds:
    """Learn bounds.

    Args:
        method: ``iqr`` (``width`` interquartile ranges beyond the quartiles), ``zscore`` (``width`` standard deviations
            from the mean), ``quantile`` (a share ``width`` of the rows cut off on either side).
        width: 1.5, 3 and 0.01 when not given.
        nullify: Make values beyond the bounds null instead of clipping them.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric, holds no value or an infinite one, or there are no rows.
        ConfigError: the method is not known, or the width makes no sense for it.
    """
    require_choice(method, BOUNDINGS, "The method of finding outliers")
    wide = _WIDTHS[method] if width is None else width
    if wide < 0 or (method == "quantile" and wide >= 0.5):
        raise ConfigError(f"The width of {method} cannot be {wide:g}")
    require_rows(table, "The table given to fit_bounds")
    pairs = [_bounds(table, name, method, wide) for name in columns]
    return Bounds(list(columns), [low for low, _ in pairs], [high for _, high in pairs], nullify)


def _bounds(table: pa.Table, name: str, method: Bounding, width: float) -> tuple[float, float]:
    values = learnable(table, name, "The table given to fit_bounds")
    present = values[~np.isnan(values)]
    if method == "zscore":
        middle, reach = present.mean(), width * present.std()
        return float(middle - reach), float(middle + reach)
    if method == "quantile":
        low, high = np.quantile(present, [width, 1 - width])
        return float(low), float(high)
    low, high = np.quantile(present, [0.25, 0.75])
    return float(low - width * (high - low)), float(high + width * (high - low))


@stage(cache="30d", timeout="10m")
def drop_outliers(table: pa.Table, bounds: Bounds) -> pa.Table:
    """Leave out rows with a value beyond the bounds; a missing value is not beyond them.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric.
    """
    require_columns(table.column_names, bounds.columns, "The table given to drop_outliers")
    beyond = []
    for name, low, high in zip(bounds.columns, bounds.lows, bounds.highs, strict=True):
        values = floats(table.column(name), name)
        beyond.append((values < low) | (values > high))
    return table.filter(pa.array(~reduce(np.logical_or, beyond))) if beyond else table
