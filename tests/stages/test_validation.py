"""The gate: it passes what is good enough, says why not, and compares models fairly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.errors import NotFound
from stages.columns import column_floats
from stages.features import fit_features, transform
from stages.metrics import auc
from stages.pipelines.flights import TARGET
from stages.training import Fitted, Model, train_logistic
from stages.validation import validate


@pytest.fixture(scope="module")
def simple(months: Sequence[pa.Table]) -> Model:
    train = pa.concat_tables(months[:2])
    features = fit_features(train, ["carrier"], onehot=True)
    return train_logistic(transform(train, features, keep=[TARGET]), features, TARGET).model


def test_a_good_model_passes_with_scores_and_slices(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    may = months[2]
    report = validate(fitted.model, may, min_auc=0.7, max_calibration_error=0.15, by="carrier")
    assert report.passed
    assert report.reasons == []
    known = may.filter(may.column(TARGET).is_valid())
    labels, probabilities = column_floats(known, TARGET, "May"), fitted.model.predict(known)
    assert report.overall.rows == known.num_rows == sum(entry.rows for entry in report.slices)
    assert report.overall.auc == auc(labels, probabilities)
    assert report.overall.actual == pytest.approx(labels.mean())
    united = known.column("carrier").to_numpy(zero_copy_only=False) == "UA"
    (found,) = [entry for entry in report.slices if entry.name == "UA"]
    assert found.auc == auc(labels[united], probabilities[united])
    assert sum(entry.rows for entry in report.calibration) == known.num_rows


def test_every_broken_limit_is_a_reason(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    report = validate(
        fitted.model,
        months[2],
        min_auc=0.99,
        max_calibration_error=0.0,
        by="carrier",
        min_slice_rows=1000,
        min_slice_auc=0.98,
    )
    assert not report.passed
    judged = [entry for entry in report.slices if entry.rows >= 1000]
    assert len(report.reasons) == 2 + len(judged) > 3
    assert "is below 0.99" in report.reasons[0]
    assert "calibration error" in report.reasons[1]
    assert f"of carrier {judged[0].name} is below 0.98" in report.reasons[2]
    assert "gate refused: AUC" in str(report)


def test_a_better_model_beats_the_champion_and_not_the_other_way(
    fitted: Fitted, simple: Model, months: Sequence[pa.Table]
) -> None:
    won = validate(fitted.model, months[2], champion=simple, cluster="day")
    lost = validate(simple, months[2], champion=fitted.model, cluster="day")
    assert won.passed
    assert won.comparison is not None
    assert lost.comparison is not None
    assert 0 < won.comparison.low < won.comparison.auc_gain < won.comparison.high
    assert won.comparison.auc_gain == pytest.approx(-lost.comparison.auc_gain)
    assert won.comparison.low == pytest.approx(-lost.comparison.high)
    assert not lost.passed
    assert "not surely better than the champion's" in lost.reasons[0]


def test_a_model_does_not_beat_itself(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    report = validate(fitted.model, months[2], champion=fitted.model)
    assert not report.passed
    assert report.comparison is not None
    assert (report.comparison.low, report.comparison.auc_gain, report.comparison.high) == (0, 0, 0)


def test_rows_that_belong_together_widen_the_interval(
    fitted: Fitted, simple: Model, months: Sequence[pa.Table]
) -> None:
    alone = validate(fitted.model, months[2], champion=simple).comparison
    days = validate(fitted.model, months[2], champion=simple, cluster="day").comparison
    assert alone is not None
    assert days is not None
    assert days.high - days.low > 1.3 * (alone.high - alone.low)


def test_a_slice_without_a_name_is_a_slice(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    may = months[2].slice(0, 600)
    names = np.array(["a"] * 500 + [None] * 100, dtype=object)
    report = validate(fitted.model, may.append_column("group", pa.array(names)), by="group")
    assert {entry.name for entry in report.slices} == {"a", "None"}


def test_a_missing_slice_column_is_named(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    with pytest.raises(NotFound, match="Did you mean 'carrier'"):
        validate(fitted.model, months[2], by="carier")
