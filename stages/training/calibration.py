"""Calibration: probabilities that come true as often as they say, learned on rows that the model has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, require_choice
from stages.metrics import calibration, calibration_error
from stages.training.model_file import Calibrator, ModelFile, log_odds
from stages.training.target import read_labels

Calibration = Literal["isotonic", "sigmoid"]


@dataclass(frozen=True)
class Calibrated:
    """The model with its calibrator, and the expected calibration error on the same held-out rows before and after.

    The second is of the rows that it was learned from; measure on others with ``evaluate``.
    """

    model: ModelFile
    error_before: float
    error_after: float


@stage(cache="30d", timeout="10m")
def calibrate(model: ModelFile, table: pa.Table, method: Calibration = "isotonic") -> Calibrated:
    """Learn how often a yes/no model's probabilities come true.

    Args:
        table: Raw rows that neither training nor early stopping has seen.
        method: ``isotonic`` (any increasing curve; a thousand rows or more) or ``sigmoid`` (two numbers; fewer rows).

    Raises:
        NotFound: a column is missing.
        DataRejected: the target has a single class or one that training did not see, or an input is of the wrong type.
        ConfigError: the model has other than two classes or is calibrated already, or the method is not known.
    """
    require_choice(method, ("isotonic", "sigmoid"), "The method of calibration")
    if model.task != "binary" or model.calibrator is not None:
        what = "is calibrated already" if model.calibrator else f"is {model.task}"
        raise ConfigError(f"Only a yes/no model that is not calibrated can be; this one {what}")
    rows, _ = read_labels(table, model.target, True)
    labels = read_labels(rows, model.target, True, model.classes)[1].values
    said = model.predict(rows)
    calibrator = _isotonic(said, labels) if method == "isotonic" else _sigmoid(said, labels)
    errors = [calibration_error(calibration(labels, values)) for values in (said, calibrator.apply(said))]
    return Calibrated(replace(model, calibrator=calibrator), *errors)


def _isotonic(said: Floats, labels: Floats) -> Calibrator:
    """The increasing curve closest to the outcomes, by pooling neighbours that are out of order."""
    distinct, place = np.unique(said, return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    means = np.bincount(place, weights=labels) / weights
    pools: list[tuple[float, float, int, int]] = []  # mean, weight, first and last of the distinct values
    for i, (mean, weight) in enumerate(zip(means.tolist(), weights.tolist(), strict=True)):
        pool = (mean, weight, i, i)
        while pools and pools[-1][0] >= pool[0]:
            last = pools.pop()
            total = last[1] + pool[1]
            pool = ((last[0] * last[1] + pool[0] * pool[1]) / total, total, last[2], pool[3])
        pools.append(pool)
    points = [
        (float(distinct[end]), _unsure(mean, weight)) for mean, weight, *ends in pools for end in dict.fromkeys(ends)
    ]
    rising = np.maximum.accumulate([output for _, output in points]).tolist()
    return Calibrator("isotonic", [said for said, _ in points], rising, len(labels))


def _unsure(mean: float, weight: float) -> float:
    """Never quite 0 or 1: a pool of so many equal outcomes is no certainty, and a wrong one costs without end."""
    return min(max(mean, 1 / (weight + 2)), 1 - 1 / (weight + 2))


def _sigmoid(said: Floats, labels: Floats) -> Calibrator:
    """Slope and intercept on the log odds by Newton's method, the labels drawn in a little as Platt advises."""
    positives = labels.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    wanted = np.where(labels > 0, high, low)
    inputs = np.column_stack([log_odds(said), np.ones(len(said))])
    weights = np.zeros(2)
    for _ in range(100):
        probabilities = 0.5 * (1.0 + np.tanh(0.5 * (inputs @ weights)))
        slope = inputs.T @ (probabilities - wanted)
        curve = inputs.T @ (inputs * (probabilities * (1 - probabilities))[:, None]) + 1e-9 * np.eye(2)
        move = np.linalg.solve(curve, slope)
        while _loss(inputs @ (weights - move), wanted) > _loss(inputs @ weights, wanted) and np.abs(move).max() > 1e-12:
            move = move / 2  # where the model was sure and wrong, a full step may lead away
        weights = weights - move
        if np.abs(move).max() < 1e-10:
            break
    return Calibrator("sigmoid", [float(weights[0])], [float(weights[1])], len(labels))


def _loss(odds: Floats, wanted: Floats) -> float:
    return float((np.logaddexp(0.0, odds) - wanted * odds).sum())
