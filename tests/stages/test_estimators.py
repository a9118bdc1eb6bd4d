"""Estimators by dotted name: what may be named, what is reported, and files that run no code."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from skops import io as skops

from orchestrator import pipeline, stage
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.context import StepContext, active
from stages.columns import column_floats
from stages.deployment import Predictor, model_to_payload
from stages.errors import DataRejected, RowRejected
from stages.features import Planned, fit_plan, transform
from stages.metrics import auc, log_losses
from stages.preprocessing import Split, split_stratified
from stages.training import (
    ModelFile,
    Trained,
    calibrate,
    cross_validate,
    make_folds,
    model_file_from_payload,
    train_estimator,
)
from stages.training.formats.skops_archive import sklearn_bytes
from stages.training.named import build

SMALL = [
    {"fill": {"columns": ["debt_to_income"]}},
    {"scale": {"columns": ["debt_to_income", "annual_income", "loan_amount", "term"]}},
    {"onehot": {"columns": ["homeownership"]}},
]


@pytest.fixture(scope="module")
def small(loan_split: Split) -> Planned:
    return fit_plan(loan_split.train.slice(0, 3000), SMALL, keep=["dear", "grade", "interest_rate", "state"])


@pytest.fixture(scope="module")
def held(loan_split: Split, small: Planned) -> pa.Table:
    return transform(loan_split.test.slice(0, 1500), small.plan, keep=["dear", "grade", "interest_rate"])


@pytest.mark.parametrize(
    ("name", "params", "target"),
    [
        ("sklearn.linear_model.LogisticRegression", {}, "dear"),
        ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 5, "max_depth": 5}, "grade"),
        ("sklearn.ensemble.HistGradientBoostingRegressor", {"max_iter": 5}, "interest_rate"),
        ("lightgbm.LGBMClassifier", {"n_estimators": 5}, "grade"),
        ("lightgbm.LGBMRegressor", {"n_estimators": 5, "min_data_in_leaf": 30}, "interest_rate"),
        ("xgboost.XGBClassifier", {"n_estimators": 5}, "dear"),
        ("xgboost.XGBClassifier", {"n_estimators": 5, "max_depth": 3}, "grade"),
        ("xgboost.XGBRegressor", {"n_estimators": 5}, "interest_rate"),
    ],
)
def test_any_estimator_is_trained_stored_and_served(
    small: Planned, held: pa.Table, loan_split: Split, name: str, params: dict[str, Any], target: str
) -> None:
    done = train_estimator(small.table, small.plan, target, name, params, validation=held)
    assert done == train_estimator(small.table, small.plan, target, name, params, validation=held)
    model = done.model
    assert done.score is not None
    chance = {"auc": 0.5, "class_log_loss": np.log(7), "rmse": pc.stddev(held.column("interest_rate")).as_py()}[
        done.metric
    ]
    assert done.score > chance + 0.1 if done.metric == "auc" else done.score < chance
    server = Predictor(model_to_payload(model))
    assert server.model == model
    rows = loan_split.test.slice(0, 5).select(list(small.plan.inputs))
    answers = server.predict(rows.to_pylist())
    predicted = model.predict(rows)
    if model.task == "multiclass":
        assert [answer["label"] for answer in answers] == [model.classes[i] for i in predicted.argmax(axis=1)]
        assert [list(answer["probabilities"].values()) for answer in answers] == predicted.tolist()
        assert model.classes == list("ABCDEFG")
    else:
        assert [next(iter(answer.values())) for answer in answers] == predicted.tolist()
    assert server.predict([]) == []
    with pytest.raises(RowRejected, match="lacks the input"):
        server.predict([{"term": 36}])


def test_a_file_predicts_as_the_estimator_does(small: Planned) -> None:
    inputs = np.column_stack([small.table.column(name).to_numpy() for name in small.plan.names])
    labels = small.table.column("dear").to_numpy()
    for name in ("sklearn.linear_model.LogisticRegression", "lightgbm.LGBMClassifier", "xgboost.XGBClassifier"):
        params = {} if name.startswith("sklearn") else {"n_estimators": 5}
        theirs = build(name, params).fit(inputs, labels).predict_proba(inputs)[:, 1]
        ours = train_estimator(small.table, small.plan, "dear", name, params).model.predict_encoded(inputs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", ["lightgbm.LGBMClassifier", "xgboost.XGBClassifier"])
def test_training_stops_early_and_reports_each_round(small: Planned, held: pa.Table, name: str) -> None:
    reported: list[dict[str, float]] = []
    params = {"n_estimators": 150, "learning_rate": 0.5}
    with active(StepContext("run", "train", on_report=lambda metrics: reported.append(dict(metrics)))):
        done = train_estimator(small.table, small.plan, "dear", name, params, validation=held, early_stopping_rounds=5)
    assert done.rounds is not None
    assert len(done.curve) == done.rounds + 5 < 150
    assert int(np.argmin(done.curve)) + 1 == done.rounds
    assert [point["round"] for point in reported[:-1]] == list(range(1, len(done.curve) + 1))
    assert reported[-1] == {"auc": done.score}
    labels = held.column("dear").to_numpy().astype(float)
    encoded = np.column_stack([column_floats(held, column, "") for column in small.plan.names])
    loss = log_losses(labels, done.model.predict_encoded(encoded)).mean()
    assert loss == pytest.approx(min(done.curve), rel=1e-4)


def test_class_weights_move_probabilities(small: Planned) -> None:
    rare = small.table.append_column("rare", pc.cast(pc.equal(small.table.column("grade"), "E"), pa.int8()))

    def mean(**more: Any) -> float:
        found = train_estimator(rare, small.plan, "rare", "sklearn.linear_model.LogisticRegression", **more)
        matrix = np.column_stack([column_floats(rare, name, "") for name in small.plan.names])
        return float(found.model.predict_encoded(matrix).mean())

    share = pc.mean(rare.column("rare")).as_py()
    assert mean() == pytest.approx(share, abs=0.01)
    assert mean(class_weight="balanced") > 4 * share
    assert mean(class_weight={"0": 1, "1": 3}) > 1.5 * share
    with pytest.raises(ConfigError, match=r"classes \['1'\] have no weight"):
        mean(class_weight={"0": 1})
    with pytest.raises(DataRejected, match="Weight column 'minus' is missing or negative in rows"):
        train_estimator(
            small.table.append_column("minus", pa.array([-1.0] * small.table.num_rows)),
            small.plan, "dear", "sklearn.linear_model.LogisticRegression", weight="minus",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("os.system", {}, "not the dotted name of an estimator that may be trained: sklearn"),
        ("sklearnx.linear_model.Ridge", {}, "not the dotted name"),
        ("sklearn", {}, "not the dotted name"),
        ("sklearn.linear_model.Rigde", {}, "no estimator 'Rigde'. Did you mean 'Ridge'"),
        ("sklearn.linear_modell.Ridge", {}, "cannot be imported"),
        ("sklearn.datasets.load_iris", {}, "no estimator 'load_iris'"),
        ("sklearn.preprocessing.StandardScaler", {}, "no estimator 'StandardScaler'"),
        ("sklearn.linear_model.Ridge", {"alhpa": 1}, "no parameter 'alhpa'. Did you mean 'alpha'"),
        ("lightgbm.LGBMClassifier", {"num_leafs": 3}, "Did you mean 'num_leaves'"),
        ("xgboost.XGBClassifier", {"etaa": 3}, "has no parameter 'etaa'"),
        ("sklearn.linear_model.LogisticRegression", {"C": -1}, "refuses its parameters or rows"),
        ("lightgbm.LGBMClassifier", {"num_leaves": 1}, "refuses its parameters or rows"),
        ("xgboost.XGBClassifier", {"max_depth": -3}, "refuses its parameters or rows"),
        ("sklearn.cluster.KMeans", {}, "predicts neither classes nor numbers"),
        ("lightgbm.LGBMRanker", {}, "predicts neither classes nor numbers"),
        ("sklearn.svm.LinearSVC", {}, "gives no probabilities"),
        ("sklearn.ensemble.BaggingClassifier", {"estimator": {"estimator": "os.path"}}, "not the dotted name"),
    ],
)
def test_what_cannot_be_trained_is_refused(small: Planned, name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_estimator(small.table, small.plan, "dear", name, params)


def test_an_estimator_may_hold_another(small: Planned) -> None:
    inner = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 2}}
    done = train_estimator(
        small.table, small.plan, "dear", "sklearn.ensemble.BaggingClassifier", {"n_estimators": 2, "estimator": inner}
    )
    assert done.model.format == "skops"


def test_targets_and_inputs_that_cannot_be_learned_from_are_named(small: Planned, held: pa.Table) -> None:
    name = "sklearn.linear_model.LogisticRegression"
    table = small.table
    with pytest.raises(DataRejected, match=r"'dear' holds a single class, 1\.0, in all"):
        train_estimator(table.filter(pc.equal(table.column("dear"), 1)), small.plan, "dear", name)
    with pytest.raises(NotFound, match="Did you mean 'dear'"):
        train_estimator(table, small.plan, "deer", name)
    with pytest.raises(DataRejected, match="has no rows"):
        train_estimator(table.slice(0, 0), small.plan, "dear", name)
    gone = table.set_column(0, table.column_names[0], pa.array([None, 1.0, float("inf")] * 1000))
    with pytest.raises(
        DataRejected, match=r"no missing or infinite values, but 'debt_to_income' has some in rows 0, 2"
    ):
        train_estimator(gone, small.plan, "dear", name)
    rates = table.set_column(
        table.column_names.index("interest_rate"), "interest_rate", pa.array([float("inf")] * 3000)
    )
    with pytest.raises(DataRejected, match="'interest_rate' is infinite in rows 0, 1"):
        train_estimator(rates, small.plan, "interest_rate", "sklearn.linear_model.Ridge")
    few = table.filter(pc.not_equal(table.column("grade"), "B"))
    with pytest.raises(DataRejected, match=r"'grade' holds B in rows .* which training did not see"):
        train_estimator(few, small.plan, "grade", "lightgbm.LGBMClassifier", {"n_estimators": 2}, validation=held)
    with pytest.raises(ConfigError, match="needs a validation table"):
        train_estimator(table, small.plan, "dear", "lightgbm.LGBMClassifier", early_stopping_rounds=3)
    with pytest.raises(ConfigError, match="its own parameters"):
        train_estimator(table, small.plan, "dear", name, validation=held, early_stopping_rounds=3)


def test_files_that_hold_code_are_not_loaded(small: Planned) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("loaded",)

    with pytest.raises(ConfigError, match="not trusted to be loaded"):
        sklearn_bytes(Trap())
    model = train_estimator(small.table, small.plan, "dear", "sklearn.linear_model.LogisticRegression").model
    foreign = dataclasses.replace(model, data=skops.dumps(np.random.default_rng))
    with pytest.raises(ConfigError, match="not trusted to be loaded: "):
        foreign.predict_encoded(np.zeros((1, len(small.plan.names))))
    for kind, message in (("skops", "no skops file"), ("lightgbm", "no LightGBM text"), ("xgboost", "no XGBoost UBJ")):
        broken = dataclasses.replace(model, format=kind, data=pickle.dumps([1.0]))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=message):
            broken.predict_encoded(np.zeros((1, len(small.plan.names))))
    assert b"pickle" not in zipfile.ZipFile(io.BytesIO(model.data)).read("schema.json")
    document = json.loads(model_to_payload(model))
    document["features"]["steps"][0]["is"] = "Popen"
    with pytest.raises(ConfigError, match="'Popen'"):
        model_file_from_payload(json.dumps(document).encode())
    with pytest.raises(ConfigError, match="no model that"):
        Predictor(b'{"format": "stages.model_file/1"}')


def test_folds_keep_their_promises(loans: pa.Table) -> None:
    for folds in (
        make_folds(loans, folds=4),
        make_folds(loans, "stratified", 4, ["grade"]),
        make_folds(loans, "group", 4, ["state"]),
    ):
        judged = np.concatenate([test for _, test in folds])
        assert sorted(judged.tolist()) == list(range(loans.num_rows))
        for train, test in folds:
            assert len(train) + len(test) == loans.num_rows
            assert 0.15 < len(test) / loans.num_rows < 0.35
    states = np.array(loans.column("state").to_pylist())
    for train, test in make_folds(loans, "group", 4, ["state"]):
        assert not set(states[train]) & set(states[test])
    years = loans.column("earliest_credit_line").to_numpy()
    last = -1
    for train, test in make_folds(loans, "time", 4, ["earliest_credit_line"], gap=10):
        assert years[train].max() <= years[test].min()
        assert len(train) > last
        last = len(train)
    with pytest.raises(ConfigError, match="time folds need one column"):
        make_folds(loans, "time", 4)
    with pytest.raises(DataRejected, match="too few groups for 5 folds: 1"):
        make_folds(loans.slice(0, 10).append_column("g", pa.array(["x"] * 10)), "group", 5, ["g"])


def test_cross_validation_fits_features_inside_each_fold(loans: pa.Table) -> None:
    """Target means of a column of unique values would tell every answer, were they fitted outside of the folds."""
    table = loans.select(["dear", "loan_amount"]).slice(0, 1200)
    table = table.append_column("id", pa.array([str(i) for i in range(table.num_rows)]))
    steps = [
        {"numbers": {"columns": ["loan_amount"]}},
        {"target_means": {"columns": ["id"], "target": "dear", "smoothing": 1}},
    ]
    reported: list[dict[str, float]] = []
    with active(StepContext("run", "cv", on_report=lambda metrics: reported.append(dict(metrics)))):
        found = cross_validate(table, steps, "dear", "sklearn.tree.DecisionTreeClassifier", {"max_depth": 3}, folds=3)
    assert found.mean["auc"] < 0.65
    assert [point["fold"] for point in reported] == [1, 2, 3]
    assert found.predictions.column("row").to_pylist() == list(range(1200))
    labels, said = column_floats(table, "dear", ""), column_floats(found.predictions, "prediction", "")
    for fold, entry in enumerate(found.folds):
        mine = found.predictions.column("fold").to_numpy() == fold
        assert entry.scores["auc"] == auc(labels[mine], said[mine])
    assert found.mean["auc"] == pytest.approx(np.mean([entry.scores["auc"] for entry in found.folds]))


@pytest.mark.parametrize("method", ["isotonic", "sigmoid"])
def test_calibration_mends_probabilities_that_say_too_much(loan_split: Split, small: Planned, method: Any) -> None:
    forest = {"n_estimators": 10, "min_samples_leaf": 1}
    model = train_estimator(small.table, small.plan, "dear", "sklearn.ensemble.RandomForestClassifier", forest).model
    halves = split_stratified(loan_split.test, ["dear"], 0.5)
    done = calibrate(model, halves.train, method)
    labels = column_floats(halves.test, "dear", "")
    before, after = (log_losses(labels, m.predict(halves.test)).mean() for m in (model, done.model))
    assert after < before
    assert (np.diff(done.model.predict(halves.test)[np.argsort(model.predict(halves.test))]) >= -1e-12).all()
    assert Predictor(model_to_payload(done.model)).model == done.model
    with pytest.raises(ConfigError, match="is calibrated already"):
        calibrate(done.model, halves.train)


def test_the_library_composes_in_a_pipeline(loans: pa.Table) -> None:
    @stage
    def some_loans() -> pa.Table:
        return loans.slice(0, 400)

    @pipeline
    def job() -> Trained:
        split = split_stratified(some_loans(), ["dear"])
        planned = fit_plan(split.train, SMALL, keep=["dear"])
        held = transform(split.test, planned.plan, keep=["dear"])
        name = "sklearn.linear_model.LogisticRegression"
        return train_estimator(planned.table, planned.plan, "dear", name, validation=held)

    assert [node.name for node in job.graph().nodes] == [
        "some_loans", "split_stratified", "fit_plan", "transform", "train_estimator",
    ]  # fmt: skip
    assert isinstance(job().model, ModelFile)
