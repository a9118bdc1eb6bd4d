"""Metrics agree with scikit-learn and hold by definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from stages.metrics import RankedScores, auc, brier, calibration, calibration_error, log_losses

outcomes = st.lists(
    st.tuples(st.booleans(), st.floats(0.001, 0.999).map(lambda p: round(p, 2) or 0.01)), min_size=2, max_size=60
).filter(lambda rows: 0 < sum(label for label, _ in rows) < len(rows))


@given(outcomes)
def test_scores_equal_those_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    labels = np.array([float(label) for label, _ in rows])
    scores = np.array([min(score, 0.99) for _, score in rows])
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert float(log_losses(labels, scores).mean()) == pytest.approx(log_loss(labels, scores))
    assert brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores))


@given(outcomes, st.data())
def test_a_weight_counts_like_so_many_equal_rows(rows: list[tuple[bool, float]], data: st.DataObject) -> None:
    labels = np.array([float(label) for label, _ in rows])
    scores = np.array([score for _, score in rows])
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    repeated = auc(np.repeat(labels, counts), np.repeat(scores, counts))
    weighted = RankedScores(labels, scores).auc(counts.astype(np.float64))
    assert weighted == (None if repeated is None else pytest.approx(repeated))


def test_one_outcome_has_no_area() -> None:
    assert auc(np.ones(3), np.array([0.1, 0.2, 0.3])) is None
    assert auc(np.array([]), np.array([])) is None


def test_a_certain_mistake_costs_much_but_not_infinitely() -> None:
    assert 30 < log_losses(np.array([1.0]), np.array([0.0]))[0] < 40


def test_calibration_bins_cover_all_rows_and_weigh_by_rows() -> None:
    labels = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    probabilities = np.array([0.1, 0.2, 0.6, 0.9, 0.8])
    bins = calibration(labels, probabilities, bins=2)
    assert [entry.rows for entry in bins] == [3, 2]
    assert bins[0].predicted == pytest.approx(0.3)
    assert bins[0].actual == pytest.approx(1 / 3)
    assert calibration_error(bins) == pytest.approx((3 * abs(0.3 - 1 / 3) + 2 * 0.15) / 5)
    assert calibration_error([]) == 0.0
