"""Training: deterministic, honest about its held-out rows, and stored as text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from orchestrator.errors import NotFound
from orchestrator.graph.context import StepContext, active
from stages.columns import column_floats
from stages.errors import DataRejected
from stages.features import Features, fit_features, transform
from stages.metrics import auc
from stages.pipelines.flights import NUMBERS, TARGET
from stages.training import Fitted, train_boosted, train_logistic
from stages.training.model import fitted_rows, logistic


@pytest.fixture(scope="module")
def encoded(months: Sequence[pa.Table], features: Features) -> pa.Table:
    return transform(pa.concat_tables(months[:2]), features, keep=[TARGET])


@pytest.fixture(scope="module")
def line(months: Sequence[pa.Table]) -> tuple[pa.Table, Features]:
    train = pa.concat_tables(months[:2])
    features = fit_features(train, ["carrier"], NUMBERS, onehot=True, impute=True, scale=True)
    return transform(train, features, keep=[TARGET]), features


def test_equal_seeds_give_equal_models_whatever_the_threads(encoded: pa.Table, features: Features) -> None:
    def trained(seed: int, num_threads: int) -> Fitted:
        return train_boosted(encoded, features, TARGET, trees=5, feature_share=0.5, seed=seed, num_threads=num_threads)

    first = trained(seed=1, num_threads=1)
    assert trained(seed=1, num_threads=2) == first
    assert trained(seed=2, num_threads=1).model.text != first.model.text


def test_the_model_ranks_a_later_month_better_than_chance(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    may = months[2].filter(months[2].column(TARGET).is_valid())
    found = auc(column_floats(may, TARGET, "May"), fitted.model.predict(may))
    assert found is not None
    assert found > 0.7


def test_figures_are_those_of_the_last_rows(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    train = pa.concat_tables(months[:2])
    known = train.filter(train.column(TARGET).is_valid())
    assert fitted.rows == fitted_rows(known.num_rows, 0.1) == known.num_rows - round(known.num_rows * 0.1)
    last = known.slice(fitted.rows)
    assert fitted.auc == auc(column_floats(last, TARGET, "last"), fitted.model.predict(last))
    assert fitted.curve[-1] == pytest.approx(fitted.log_loss)
    assert len(fitted.curve) == 30


def test_the_loss_falls_on_rows_like_those_fitted_on(encoded: pa.Table, features: Features) -> None:
    mixed = encoded.take(pa.array(np.random.default_rng(0).permutation(encoded.num_rows)))
    curve = train_boosted(mixed, features, TARGET, trees=30).curve
    assert curve[0] > curve[9] > curve[19] > curve[29]


def test_importance_is_shared_among_raw_inputs(fitted: Fitted, features: Features) -> None:
    assert sum(fitted.importance.values()) == pytest.approx(1)
    assert set(fitted.importance) == set(features.inputs)
    assert list(fitted.importance.values()) == sorted(fitted.importance.values(), reverse=True)


def test_the_learning_curve_is_reported(encoded: pa.Table, features: Features) -> None:
    reported: list[dict[str, float]] = []
    context = StepContext("run", "train_boosted", on_report=lambda metrics: reported.append(dict(metrics)))
    with active(context):
        done = train_boosted(encoded, features, TARGET, trees=25)
    assert [point["tree"] for point in reported] == [10, 20, 25]
    assert [point["log_loss"] for point in reported] == [done.curve[9], done.curve[19], done.curve[24]]


def test_prediction_needs_no_target_and_knows_unseen_categories(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    row = months[3].slice(5, 1).drop_columns([TARGET, "arr_delay", "dep_delay"])
    strange = row.set_column(row.column_names.index("carrier"), "carrier", pa.array(["??"]))
    for table in (row, strange):
        (probability,) = fitted.model.predict(table)
        assert 0 < probability < 1
    with pytest.raises(NotFound, match="The table to predict 'late' for has no column 'pressure'"):
        fitted.model.predict(row.drop_columns(["pressure"]))


def test_no_delay_is_among_the_inputs(fitted: Fitted) -> None:
    assert not {"dep_delay", "arr_delay", "dep_time", "arr_time", "air_time"} & set(fitted.model.features.inputs)


def test_the_logistic_model_equals_scikit_learn(line: tuple[pa.Table, Features]) -> None:
    table, features = line
    fitted = train_logistic(table, features, TARGET)
    known = table.filter(table.column(TARGET).is_valid())
    inputs = np.column_stack([known.column(name).to_numpy() for name in features.names])
    labels = column_floats(known, TARGET, "t")
    reference = LogisticRegression(max_iter=200).fit(inputs[: fitted.rows], labels[: fitted.rows])
    np.testing.assert_allclose(fitted.model.predict_encoded(inputs), reference.predict_proba(inputs)[:, 1])
    assert sum(fitted.importance.values()) == pytest.approx(1)
    assert set(json.loads(fitted.model.text)) == {"coefficients", "intercept"}


def test_the_logistic_function_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_allclose(logistic(np.array([-1e4, 0.0, 1e4])), [0, 0.5, 1])


def test_targets_that_are_none_are_refused(
    encoded: pa.Table, features: Features, line: tuple[pa.Table, Features]
) -> None:
    with pytest.raises(NotFound, match="Did you mean 'late'"):
        train_boosted(encoded, features, "lat")
    ones = encoded.set_column(encoded.column_names.index(TARGET), TARGET, pa.array([1] * encoded.num_rows))
    with pytest.raises(DataRejected, match=r"must hold both 0 and 1 and nothing else; it holds \[1.0\]"):
        train_boosted(ones, features, TARGET)
    with pytest.raises(DataRejected, match=r"takes no missing values, but \['.*use impute=True"):
        train_logistic(encoded, features, TARGET)
