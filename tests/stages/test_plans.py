"""Feature plans: one artifact, the same numbers in training and serving, and no answer leaked into a feature."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from orchestrator.errors import ConfigError, NotFound
from stages.columns import column_floats
from stages.deployment import Predictor
from stages.errors import DataRejected
from stages.features import (
    Planned,
    encoding_from_document,
    encoding_to_document,
    fit_dates,
    fit_frequency,
    fit_hashed,
    fit_key_statistics,
    fit_onehot,
    fit_ordinal,
    fit_plan,
    fit_selection,
    fit_target_means,
    fit_tfidf,
    mutual_information,
    transform,
)
from stages.features.plan import PlanStep
from stages.metrics import auc
from stages.preprocessing import Split
from stages.training import ModelFile, model_file_to_payload, train_estimator

CITIES = pa.table({"city": ["a", "b", "a", None, "c", "a"], "y": [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]})


def test_serving_rows_encode_as_training_rows_did(loan_split: Split, loan_plan: Planned, loan_model: ModelFile) -> None:
    """Row by row over JSON, as a server gets them; all but the out-of-fold means, which differ by design."""
    rows = loan_split.train.slice(0, 60)
    served = Predictor(model_file_to_payload(loan_model))
    sent = json.loads(json.dumps(rows.select(list(loan_plan.plan.inputs)).to_pylist()))
    for position, row in enumerate(sent):
        alone = served.model.features.encode(served.to_table([row]))[0]
        for name, value in zip(loan_plan.plan.names, alone, strict=True):
            trained = loan_plan.table.column(name)[position].as_py()
            if not name.endswith("state.mean"):
                assert (np.isnan(value) and trained is None) or value == trained, name
    answers = [answer["probability"] for answer in served.predict(sent)]
    assert answers == loan_model.predict(rows).tolist()


def test_times_of_real_departures_encode_alike_from_text(months: Sequence[pa.Table]) -> None:
    known = months[0].filter(months[0].column("late").is_valid())
    steps: list[PlanStep] = [
        {"dates": {"columns": ["departure"], "parts": ["hour", "weekday", "hour_sin"]}},
        {"onehot": {"columns": ["carrier", "origin"]}},
        {"scale": {"columns": ["temp", "wind_speed"]}},
    ]
    planned = fit_plan(known, steps, keep=["late"])
    model = train_estimator(planned.table, planned.plan, "late", "xgboost.XGBClassifier", {"n_estimators": 5}).model
    rows = known.slice(0, 40).select(list(planned.plan.inputs)).to_pylist()
    sent = [{**row, "departure": row["departure"].isoformat()} for row in rows]
    served = Predictor(model_file_to_payload(model))
    encoded = served.model.features.encode(served.to_table(sent))
    trained = np.column_stack([column_floats(planned.table, name, "") for name in planned.plan.names])[:40]
    np.testing.assert_array_equal(encoded, trained)
    assert [answer["probability"] for answer in served.predict(sent)] == model.predict(known.slice(0, 40)).tolist()


def test_transform_and_plan_agree_on_new_rows(loan_split: Split, loan_plan: Planned) -> None:
    encoded = transform(loan_split.test, loan_plan.plan, keep=["dear"])
    assert encoded.column_names == [*loan_plan.plan.names, "dear"]
    again = loan_plan.plan.apply(loan_split.test)
    for name in loan_plan.plan.names:
        np.testing.assert_array_equal(column_floats(encoded, name, ""), column_floats(again, name, ""), err_msg=name)


def test_a_plan_is_stored_and_sent_as_data(
    loans: pa.Table, loan_steps: list[PlanStep], stored_codecs: Callable[[Any], set[str]]
) -> None:
    plan = fit_plan(loans.slice(0, 2000), loan_steps).plan
    assert encoding_from_document(json.loads(json.dumps(encoding_to_document(plan)))) == plan
    assert "pickle" not in stored_codecs(plan)
    with pytest.raises(ConfigError, match="'Popen'"):
        encoding_from_document({"is": "Popen", "args": ["true"]})


def test_a_target_mean_never_saw_its_own_row() -> None:
    """A column of unique values says nothing; encoded with its own rows' targets it would say everything."""
    random = np.random.default_rng(0)
    table = pa.table({"id": [str(i) for i in range(600)], "y": random.integers(0, 2, 600).astype(float)})
    means = fit_target_means(table, ["id"], "y", smoothing=1)
    leaked = auc(table.column("y").to_numpy(), column_floats(means.apply(table), "id.mean", ""))
    honest = auc(table.column("y").to_numpy(), column_floats(means.training(table), "id.mean", ""))
    assert leaked == 1.0
    assert honest is not None
    assert honest < 0.6


def test_changing_a_rows_target_leaves_its_own_target_mean_alone(loans: pa.Table) -> None:
    table = loans.select(["state", "dear"]).slice(0, 500)
    labels = table.column("dear").to_numpy().astype(float)
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    other = table.set_column(1, "dear", pa.array(changed))
    one, two = (fit_target_means(t, ["state"], "dear", seed=3).training(t) for t in (table, other))
    before, after = (column_floats(t, "state.mean", "") for t in (one, two))
    assert before[7] == after[7]
    assert (before != after).any()


def test_target_means_are_smoothed_and_missing_values_get_the_overall_mean() -> None:
    means = fit_target_means(CITIES, ["city"], "y", smoothing=2, folds=2)
    encoded = means.apply(pa.table({"city": ["a", "new", None]})).column("city.mean").to_pylist()
    assert encoded == pytest.approx([(2 + 2 * 0.5) / (3 + 2), 0.5, 0.5])


def test_groups_stay_in_one_fold() -> None:
    """The target of every row of a group follows from the others of the group; out of fold it must not."""
    random = np.random.default_rng(1)
    group = np.repeat(np.arange(100), 5)
    table = pa.table({"g": [str(i) for i in group], "y": random.integers(0, 2, 100).astype(float)[group]})
    by_group = fit_target_means(table, ["g"], "y", groups=["g"]).training(table)
    found = auc(table.column("y").to_numpy(), column_floats(by_group, "g.mean", ""))
    assert found is not None
    assert found < 0.6


def test_unseen_categories_follow_the_policy() -> None:
    new = pa.table({"city": ["b", "zz", None]})
    zero = fit_onehot(CITIES, ["city"]).apply(new)
    assert [zero.column(f"city={v}").to_pylist() for v in "abc"] == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    other = fit_onehot(CITIES, ["city"], unseen="other", min_rows=2).apply(new)
    assert other.column("city=(other)").to_pylist() == [1, 1, 0]
    for fitted in (fit_onehot(CITIES, ["city"], unseen="error"), fit_ordinal(CITIES, ["city"], unseen="error")):
        with pytest.raises(DataRejected, match="'city' holds 'zz' in row 1, which training did not see"):
            fitted.apply(new)


def test_ranks_shares_hashes_and_key_statistics() -> None:
    new = pa.table({"city": ["a", "zz", None]})
    ranks = fit_ordinal(CITIES, ["city"], order={"city": ["c", "b", "a"]}).apply(new)
    assert ranks.column("city.rank").to_pylist() == [2, -1, -1]
    assert fit_frequency(CITIES, ["city"]).apply(new).column("city.share").to_pylist() == [0.5, 0, 0]
    hashed = fit_hashed(CITIES, ["city"], 3).apply(new)
    assert [sum(hashed.column(f"city#{b}")[row].as_py() for b in range(3)) for row in range(3)] == [1, 1, 0]
    means = fit_key_statistics(CITIES, "city", "y").apply(new)
    assert means.column("y.mean.city").to_pylist() == pytest.approx([2 / 3, 0.4, 0.4])
    with pytest.raises(ConfigError, match="lacks 'c'"):
        fit_ordinal(CITIES, ["city"], order={"city": ["a", "b"]})


def test_calendar_parts_of_real_departures(months: list[pa.Table]) -> None:
    dates = fit_dates(months[0], ["departure"], ["hour", "hour_sin", "hour_cos"])
    made = dates.apply(months[0].slice(0, 50))
    sine, cosine = (column_floats(made, f"departure.hour_{part}", "") for part in ("sin", "cos"))
    np.testing.assert_allclose(sine**2 + cosine**2, 1)
    assert made.column("departure.hour")[0].as_py() == made.column("departure")[0].as_py().hour + (
        made.column("departure")[0].as_py().minute / 60
    )


def test_tfidf_weighs_as_scikit_learn_does(loans: pa.Table) -> None:
    titles = loans.slice(0, 300).select(["emp_title"]).drop_null()
    fitted = fit_tfidf(titles, "emp_title", min_rows=3, logarithmic=False)
    texts = titles.column("emp_title").to_pylist()
    theirs = TfidfVectorizer(vocabulary=fitted.words, token_pattern=r"[^\W_]+(?:['\u2019][^\W_]+)*").fit_transform(
        texts
    )
    made = fitted.apply(titles)
    mine = np.column_stack([column_floats(made, name, "") for name in fitted.makes])
    np.testing.assert_allclose(mine, theirs.toarray(), atol=1e-12)
    hashed = fit_tfidf(titles, "emp_title", buckets=8)
    assert len(hashed.makes) == 8
    with pytest.raises(DataRejected, match="none of them in at least 300 rows"):
        fit_tfidf(titles, "emp_title", min_rows=300)


def test_selection_says_why(loans: pa.Table) -> None:
    table = loans.append_column("constant", pa.array([1.0] * loans.num_rows))
    columns = ["installment", "loan_amount", "interest_rate", "constant", "num_accounts_30d_past_due"]
    kept = fit_selection(table, columns, max_correlation=0.9, target="dear", min_information=0.001)
    assert kept.columns == ["installment", "interest_rate"] or kept.columns == ["loan_amount", "interest_rate"]
    assert "variance 0 is not above 0" in kept.dropped["constant"]
    assert any("correlates 0.9" in why for why in kept.dropped.values())
    assert "fewer than 0.001" in kept.dropped["num_accounts_30d_past_due"]
    assert kept.information["interest_rate"] > 0.9 > kept.information["loan_amount"]
    assert kept.apply(table).num_columns == table.num_columns - 3


def test_information_of_chance_is_about_none() -> None:
    random = np.random.default_rng(0)
    assert mutual_information(random.normal(size=5000), random.normal(size=5000)) < 0.01
    exact = random.integers(0, 4, 5000).astype(float)
    assert mutual_information(exact, exact) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([{"onehott": {"columns": ["city"]}}], ConfigError, "no fitter 'onehott'. Did you mean 'onehot'"),
        ([{"onehot": {"column": ["city"]}}], ConfigError, "onehot takes no 'column'. Did you mean 'columns'"),
        ([{"onehot": {}}], ConfigError, "missing a required argument: 'columns'"),
        ([{"onehot": {"columns": ["city"]}, "scale": {}}], ConfigError, "must be one fitter"),
        ([{"onehot": {"columns": "city"}}], ConfigError, "columns of onehot are a list of names, not 'city'"),
        ([{"onehot": {"columns": ["citty"]}}], NotFound, "no column 'citty'. Did you mean 'city'"),
        ([{"onehot": {"columns": ["y"]}}], DataRejected, "'y' holds double; text is needed"),
        ([{"wording": {"columns": ["city"]}}], DataRejected, "no numeric column"),
        ([{"target_means": {"columns": ["city"], "target": "y", "folds": 9}}], DataRejected, "too few for 9 folds"),
    ],
)
def test_a_wrong_plan_is_refused(
    steps: list[dict[str, dict[str, object]]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit_plan(CITIES, steps)


def test_empty_and_null_tables_are_refused() -> None:
    nulls = pa.table({"city": pa.array([None, None], pa.string())})
    with pytest.raises(DataRejected, match="'city' holds no value to learn from in 2 rows"):
        fit_onehot(nulls, ["city"])
    with pytest.raises(DataRejected, match="has no rows"):
        fit_onehot(nulls.slice(0, 0), ["city"])
    with pytest.raises(NotFound, match="no column 'city'"):
        fit_plan(CITIES, [{"onehot": {"columns": ["city"]}}]).plan.encode(pa.table({"town": ["a"]}))
