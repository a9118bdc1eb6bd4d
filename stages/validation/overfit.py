"""Overfitting: how much better a model does on the rows it was fitted on than on others."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from orchestrator import stage
from stages.rows import rows_digest
from stages.validation.judging import RESAMPLES, AnyModel, draws, judged, measured, metric_for, percentiles
from stages.validation.record import Finding, found


@dataclass(frozen=True)
class Gap:
    """A metric on training and on test rows.

    Attributes:
        gap: How much better it is on the training rows, whatever its direction.
        low, high: 95 % interval of the gap, both sides resampled.
    """

    metric: str
    train: float | None
    test: float | None
    gap: float | None
    low: float | None
    high: float | None
    finding: Finding


@stage(cache="30d", timeout="30m")
def check_overfit(
    model: AnyModel,
    train: pa.Table,
    test: pa.Table,
    max_gap: float | None = None,
    metric: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Gap:
    """Compare a metric between training and test rows, both raw.

    Args:
        max_gap: Largest gap that the finding lets pass; only measured when not given.
        metric: The main one of the task when not given.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
        ConfigError: the metric is not known or is for another task.
    """
    of = metric_for(model, metric)
    sign = 1.0 if of.greater_better else -1.0
    _, fitted = judged(model, train)
    rows, fresh = judged(model, test)
    values = [measured(of, side, 0).value for side in (fitted, fresh)]
    sides = (draws(fitted, of.stratified, resamples, seed), draws(fresh, of.stratified, resamples, seed + 1))
    pairs = [(of.function(one), of.function(other)) for one, other in zip(*sides, strict=True)]
    low, high = percentiles([sign * (one - other) for one, other in pairs if one is not None and other is not None])
    gap = None if values[0] is None or values[1] is None else sign * (values[0] - values[1])
    name = f"gap of {of.name} between training and test"
    finding = found(name, gap, "<=", max_gap, rows.num_rows, rows_digest(rows), low, high)
    return Gap(of.name, values[0], values[1], gap, low, high, finding)
