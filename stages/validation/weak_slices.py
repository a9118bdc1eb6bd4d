"""Slices nobody named: combinations of at most two conditions on whose rows the model does clearly worse.

All frequent conditions and pairs of them are tested at once; because so many are looked at, p-values are corrected by
the Holm procedure, so that with 95 % certainty none of the slices reported is an accident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, floats, is_numeric, require_columns
from stages.metrics import Judged, log_losses
from stages.rows import rows_digest, value_codes
from stages.significance import holm
from stages.validation.evaluation import Slice, part_of
from stages.validation.judging import RESAMPLES, AnyModel, judged, measured, metric_for, task_of
from stages.validation.record import Finding, found


@dataclass(frozen=True)
class WeakSlice:
    """Rows on which the model does worse than elsewhere.

    Attributes:
        slice: Its conditions and its metric with interval.
        loss, elsewhere: Mean loss of a row inside and outside: log loss, or absolute error for a regression.
        p_value: Corrected for all slices tested.
    """

    slice: Slice
    loss: float
    elsewhere: float
    p_value: float


@dataclass(frozen=True)
class WeakSlices:
    """What ``find_slices`` returns: worst first.

    Attributes:
        tested: Slices looked at; the correction is for so many.
    """

    slices: list[WeakSlice]
    tested: int
    finding: Finding


@stage(cache="30d", timeout="30m")
def find_slices(
    model: AnyModel,
    table: pa.Table,
    columns: Sequence[str],
    min_support: float = 0.02,
    worse_by: float = 0.1,
    certainty: float = 0.95,
    most: int = 10,
    bins: int = 4,
    limit: int | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> WeakSlices:
    """Search for slices where the loss is higher.

    Args:
        columns: Text columns, by their values, and numeric ones, by quantile bins.
        min_support: Least share of the rows in a slice.
        worse_by: How much larger the loss must be than elsewhere, as a share of it.
        certainty: That none of the slices found is an accident.
        most: Slices reported.
        bins: Bins of a numeric column.
        limit: Slices that the gate lets pass; only measured when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
        ConfigError: a share makes no sense.
    """
    if not 0 < min_support < 1 or not 0 < certainty < 1 or bins < 2:
        raise ConfigError(f"find_slices cannot work with {min_support=}, {certainty=}, {bins=}")
    require_columns(table.column_names, columns, "The table given to find_slices")
    rows, outcome = judged(model, table)
    loss = _losses(task_of(model), outcome)
    names, masks = _conditions(rows, columns, min_support, bins)
    candidates = _candidates(names, masks, loss, min_support)
    chosen = _significant(candidates, worse_by, 1 - certainty)[:most]
    of = metric_for(model, None)
    slices = []
    for entry in chosen:
        inside = masks[:, entry.first] & masks[:, entry.second]
        where = dict([names[entry.first], names[entry.second]])
        result = measured(of, part_of(outcome, inside), resamples, seed)
        slices.append(WeakSlice(Slice(where, result), entry.inside, entry.outside, entry.p_value))
    finding = found("weak slices found", float(len(slices)), "<=", limit, rows.num_rows, rows_digest(rows))
    return WeakSlices(slices, len(candidates), finding)


@dataclass(frozen=True)
class _Candidate:
    first: int
    second: int
    inside: float
    outside: float
    p_value: float


def _losses(task: str, rows: Judged) -> Floats:
    if task == "binary":
        return log_losses(rows.labels, rows.predictions)
    if task == "multiclass":
        own = rows.predictions[np.arange(len(rows.labels)), rows.labels.astype(np.int64)]
        return np.asarray(-np.log(np.clip(own, 1e-15, 1)), dtype=np.float64)
    return np.abs(rows.labels - rows.predictions)


def _conditions(rows: pa.Table, columns: Sequence[str], support: float, bins: int) -> tuple[list[tuple[str, str]], Any]:
    """Conditions with enough rows, as (column, text), and which rows meet each: shape (rows, conditions)."""
    names: list[tuple[str, str]] = []
    masks = []
    for column in columns:
        for text, mask in _values(rows.column(column), column, bins):
            if support * rows.num_rows <= mask.sum() < rows.num_rows:
                names.append((column, text))
                masks.append(mask)
    return names, np.column_stack(masks) if masks else np.zeros((rows.num_rows, 0), dtype=bool)


def _values(column: Any, name: str, bins: int) -> list[tuple[str, Any]]:
    if is_numeric(column.type):
        values = floats(column, name)
        present = values[~np.isnan(values)]
        edges = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1])) if present.size else np.array([])
        codes = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
        ends = ["-∞", *(f"{edge:g}" for edge in edges), "∞"]
        found_bins = [(f"({ends[i]}, {ends[i + 1]}]", codes == i) for i in range(len(edges) + 1)]
        return [*found_bins, ("missing", codes == -1)]
    encoded = value_codes(column)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    return [(str(value), codes == code) for code, value in enumerate(encoded.dictionary.to_pylist())]


def _candidates(names: list[tuple[str, str]], masks: Any, loss: Floats, support: float) -> list[_Candidate]:
    """Every condition and pair of them, tested by Welch's test in one go: three matrix products."""
    inside = masks.astype(np.float64)
    counts, sums, squares = (inside.T @ (inside * weight[:, None]) for weight in (np.ones_like(loss), loss, loss**2))
    total, total_sum, total_square = len(loss), loss.sum(), (loss**2).sum()
    result = []
    for i in range(len(names)):
        for j in range(i, len(names)):
            rows, others = counts[i, j], total - counts[i, j]
            same_column = i != j and names[i][0] == names[j][0]
            if same_column or rows < max(support * total, 2) or others < 2 or (i != j and _no_narrower(counts, i, j)):
                continue
            mean, rest = sums[i, j] / rows, (total_sum - sums[i, j]) / others
            spread = max(squares[i, j] / rows - mean**2, 0.0) / rows
            spread += max((total_square - squares[i, j]) / others - rest**2, 0.0) / others
            p_value = 0.5 * math.erfc((mean - rest) / math.sqrt(2 * spread)) if spread > 0 else float(mean <= rest)
            result.append(_Candidate(i, j, float(mean), float(rest), p_value))
    return result


def _no_narrower(counts: Any, i: int, j: int) -> bool:
    return bool(counts[i, j] in (counts[i, i], counts[j, j]))


def _significant(candidates: list[_Candidate], worse_by: float, risk: float) -> list[_Candidate]:
    """Those that survive Holm's correction and are worse enough; a pair only if it is worse than its parts."""
    ordered = sorted(candidates, key=lambda entry: entry.p_value)
    alone = {entry.first: entry.inside for entry in candidates if entry.first == entry.second}
    kept = []
    for entry, corrected in zip(ordered, holm([entry.p_value for entry in ordered]), strict=True):
        if corrected > risk:
            break
        parts = [alone.get(i, -math.inf) for i in (entry.first, entry.second)] if entry.first != entry.second else []
        if entry.inside > (1 + worse_by) * entry.outside and all(
            entry.inside > (1 + worse_by) * part for part in parts
        ):
            kept.append(_Candidate(entry.first, entry.second, entry.inside, entry.outside, corrected))
    return sorted(kept, key=lambda entry: entry.outside - entry.inside)
