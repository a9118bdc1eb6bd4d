"""Choosing features: out go constants, near copies of others, and what says nothing about the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator.errors import ConfigError
from stages.columns import Floats, column_floats, learnable, matrix, require_rows
from stages.errors import DataRejected
from stages.transforms import Transform

BINS = 16
"""Quantile bins behind the mutual information of a number."""


@dataclass(frozen=True)
class Selection(Transform):
    """The chosen columns.

    Attributes:
        columns: Those kept, in their order.
        dropped: The others, each with the reason.
        information: Mutual information with the target in bits, by column; empty without a target.
    """

    dropped: dict[str, str]
    information: dict[str, float]

    def apply(self, table: pa.Table) -> pa.Table:
        """Leave the dropped columns out; others that it never looked at stay."""
        return table.drop_columns([name for name in self.dropped if name in table.column_names])


def fit_selection(
    table: pa.Table,
    columns: Sequence[str],
    min_variance: float = 0.0,
    max_correlation: float = 1.0,
    target: str | None = None,
    min_information: float = 0.0,
    most: int | None = None,
) -> Selection:
    """Choose among numeric columns, in this order: variance, information, correlation, number.

    Args:
        min_variance: A column must vary by more than this.
        max_correlation: Of two columns correlated by more than this (absolute), the one that says less goes: by
            mutual information with the target, or the later one without a target.
        target: Numeric or 0/1 column to be informed about.
        min_information: Least mutual information with it, in bits.
        most: Columns kept at most, the most informative ones; needs a target.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not numeric, there are no rows, or no column is left.
        ConfigError: ``most`` or ``min_information`` without a target.
    """
    where = "The table of fit_selection"
    require_rows(table, where)
    if target is None and (most is not None or min_information > 0):
        raise ConfigError("fit_selection needs a target to tell which columns are informative")
    values = matrix(table, columns, where)
    with np.errstate(invalid="ignore"):
        present = ~np.isnan(values)
        counts = np.maximum(present.sum(axis=0), 1)
        means = np.where(present, values, 0).sum(axis=0) / counts
        variances = np.where(present, (values - means) ** 2, 0).sum(axis=0) / counts
    dropped = {
        name: f"variance {variance:.3g} is not above {min_variance:g}"
        for name, variance in zip(columns, variances, strict=True)
        if not variance > min_variance
    }
    information: dict[str, float] = {}
    if target is not None:
        labels = learnable(table, target, where)
        information = {name: mutual_information(column_floats(table, name, where), labels) for name in columns}
        for name, bits in information.items():
            if bits < min_information:
                dropped.setdefault(name, f"{bits:.4f} bits about {target} are fewer than {min_information:g}")
    ranked = sorted((name for name in columns if name not in dropped), key=lambda name: -information.get(name, 0.0))
    kept = _uncorrelated(ranked, dict(zip(columns, values.T, strict=True)), max_correlation, dropped)
    for name in kept[most:] if most is not None else []:
        dropped[name] = f"{most} others say more about {target}"
    chosen = [name for name in columns if name not in dropped]
    if not chosen:
        raise DataRejected(f"fit_selection leaves no column: {dropped}")
    return Selection(chosen, dropped, information)


def _uncorrelated(ranked: list[str], values: dict[str, Floats], limit: float, dropped: dict[str, str]) -> list[str]:
    kept: list[str] = []
    for name in ranked:
        copies = [(abs(correlation(values[name], values[other])), other) for other in kept] if limit < 1 else []
        strongest = max(copies, default=(0.0, ""))
        if strongest[0] > limit:
            dropped[name] = f"correlates {strongest[0]:.3f} with {strongest[1]}"
        else:
            kept.append(name)
    return kept


def correlation(one: Floats, other: Floats) -> float:
    """Pearson's correlation over the rows where both are known; 0 if one of them does not vary there."""
    both = ~(np.isnan(one) | np.isnan(other))
    if both.sum() < 2 or not one[both].std() or not other[both].std():
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def mutual_information(values: Floats, target: Floats) -> float:
    """How much a number tells about a target, in bits, over quantile bins; a missing value is a bin of its own.

    Corrected for the bits that chance alone would show (Miller and Madow), never below 0.
    """
    rows, columns = _binned(values), _binned(target)
    known = ~np.isnan(target)
    table = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1))
    np.add.at(table, (rows[known], columns[known]), 1)
    total = table.sum()
    if not total:
        return 0.0
    cells = np.count_nonzero
    bias = (cells(table) - cells(table.sum(axis=1)) - cells(table.sum(axis=0)) + 1) / (2 * total * np.log(2))
    joint = table / total
    independent = joint.sum(axis=1, keepdims=True) @ joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return max(float((joint[there] * np.log2(joint[there] / independent[there])).sum() - bias), 0.0)


def _binned(values: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    edges = (
        distinct[:-1] if len(distinct) <= BINS else np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
    )
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left")).astype(np.int64)
