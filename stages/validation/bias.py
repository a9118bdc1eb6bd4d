"""Bias: how often a group gets the bad outcome beside all others, in the data and in a model's decisions.

The rates are those of the disparate-impact rule that lenders and employers are judged by: a group whose share of
favourable outcomes is below four fifths of the others' stands out. Rates alone do not say why they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, require_columns
from stages.errors import DataRejected
from stages.rows import rows_digest, value_codes
from stages.validation.judging import RESAMPLES, AnyModel, judged, percentiles, task_of
from stages.validation.record import Finding, found

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Disparity:
    """Shares of the bad outcome in the group and among all others.

    Attributes:
        difference: Group minus others.
        ratio: Share of the good outcome in the group, divided by that of the others; None if the others have none.
        low, high: 95 % interval of the difference, the group and the others resampled.
    """

    group: float
    others: float
    difference: float
    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bias:
    """What ``check_bias`` returns; its findings go to ``gate``.

    Attributes:
        name: ``afam yes``: the group.
        rows, other_rows: In the group, and all others.
        threshold: Probability from which on the model decides for the bad outcome.
        data: What happened.
        decisions: What the model would decide.
        wrongly: The model's bad decisions about those who had the good outcome.
    """

    name: str
    rows: int
    other_rows: int
    threshold: float
    data: Disparity
    decisions: Disparity
    wrongly: Disparity
    findings: list[Finding]


@stage(cache="30d", timeout="30m")
def check_bias(
    model: AnyModel,
    table: pa.Table,
    by: str,
    group: str,
    threshold: float | None = None,
    max_difference: float | None = None,
    min_ratio: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bias:
    """Measure the bad outcome by group; the target says 1 for it (denied, rejected, flagged).

    Args:
        model: A yes/no model; rows it has not seen.
        by: Column of the group; the model need not know it.
        group: Value of that column, as text; all other rows are compared with it.
        threshold: Probability from which on the model decides for the bad outcome; if not given, the one at which it
            does so as often as the data.
        max_difference: Largest difference of the decisions that passes; only measured when not given.
        min_ratio: Least ratio of good decisions that passes, 0.8 by the four-fifths rule; only measured when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or the group or the others have no rows.
        ConfigError: the model has other than two classes.
    """
    require_columns(table.column_names, [by], "The table given to check_bias")
    if task_of(model) != "binary":
        raise ConfigError(f"Bias is measured of yes/no decisions; this model is {task_of(model)}")
    rows, outcome = judged(model, table)
    inside = _members(rows, by, group)
    line = _line(outcome.predictions, outcome.labels) if threshold is None else threshold
    decided = (outcome.predictions >= line).astype(np.float64)
    innocent = outcome.labels == 0
    measured = [
        _disparity(outcome.labels, inside, resamples, seed),
        _disparity(decided, inside, resamples, seed),
        _disparity(decided[innocent], inside[innocent], resamples, seed),
    ]
    data, decisions, wrongly = measured
    name, digest = f"{by} {group}", rows_digest(rows)

    def of(what: str, part: Disparity, limit: float | None = None) -> Finding:
        check = f"difference of {name} to others in {what}"
        return found(check, part.difference, "<=", limit, rows.num_rows, digest, part.low, part.high)

    findings = [
        of(f"{model.target} as it was", data),
        of(f"{model.target} as decided", decisions, max_difference),
        of(f"{model.target} decided wrongly", wrongly),
        found(f"ratio of {name} to others in good decisions", decisions.ratio, ">=", min_ratio, rows.num_rows, digest),
    ]
    return Bias(name, int(inside.sum()), int((~inside).sum()), float(line), data, decisions, wrongly, findings)


def _members(rows: pa.Table, by: str, group: str) -> Mask:
    encoded = value_codes(rows.column(by))
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    if group not in values or len(values) < 2:
        known = ", ".join(sorted(values)[:10])
        raise DataRejected(
            f"Column {by!r} has no group {group!r} beside others to compare; it holds {known}.", column=by
        )
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False) == values.index(group))


def _line(predictions: Floats, labels: Floats) -> float:
    """The threshold at which as many rows are decided badly as had the bad outcome, as far as ties allow."""
    bad = int(labels.sum())
    return float(np.sort(predictions)[len(predictions) - bad]) if bad else float("inf")


def _disparity(values: Floats, inside: Mask, resamples: int, seed: int) -> Disparity:
    parts = values[inside], values[~inside]
    if not all(len(part) for part in parts):
        raise DataRejected("A group in which nobody had the good outcome cannot be compared.")
    rates = [float(part.mean()) for part in parts]
    random = np.random.default_rng(seed)
    # a resampled share of 0/1 values is a binomial draw
    draws = [random.binomial(len(part), rate, resamples) / len(part) for part, rate in zip(parts, rates, strict=True)]
    low, high = percentiles((draws[0] - draws[1]).tolist())
    ratio = (1 - rates[0]) / (1 - rates[1]) if rates[1] < 1 else None
    return Disparity(rates[0], rates[1], rates[0] - rates[1], ratio, low, high)
