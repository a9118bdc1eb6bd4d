"""Drift: how far later rows have moved from the rows a model was trained on.

Effect sizes, not p-values: with tens of thousands of rows every difference is significant. PSI compares
the shares of bins (quantiles of the reference, or categories), KS the cumulative distributions of numbers,
and the shift of means is given in standard deviations of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from stages.columns import Floats, floats, is_numeric, require_columns, rows_named
from stages.errors import DataRejected

Level = Literal["stable", "moderate", "major"]

PSI_LIMITS = (0.1, 0.25)
"""From where on a population stability index counts as moderate and as major: the customary limits."""

SHIFT_LIMITS = (0.1, 0.2)
"""The same for the shift of a target's mean, in standard deviations of the reference."""

SMALLEST_SHARE = 1e-4
"""Empty bins count as this share, so that a new category gives a large index and not an infinite one."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column, then and now.

    Attributes:
        psi: Population stability index over bins, missing values being a bin of their own.
        ks: Largest distance of the two cumulative distributions, 0 to 1; None for text.
        shift: Difference of the means in standard deviations of the reference; None for text.
        mean_reference, mean_current: None for text, or if there are no values.
        missing_reference, missing_current: Shares of missing values.
    """

    column: str
    level: Level
    psi: float
    ks: float | None
    shift: float | None
    mean_reference: float | None
    mean_current: float | None
    missing_reference: float
    missing_current: float

    def __str__(self) -> str:
        line = f"{self.level:8} {self.column:14} PSI {self.psi:.3f}"
        if self.ks is None or self.mean_reference is None or self.mean_current is None:
            return line
        return f"{line}  KS {self.ks:.3f}  mean {self.mean_reference:.2f} → {self.mean_current:.2f}"


@dataclass(frozen=True)
class DriftReport:
    """Columns ranked by how far they moved, the targets apart from them.

    Attributes:
        name: What the current rows are called.
        drifted: True if a column or a target has moved by a major amount.
        target_drifted: The same for the targets alone.
    """

    name: str
    rows: int
    drifted: bool
    target_drifted: bool
    columns: list[ColumnDrift]
    targets: list[ColumnDrift]

    def __str__(self) -> str:
        moved = [entry for entry in self.columns if entry.level != "stable"]
        stable = [entry.column for entry in self.columns if entry.level == "stable"]
        lines = [f"{self.name}: {self.rows} rows", *(f"  {entry}" for entry in (*self.targets, *moved))]
        return "\n".join([*lines, f"  stable   {', '.join(stable)}"] if stable else lines)


@stage(cache="30d", timeout="10m")
def drift(
    current: pa.Table,
    reference: pa.Table,
    columns: Sequence[str],
    targets: Sequence[str] = (),
    name: str = "current",
    bins: int = 10,
) -> DriftReport:
    """Compare rows with the reference, column by column.

    Args:
        reference: The rows the model was trained on.
        columns: Inputs to compare, numeric or text.
        targets: Numeric outcomes to compare; judged by the shift of their mean.
        name: What the current rows are called in the report.
        bins: Quantile bins of a numeric column.

    Raises:
        NotFound: a column is missing from one of the tables.
        DataRejected: a table is empty, a column is numeric on one side only, infinite somewhere or of lists, or a
            target is not numeric.
    """
    require_columns(reference.column_names, [*columns, *targets], "The reference table of drift")
    require_columns(current.column_names, [*columns, *targets], f"The table {name!r} of drift")
    if not current.num_rows or not reference.num_rows:
        raise DataRejected(f"There are no rows to compare: {reference.num_rows} of reference, {current.num_rows} now.")
    inputs = [column_drift(reference.column(key), current.column(key), key, bins) for key in columns]
    outcomes = [_target_drift(reference.column(key), current.column(key), key, bins) for key in targets]
    return DriftReport(
        name=name,
        rows=current.num_rows,
        drifted=any(entry.level == "major" for entry in (*inputs, *outcomes)),
        target_drifted=any(entry.level == "major" for entry in outcomes),
        columns=sorted(inputs, key=lambda entry: (-entry.psi, entry.column)),
        targets=outcomes,
    )


def column_drift(reference: Any, current: Any, name: str, bins: int) -> ColumnDrift:
    """How far one column has moved; ``bins`` are the quantile bins of numbers. Raises DataRejected, see ``drift``."""
    if is_numeric(reference.type) != is_numeric(current.type):
        raise DataRejected(
            f"Column {name!r} holds {reference.type} in the reference and {current.type} now.", column=name
        )
    if is_numeric(reference.type):
        return _number_drift(floats(reference, name), floats(current, name), name, bins)
    if pa.types.is_nested(reference.type) or pa.types.is_nested(current.type):
        raise DataRejected(f"Column {name!r} holds {current.type}; numbers or text can be compared.", column=name)
    then, now = category_counts(reference, current)
    psi = stability_index(then, now)
    missing = (reference.null_count / len(reference), current.null_count / len(current))
    return ColumnDrift(name, _level(psi, PSI_LIMITS), psi, None, None, None, None, *missing)


def _target_drift(reference: Any, current: Any, name: str, bins: int) -> ColumnDrift:
    found = _number_drift(floats(reference, name), floats(current, name), name, bins)
    moved_from_constant = found.shift is None and found.mean_current is not None
    level = "major" if moved_from_constant else _level(abs(found.shift or 0.0), SHIFT_LIMITS)
    return ColumnDrift(**{**vars(found), "level": level})


def _number_drift(reference: Floats, current: Floats, name: str, bins: int) -> ColumnDrift:
    for values, side in ((reference, "the reference"), (current, "the current rows")):
        if (infinite := np.isinf(values)).any():
            raise DataRejected(f"Column {name!r} of {side} is infinite in {rows_named(infinite)}.", column=name)
    then, now = reference[~np.isnan(reference)], current[~np.isnan(current)]
    edges = np.unique(np.quantile(then, np.linspace(0, 1, bins + 1)[1:-1])) if then.size else np.array([])
    psi = stability_index(*(_binned(values, edges, len(rows)) for values, rows in ((then, reference), (now, current))))
    both = bool(then.size and now.size)
    spread = float(then.std()) if then.size else 0.0
    difference = float(now.mean() - then.mean()) if both else 0.0
    return ColumnDrift(
        column=name,
        level=_level(psi, PSI_LIMITS),
        psi=psi,
        ks=kolmogorov_smirnov(then, now) if both else None,
        shift=difference / spread if both and spread else (0.0 if both and not difference else None),
        mean_reference=float(then.mean()) if then.size else None,
        mean_current=float(now.mean()) if now.size else None,
        missing_reference=1 - len(then) / len(reference),
        missing_current=1 - len(now) / len(current),
    )


def _binned(values: Floats, edges: Floats, rows: int) -> Floats:
    """Rows in each bin, the missing ones last; a value on an edge belongs to the bin below it."""
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return np.append(counts, rows - len(values)).astype(np.float64)


def category_counts(reference: Any, current: Any) -> tuple[Floats, Floats]:
    """How often each value of two columns, missing ones included, is in either."""
    counted = [
        {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
        for column in (reference, current)
    ]
    keys = list(dict.fromkeys([*counted[0], *counted[1]]))
    then, now = (np.array([counts.get(key, 0) for key in keys], dtype=np.float64) for counts in counted)
    return then, now


def stability_index(reference: Floats, current: Floats) -> float:
    """Population stability index of two histograms over the same bins, counts in any unit."""
    then = np.maximum(reference / reference.sum(), SMALLEST_SHARE)
    now = np.maximum(current / current.sum(), SMALLEST_SHARE)
    return float(((now - then) * np.log(now / then)).sum())


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """Largest distance between the cumulative distributions of two samples without missing values."""
    then, now = np.sort(reference), np.sort(current)
    points = np.concatenate([then, now])
    below = np.searchsorted(then, points, side="right") / len(then)
    beside = np.searchsorted(now, points, side="right") / len(now)
    return float(np.abs(below - beside).max())


def _level(value: float, limits: tuple[float, float]) -> Level:
    moderate, major = limits
    return "major" if value >= major else "moderate" if value >= moderate else "stable"
