"""Scaling numbers, fitted on one table or on its parts.

``partial_scale`` looks at a batch, ``merge_scale`` adds what several saw, ``finish_scale`` makes the fitted ``Scale``:
the same whatever the batches were. States stay small: moments, extremes, and for ``robust`` a histogram whose bins
are 2⁻¹⁶ of a value wide, so medians and quartiles are right to a relative 2⁻¹⁷ and whole numbers up to 65,536 exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from stages.columns import (
    Floats,
    column_floats,
    floats,
    require_choice,
    require_columns,
    require_rows,
    rows_named,
    set_numbers,
)
from stages.errors import DataRejected
from stages.transforms import Transform

Scaling = Literal["standard", "minmax", "robust"]

SCALINGS: tuple[Scaling, ...] = ("standard", "minmax", "robust")

MANTISSA_BITS = 17
"""Bits of a value that the histogram of ``robust`` keeps, the leading one included."""


@dataclass(frozen=True)
class Scale(Transform):
    """``(value - center) / scale`` for each column; a missing value stays missing.

    Attributes:
        centers, scales: By column; a scale is never 0.
    """

    centers: list[float]
    scales: list[float]

    def apply(self, table: pa.Table) -> pa.Table:
        """Scale the columns in place."""
        require_columns(table.column_names, self.columns, self.place)
        for name, center, scale in zip(self.columns, self.centers, self.scales, strict=True):
            table = set_numbers(table, name, (floats(table.column(name), name) - center) / scale)
        return table

    def inverse(self, table: pa.Table) -> pa.Table:
        """Undo ``apply``, up to rounding."""
        require_columns(table.column_names, self.columns, self.place)
        for name, center, scale in zip(self.columns, self.centers, self.scales, strict=True):
            table = set_numbers(table, name, floats(table.column(name), name) * scale + center)
        return table


@dataclass(frozen=True)
class Moments:
    """What one column showed so far.

    Attributes:
        squares: Sum of squared distances from the mean.
        low, high: None if there was no value.
        values, counts: The histogram, ascending; empty unless ``robust`` needs it.
    """

    count: int
    mean: float
    squares: float
    low: float | None
    high: float | None
    values: list[float]
    counts: list[int]


@dataclass(frozen=True)
class ScaleState:
    """Half-way to a ``Scale``: what was seen of each column; plain data that travels and merges."""

    method: Scaling
    columns: list[str]
    moments: list[Moments]


def partial_scale(table: pa.Table, columns: Sequence[str], method: Scaling = "standard") -> ScaleState:
    """Look at one batch; an empty one or one without values is fine.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric, or a value infinite; names the column and the first such rows.
        ConfigError: the method is not known.
    """
    require_choice(method, SCALINGS, "The method of scaling")
    seen = [_moments(column_floats(table, name, "The table to scale"), name, method) for name in columns]
    return ScaleState(method, list(columns), seen)


def merge_scale(states: Sequence[ScaleState]) -> ScaleState:
    """Add up what several batches showed; the order changes nothing but the last digits of means.

    Raises:
        DataRejected: there is none, or they are of different columns or methods.
    """
    if not states or len({(state.method, *state.columns) for state in states}) > 1:
        raise DataRejected("Only states of the same columns and method can be merged, and at least one is needed.")
    merged = [reduce(_merged, seen) for seen in zip(*(state.moments for state in states), strict=True)]
    return ScaleState(states[0].method, states[0].columns, merged)


def finish_scale(state: ScaleState) -> Scale:
    """The fitted scaling.

    Raises:
        DataRejected: a column had no value at all.
    """
    pairs = [_finished(name, seen, state.method) for name, seen in zip(state.columns, state.moments, strict=True)]
    return Scale(state.columns, [center for center, _ in pairs], [scale for _, scale in pairs])


def fit_scale(table: pa.Table, columns: Sequence[str], method: Scaling = "standard") -> Scale:
    """Fit on one table.

    Args:
        method: ``standard`` (mean and standard deviation), ``minmax`` (to 0…1) or ``robust`` (median and quartiles).

    Raises:
        NotFound, DataRejected, ConfigError: as ``partial_scale`` and ``finish_scale``, or there are no rows.
    """
    require_rows(table, "The table to scale")
    return finish_scale(partial_scale(table, columns, method))


def _merged_scale(states: list[ScaleState]) -> Scale:
    return finish_scale(merge_scale(states))


@stage(scope="rows", merge=_merged_scale, cache="30d", timeout="1h")
def learn_scale(table: pa.Table, columns: Sequence[str], method: Scaling = "standard") -> ScaleState:
    """Fit a ``Scale`` on a table, a stream or a list of tables, part by part.

    Args:
        method: As ``fit_scale``.

    Raises:
        NotFound, DataRejected, ConfigError: as ``partial_scale`` and ``finish_scale``.
    """
    return partial_scale(table, columns, method)


def _moments(values: Floats, name: str, method: Scaling) -> Moments:
    infinite = np.isinf(values)
    if infinite.any():
        raise DataRejected(
            f"Column {name!r} is infinite in {rows_named(infinite)} and cannot be scaled; null or clip these.",
            column=name,
            rows=np.flatnonzero(infinite)[:5].tolist(),
        )
    present = values[~np.isnan(values)]
    if not present.size:
        return Moments(0, 0.0, 0.0, None, None, [], [])
    mean = float(present.mean())
    kept, counts = np.unique(_rounded(present), return_counts=True) if method == "robust" else (np.array([]),) * 2
    return Moments(
        count=len(present),
        mean=mean,
        squares=float(((present - mean) ** 2).sum()),
        low=float(present.min()),
        high=float(present.max()),
        values=kept.tolist(),
        counts=counts.astype(np.int64).tolist(),
    )


def _rounded(values: Floats) -> Floats:
    fraction, exponent = np.frexp(values)
    rounded: Floats = np.ldexp(np.round(np.ldexp(fraction, MANTISSA_BITS)), exponent - MANTISSA_BITS)
    return rounded


def _merged(one: Moments, other: Moments) -> Moments:
    if not one.count or not other.count:
        return one if one.count else other
    count = one.count + other.count
    apart = other.mean - one.mean
    values, position = np.unique(np.array(one.values + other.values), return_inverse=True)
    counts = np.bincount(position, weights=np.array(one.counts + other.counts), minlength=len(values))
    return Moments(
        count=count,
        mean=one.mean + apart * other.count / count,
        squares=one.squares + other.squares + apart**2 * one.count * other.count / count,
        low=min(low for low in (one.low, other.low) if low is not None),
        high=max(high for high in (one.high, other.high) if high is not None),
        values=values.tolist(),
        counts=counts.astype(np.int64).tolist(),
    )


def _finished(name: str, seen: Moments, method: Scaling) -> tuple[float, float]:
    if seen.low is None or seen.high is None:
        raise DataRejected(f"Column {name!r} holds no value to learn a scale from; leave it out.", column=name)
    if method == "minmax":
        return seen.low, (seen.high - seen.low) or 1.0
    if method == "robust":
        low, middle, high = (_quantile(seen, share) for share in (0.25, 0.5, 0.75))
        return middle, (high - low) or 1.0
    deviation = math.sqrt(seen.squares / seen.count)
    rounding = 1e-12 * max(abs(seen.low), abs(seen.high))  # a constant column's mean may be off by its last digit
    return seen.mean, deviation if deviation > rounding else 1.0


def _quantile(seen: Moments, share: float) -> float:
    """The quantile by linear interpolation between neighbours in order, as numpy has it."""
    reached = np.cumsum(seen.counts)
    place = share * (seen.count - 1)
    low, high = (int(np.searchsorted(reached, math.floor(place) + step, side="right")) for step in (0, 1))
    below, above = seen.values[low], seen.values[min(high, len(seen.values) - 1)]
    return float(below + (above - below) * (place - math.floor(place)))
