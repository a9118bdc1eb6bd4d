"""How good predictions are: metrics by task, and for probabilities their ranking, losses and calibration.

A ``Metric`` is a function of ``Judged`` rows with a direction, so that intervals, comparisons and gates work alike for
each. None stands for what cannot be told, such as the area under the curve of rows with one outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orchestrator.errors import ConfigError
from stages.columns import Floats, suggestion

EPSILON = 1e-15
"""Probabilities are kept this far from 0 and 1, so that one wrong certainty does not make the loss infinite."""


class RankedScores:
    """Labels and scores sorted once, so that the area under the curve can be had for many weightings of the rows.

    Args:
        labels: 0.0 or 1.0 by row, shape (rows,).
        scores: Any increasing measure of the probability of 1, shape (rows,).
    """

    def __init__(self, labels: Floats, scores: Floats) -> None:
        values, self._group = np.unique(scores, return_inverse=True)
        self._groups = len(values)
        self._labels = labels

    def auc(self, weights: Floats | None = None) -> float | None:
        """Area under the ROC curve: how often a positive row is scored above a negative one, ties counting half.

        Args:
            weights: How much each row counts, shape (rows,); 1 each when not given.

        Returns:
            A number from 0 to 1; None if only one of the labels occurs.
        """
        ones = self._labels if weights is None else self._labels * weights
        zeros = 1 - self._labels if weights is None else (1 - self._labels) * weights
        positives = np.bincount(self._group, weights=ones, minlength=self._groups)
        negatives = np.bincount(self._group, weights=zeros, minlength=self._groups)
        pairs = float(positives.sum()) * float(negatives.sum())
        if not pairs:
            return None
        below = np.cumsum(negatives) - negatives / 2
        return float((positives * below).sum()) / pairs


def auc(labels: Floats, scores: Floats) -> float | None:
    """Area under the ROC curve of unweighted rows, see ``RankedScores.auc``."""
    return RankedScores(labels, scores).auc()


def log_losses(labels: Floats, probabilities: Floats) -> Floats:
    """Log loss of each row, in nats."""
    safe = np.clip(probabilities, EPSILON, 1 - EPSILON)
    losses: Floats = -(labels * np.log(safe) + (1 - labels) * np.log1p(-safe))
    return losses


def brier(labels: Floats, probabilities: Floats) -> float:
    """Mean squared difference between probability and outcome."""
    return float(np.mean((probabilities - labels) ** 2))


@dataclass(frozen=True)
class CalibrationBin:
    """Rows of similar predicted probability: the mean prediction beside the share that came true."""

    rows: int
    predicted: float
    actual: float


def calibration(labels: Floats, probabilities: Floats, bins: int = 10) -> list[CalibrationBin]:
    """Bins of equally many rows, from the lowest predictions to the highest; empty for no rows."""
    order = np.argsort(probabilities, kind="stable")
    return [
        CalibrationBin(len(part), float(probabilities[part].mean()), float(labels[part].mean()))
        for part in np.array_split(order, bins)
        if len(part)
    ]


def calibration_error(table: list[CalibrationBin]) -> float:
    """Expected calibration error: the mean distance between predicted and actual share, weighted by rows."""
    rows = sum(entry.rows for entry in table)
    return sum(entry.rows * abs(entry.predicted - entry.actual) for entry in table) / rows if rows else 0.0


@dataclass(frozen=True)
class Judged:
    """Rows whose outcome is known.

    Attributes:
        labels: Outcome of each row: 0 or 1, the position of its class, or a number; shape (rows,).
        predictions: Probability of 1 (rows,), of each class (rows, classes), or a number (rows,).
        groups: Rows of one number belong together: a query, a series, a day; each row alone when not given.
    """

    labels: Floats
    predictions: Floats
    groups: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Metric:
    """One way to judge.

    Attributes:
        task: ``binary``, ``multiclass``, ``regression`` or ``ranking``.
        greater_better: Direction.
        stratified: Whether its intervals should keep the number of rows of each class.
    """

    name: str
    task: Literal["binary", "multiclass", "regression", "ranking"]
    function: Callable[[Judged], float | None]
    greater_better: bool
    stratified: bool = False


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def average_precision(labels: Floats, scores: Floats) -> float | None:
    """Area under the precision-recall curve by steps; None without a positive row."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(labels[order])
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True)) if len(order) else np.array([], dtype=np.int64)
    if not len(ends) or not hits[-1]:
        return None
    gained = np.diff(np.concatenate([[0.0], hits[ends]]))
    return float((gained * hits[ends] / (ends + 1)).sum() / hits[-1])


def confusion(labels: Floats, chosen: Floats) -> tuple[float, float, float, float]:
    """True positives, false positives, false negatives, true negatives of 0/1 decisions."""
    true, false = float((labels * chosen).sum()), float(((1 - labels) * chosen).sum())
    missed = float((labels * (1 - chosen)).sum())
    return true, false, missed, len(labels) - true - false - missed


def f1(labels: Floats, chosen: Floats) -> float | None:
    """Harmonic mean of precision and recall of 0/1 decisions; None if nothing is positive or chosen."""
    true, false, missed, _ = confusion(labels, chosen)
    return _ratio(2 * true, 2 * true + false + missed)


def matthews(labels: Floats, chosen: Floats) -> float | None:
    """Matthews' correlation of 0/1 decisions; None if labels or decisions do not vary."""
    true, false, missed, rest = confusion(labels, chosen)
    whole = (true + false) * (true + missed) * (rest + false) * (rest + missed)
    return (true * rest - false * missed) / whole**0.5 if whole else None


def _at_half(function: Callable[[Floats, Floats], float | None]) -> Callable[[Judged], float | None]:
    return lambda rows: function(rows.labels, (rows.predictions >= 0.5).astype(np.float64))


def _recalls(rows: Judged) -> list[float]:
    chosen = np.argmax(rows.predictions, axis=1)
    return [float((chosen[rows.labels == code] == code).mean()) for code in np.unique(rows.labels)]


def _macro_f1(rows: Judged) -> float | None:
    chosen = np.argmax(rows.predictions, axis=1)
    codes = np.union1d(np.unique(rows.labels), np.unique(chosen))
    each = [f1((rows.labels == code).astype(float), (chosen == code).astype(float)) for code in codes]
    return _mean([value for value in each if value is not None])


def _macro_auc(rows: Judged) -> float | None:
    areas = [
        auc((rows.labels == code).astype(float), rows.predictions[:, code]) for code in range(rows.predictions.shape[1])
    ]
    known = [area for area in areas if area is not None]
    return _mean(known)


def _class_log_loss(rows: Judged) -> float | None:
    own = rows.predictions[np.arange(len(rows.labels)), rows.labels.astype(np.int64)]
    return _mean(-np.log(np.clip(own, EPSILON, 1)))


def _explained(rows: Judged) -> float | None:
    spread = float(((rows.labels - rows.labels.mean()) ** 2).sum()) if len(rows.labels) else 0.0
    return 1 - float(((rows.labels - rows.predictions) ** 2).sum()) / spread if spread else None


def smape(rows: Judged) -> float | None:
    """Symmetric mean absolute percentage error, 0 to 2; a row where both sides are 0 counts as right."""
    size = np.abs(rows.labels) + np.abs(rows.predictions)
    return _mean(2 * np.abs(rows.labels - rows.predictions) / np.where(size > 0, size, 1.0))


def mase(history: Floats, season: int = 1) -> Metric:
    """Mean absolute error as a share of what repeating the last season costs in the history; below 1 is better.

    Args:
        history: The series before the judged rows, in time order, without gaps.
        season: Rows of one season: 1 for the naive forecast, 24 for hours of a day.

    Raises:
        ConfigError: the history is not longer than a season, or repeats itself exactly.
    """
    if not 0 < season < len(history):
        raise ConfigError(f"A history of {len(history)} rows is too short for a season of {season}")
    naive = float(np.abs(history[season:] - history[:-season]).mean())
    if not naive > 0:
        raise ConfigError("The history has gaps or repeats itself exactly, so no error can be measured against it")
    return Metric("mase", "regression", lambda rows: _scaled(_mae(rows), naive), False)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def _mae(rows: Judged) -> float | None:
    return _mean(np.abs(rows.labels - rows.predictions))


def pinball(level: float) -> Metric:
    """The loss of a forecast of one quantile: half the mean absolute error for the median.

    Raises:
        ConfigError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"A quantile lies between 0 and 1, not at {level!r}")

    def loss(rows: Judged) -> float | None:
        below = rows.labels - rows.predictions
        return _mean(np.maximum(level * below, (level - 1) * below))

    return Metric(f"pinball_{level:g}", "regression", loss, False)


def ndcg(k: int = 10) -> Metric:
    """Discounted gain of the first ``k`` rows of each group by score, as a share of the best; labels are gains."""

    def gain(rows: Judged) -> float | None:
        groups = np.zeros(len(rows.labels), dtype=np.int64) if rows.groups is None else rows.groups
        order = np.lexsort((-rows.predictions, groups))
        edges = np.flatnonzero(np.diff(groups[order])) + 1
        found = [_group_gain(rows.labels[part], k) for part in np.split(order, edges)] if len(order) else []
        return _mean([value for value in found if value is not None])

    return Metric(f"ndcg_{k}", "ranking", gain, True)


def _group_gain(labels: Floats, k: int) -> float | None:
    discounts = 1 / np.log2(np.arange(2, min(k, len(labels)) + 2))
    best = float((np.sort(labels)[::-1][:k] * discounts).sum())
    return float((labels[:k] * discounts).sum()) / best if best else None


def _listed(*metrics: Metric) -> Mapping[str, Metric]:
    return {entry.name: entry for entry in metrics}


METRICS = _listed(
    Metric("auc", "binary", lambda rows: auc(rows.labels, rows.predictions), True, True),
    Metric("average_precision", "binary", lambda rows: average_precision(rows.labels, rows.predictions), True, True),
    Metric("log_loss", "binary", lambda rows: _mean(log_losses(rows.labels, rows.predictions)), False, True),
    Metric("brier", "binary", lambda rows: _mean((rows.labels - rows.predictions) ** 2), False, True),
    Metric("accuracy", "binary", _at_half(lambda labels, chosen: _mean(labels == chosen)), True, True),
    Metric("f1", "binary", _at_half(f1), True, True),
    Metric("precision", "binary", _at_half(lambda y, c: _ratio(float((y * c).sum()), float(c.sum()))), True, True),
    Metric("recall", "binary", _at_half(lambda y, c: _ratio(float((y * c).sum()), float(y.sum()))), True, True),
    Metric("matthews", "binary", _at_half(matthews), True, True),
    Metric("class_accuracy", "multiclass", lambda r: _mean(np.argmax(r.predictions, axis=1) == r.labels), True, True),
    Metric("balanced_accuracy", "multiclass", lambda rows: _mean(_recalls(rows)), True, True),
    Metric("macro_f1", "multiclass", _macro_f1, True, True),
    Metric("macro_auc", "multiclass", _macro_auc, True, True),
    Metric("class_log_loss", "multiclass", _class_log_loss, False, True),
    Metric("mae", "regression", _mae, False),
    Metric("rmse", "regression", lambda rows: _scaled_root((rows.labels - rows.predictions) ** 2), False),
    Metric("r2", "regression", _explained, True),
    Metric("smape", "regression", smape, False),
    ndcg(10),
)
"""Metrics by name; ``mase``, ``pinball`` and ``ndcg`` make more."""

MAIN_METRIC: Mapping[str, str] = {"binary": "auc", "multiclass": "class_log_loss", "regression": "rmse"}
"""What a model is known by where nothing else is asked for."""


def _scaled_root(squares: Floats) -> float | None:
    return float(np.sqrt(squares.mean())) if len(squares) else None


def metric(which: str | Metric) -> Metric:
    """A metric by name, or itself.

    Raises:
        ConfigError: there is none of that name; offers the closest.
    """
    if isinstance(which, Metric):
        return which
    if which not in METRICS:
        raise ConfigError(f"There is no metric {which!r}.{suggestion(which, METRICS)} There are: {', '.join(METRICS)}.")
    return METRICS[which]


def metrics_of(task: str) -> list[Metric]:
    """All named metrics of a task."""
    return [entry for entry in METRICS.values() if entry.task == task]
