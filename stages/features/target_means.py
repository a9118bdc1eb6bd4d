"""Target encoding that does not leak: out of fold for the training rows, smoothed means for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import Floats, finite_floats, floats, require_columns, set_numbers, texts
from stages.errors import DataRejected
from stages.features.counts import added_up
from stages.rows import Codes, group_codes
from stages.transforms import InputKind, Transform

WHERE = "The table for target means"


@dataclass(frozen=True)
class TargetMeans(Transform):
    """The mean target of a category, drawn towards the overall mean where it has few rows, as ``column.mean``.

    Attributes:
        values, means: By column; a category that is not there, or missing, has the overall mean.
        groups: Columns whose rows stay in one fold, such as the customer.
    """

    target: str
    values: list[list[str]]
    means: list[list[float]]
    overall: float
    smoothing: float
    folds: int
    seed: int
    groups: list[str]

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text; the target is not among them."""
        return dict.fromkeys(self.columns, "text")

    @property
    def makes(self) -> list[str]:
        """``column.mean``."""
        return [f"{name}.mean" for name in self.columns]

    def apply(self, table: pa.Table) -> pa.Table:
        """Add the smoothed means; needs no target."""
        require_columns(table.column_names, self.columns, self.place)
        for name, values, means in zip(self.columns, self.values, self.means, strict=True):
            found = pc.index_in(texts(table.column(name), name), pa.array(values, pa.string()), skip_nulls=True)
            codes = pc.fill_null(found, len(values)).to_numpy(zero_copy_only=False)
            table = set_numbers(table, f"{name}.mean", np.array([*means, self.overall])[codes])
        return table

    def training(self, table: pa.Table) -> pa.Table:
        """Add means that no row's own target, nor its fold's, has touched."""
        require_columns(table.column_names, [*self.columns, self.target], self.place)
        target = floats(table.column(self.target), self.target)
        folds = self._folds(table)
        for name in self.columns:
            codes, values = _coded(table, name)
            means = _out_of_fold(codes, len(values) + 1, target, folds, self.smoothing)
            table = set_numbers(table, f"{name}.mean", means)
        return table

    def _folds(self, table: pa.Table) -> Codes:
        groups = group_codes(table, self.groups, self.place) if self.groups else np.arange(table.num_rows)
        count = int(groups.max()) + 1 if len(groups) else 0
        shuffled: Codes = np.random.default_rng(self.seed).permutation(count) % self.folds
        return shuffled[groups]


def fit_target_means(
    table: pa.Table,
    columns: Sequence[str],
    target: str,
    smoothing: float = 20.0,
    folds: int = 5,
    seed: int = 0,
    groups: Sequence[str] = (),
) -> TargetMeans:
    """Mean targets by category; rows without a target teach nothing.

    Args:
        target: Numeric or 0/1 column.
        smoothing: So many rows of the overall mean are mixed into each category.
        folds: Parts of the training rows; each is encoded with what the others show.
        groups: Columns whose rows must not be in different folds.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text, the target not numeric or without values, or there are too few rows.
        ConfigError: fewer than two folds, or a negative smoothing.
    """
    return target_means_of([sum_targets(table, columns, target, groups)], smoothing, folds, seed, groups)


@dataclass(frozen=True)
class TargetSums:
    """The target by category, as far as it was looked at.

    Attributes:
        rows: Rows looked at; ``known`` of them have a target, ``total`` is its sum.
        found: By column a table of ``value``, ``rows`` with a target, and their ``total``.
    """

    target: str
    columns: list[str]
    rows: int
    known: int
    total: float
    found: list[pa.Table]


def sum_targets(table: pa.Table, columns: Sequence[str], target: str, groups: Sequence[str] = ()) -> TargetSums:
    """Look at one table, or a part of one; no rows are fine.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text, or the target not numeric or infinite.
    """
    require_columns(table.column_names, [*columns, *groups], WHERE)
    if target in columns:
        raise DataRejected(f"The target {target!r} cannot be one of its own features.", column=target)
    labels = finite_floats(table, target, WHERE)
    known = ~np.isnan(labels)
    found = []
    for name in columns:
        codes, names = _coded(table, name)
        totals, rows = (numbers[:-1] for numbers in _sums(codes[known], labels[known], len(names) + 1))
        found.append(pa.table({"value": pa.array(names, pa.string()), "rows": rows, "total": totals}))
    return TargetSums(target, list(columns), table.num_rows, int(known.sum()), float(labels[known].sum()), found)


def target_means_of(
    parts: Sequence[TargetSums], smoothing: float = 20.0, folds: int = 5, seed: int = 0, groups: Sequence[str] = ()
) -> TargetMeans:
    """``fit_target_means`` of what was summed up in parts."""
    if folds < 2 or smoothing < 0:
        raise ConfigError(f"Target means need at least 2 folds and a smoothing of 0 or more, not {folds}, {smoothing}")
    target, columns = parts[0].target, parts[0].columns
    rows, known = sum(part.rows for part in parts), sum(part.known for part in parts)
    if not known:
        raise DataRejected(f"{WHERE}: column {target!r} holds no value to learn from in {rows} rows.", column=target)
    if rows < folds:
        raise DataRejected(f"{WHERE} has {rows} rows, too few for {folds} folds.")
    overall = sum(part.total for part in parts) / known
    values, means = [], []
    for found in (added_up(tables) for tables in zip(*(part.found for part in parts), strict=True)):
        found = found.sort_by("value")
        smoothed = _smoothed(found["total"].to_numpy(), found["rows"].to_numpy(), overall, smoothing)
        values.append(found["value"].to_pylist())
        means.append(smoothed.tolist())
    return TargetMeans(columns, target, values, means, overall, smoothing, folds, seed, list(groups))


def _coded(table: pa.Table, name: str) -> tuple[Codes, list[str]]:
    """Codes into the sorted values; the last code, one past them, is that of missing values."""
    column = texts(table.column(name), name)
    values = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
    found = pc.index_in(column, pa.array(values, pa.string()), skip_nulls=True)
    return pc.fill_null(found, len(values)).to_numpy(zero_copy_only=False).astype(np.int64), values


def _sums(codes: Codes, labels: Floats, size: int) -> tuple[Floats, Floats]:
    sums: Floats = np.bincount(codes, weights=labels, minlength=size).astype(np.float64)
    return sums, np.bincount(codes, minlength=size).astype(np.float64)


def _smoothed(sums: Floats, counts: Floats, overall: float, smoothing: float) -> Floats:
    weights = counts + smoothing
    safe = np.where(weights > 0, weights, 1.0)
    return np.where(weights > 0, (sums + smoothing * overall) / safe, overall)


def _out_of_fold(codes: Codes, size: int, labels: Floats, folds: Codes, smoothing: float) -> Floats:
    result = np.empty(len(codes))
    known = ~np.isnan(labels)
    for fold in np.unique(folds):
        own = folds == fold
        others = known & ~own
        overall = float(labels[others].mean()) if others.any() else 0.0
        means = _smoothed(*_sums(codes[others], labels[others], size), overall, smoothing)
        means[-1] = overall  # a missing value says as little here as it does when serving
        result[own] = means[codes[own]]
    return result
