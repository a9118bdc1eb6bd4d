"""How good predicted probabilities are: area under the curve, log loss, Brier score, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.columns import Floats

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
