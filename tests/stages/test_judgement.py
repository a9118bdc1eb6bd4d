"""Metrics with intervals, slices, duels, damage, leaks and overfitting, and the one record that a gate keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from orchestrator import pipeline, stage
from orchestrator.errors import ConfigError, NotFound
from stages.columns import column_floats
from stages.errors import DataRejected
from stages.features import Planned, fit_plan, transform
from stages.ingestion import dataset
from stages.metrics import Judged, mase, metric, metrics_of, ndcg, pinball
from stages.preprocessing import Split
from stages.rows import rows_digest
from stages.training import ModelFile, train_estimator
from stages.validation import (
    GateRecord,
    check_leakage,
    check_overfit,
    choose_threshold,
    duel,
    evaluate,
    find_slices,
    gate,
    judged,
    mcnemar,
    measured,
    stress,
)

seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def weak(loan_plan: Planned) -> ModelFile:
    params = {"n_estimators": 2, "num_leaves": 3}
    return train_estimator(loan_plan.table, loan_plan.plan, "dear", "lightgbm.LGBMClassifier", params).model


@settings(max_examples=30)
@given(seeds)
def test_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    y, p = random.integers(0, 2, 40).astype(float), random.random(40).round(1)
    y[:2] = 0, 1
    codes, each = random.integers(0, 3, 40).astype(float), random.dirichlet(np.ones(3), 40)
    codes[:3] = 0, 1, 2
    chosen, classes = p >= 0.5, each.argmax(axis=1)
    x, z = random.normal(size=40), random.normal(size=40)
    expected = {
        "auc": theirs.roc_auc_score(y, p),
        "average_precision": theirs.average_precision_score(y, p),
        "brier": theirs.brier_score_loss(y, p),
        "accuracy": theirs.accuracy_score(y, chosen),
        "f1": theirs.f1_score(y, chosen),
        "recall": theirs.recall_score(y, chosen),
        "matthews": theirs.matthews_corrcoef(y, chosen),
        "class_accuracy": theirs.accuracy_score(codes, classes),
        "balanced_accuracy": theirs.balanced_accuracy_score(codes, classes),
        "macro_f1": theirs.f1_score(codes, classes, average="macro"),
        "macro_auc": theirs.roc_auc_score(codes, each, multi_class="ovr"),
        "class_log_loss": theirs.log_loss(codes, each),
        "mae": theirs.mean_absolute_error(x, z),
        "rmse": theirs.root_mean_squared_error(x, z),
        "r2": theirs.r2_score(x, z),
    }
    rows = {"binary": Judged(y, p), "multiclass": Judged(codes, each), "regression": Judged(x, z)}
    for name, value in expected.items():
        found = metric(name).function(rows[metric(name).task])
        assert (0.0 if found is None else found) == pytest.approx(value), name
    assert pinball(0.3).function(rows["regression"]) == pytest.approx(theirs.mean_pinball_loss(x, z, alpha=0.3))
    gains = random.integers(0, 4, 40).astype(float)
    one = ndcg(5).function(Judged(gains, x))
    assert one == pytest.approx(theirs.ndcg_score([2**0 * gains], [x], k=5))
    halves = np.repeat([0, 1], 20)
    both = [theirs.ndcg_score([gains[halves == g]], [x[halves == g]], k=5) for g in (0, 1)]
    assert ndcg(5).function(Judged(gains, x, halves)) == pytest.approx(np.mean(both))


def test_a_seasonal_forecast_of_real_demand(tmp_path_factory: pytest.TempPathFactory) -> None:
    demand = dataset("fpp2", "elecdemand", directory=str(tmp_path_factory.mktemp("demand"))).column("Demand").to_numpy()
    history, future = demand[: -48 * 14], demand[-48 * 14 :]
    naive = np.tile(history[-48 * 7 :], 2)
    weekly = mase(history, season=48 * 7)
    found = weekly.function(Judged(future, naive))
    assert found == pytest.approx(np.abs(future - naive).mean() / np.abs(history[336:] - history[:-336]).mean())
    smape = metric("smape").function(Judged(future, naive))
    assert smape is not None
    assert 0 < smape < 0.2
    with pytest.raises(ConfigError, match="too short for a season of 48"):
        mase(history[:48], 48)
    with pytest.raises(ConfigError, match="repeats itself exactly"):
        mase(np.ones(10))
    with pytest.raises(ConfigError, match="Did you mean 'smape'"):
        metric("smap")


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(60):
        labels = random.normal(size=80)
        found = measured("mae", Judged(labels, np.zeros(80)), resamples=100, seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= np.sqrt(2 / np.pi) <= found.high
    assert 48 <= hits <= 60


def test_rows_that_belong_together_widen_intervals(loan_split: Split, loan_model: ModelFile) -> None:
    copies = pa.concat_tables([loan_split.test.slice(0, 500)] * 8)
    copies = copies.append_column("id", pa.array(list(range(500)) * 8))
    alone = measured("auc", judged(loan_model, copies)[1], 100)
    together = measured("auc", judged(loan_model, copies, ["id"])[1], 100)
    assert None not in (alone.low, alone.high, together.low, together.high)
    assert together.high - together.low > 2 * (alone.high - alone.low)  # type: ignore[operator]


def test_an_evaluation_measures_limits_and_slices(loan_split: Split, loan_model: ModelFile) -> None:
    found = evaluate(
        loan_model, loan_split.test, {"auc": 0.65, "brier": 0.1}, by=["homeownership"], slice_limit=0.5, resamples=50
    )
    assert {entry.metric for entry in found.overall} == {entry.name for entry in metrics_of("binary")}
    record = gate(found.findings)
    assert not record.passed
    assert record.reasons == [record.findings[1].why]
    assert "brier" in record.reasons[0]
    assert "is above 0.1" in record.reasons[0]
    assert len(record.findings) == 2 + 3
    first = record.findings[0]
    assert (first.check, first.relation, first.threshold, first.rows) == ("auc", ">=", 0.65, loan_split.test.num_rows)
    assert first.digest == rows_digest(loan_split.test)
    assert first.low is not None
    assert first.measured is not None
    assert first.low < first.measured < (first.high or 0)
    rent = loan_split.test.filter(pc.equal(loan_split.test.column("homeownership"), "RENT"))
    (piece,) = [entry for entry in found.slices if entry.name == "homeownership RENT"]
    assert piece.measured.value == pytest.approx(metric("auc").function(judged(loan_model, rent)[1]))
    close = {"auc": first.measured}
    assert gate(evaluate(loan_model, loan_split.test, close, resamples=50).findings).passed
    assert not gate(evaluate(loan_model, loan_split.test, close, sure=True, resamples=50).findings).passed
    with pytest.raises(ConfigError, match="'rmse' is for regression models; this one is binary"):
        evaluate(loan_model, loan_split.test, {"rmse": 1})
    with pytest.raises(NotFound, match="Did you mean 'homeownership'"):
        evaluate(loan_model, loan_split.test, by=["homeowner"])
    with pytest.raises(ConfigError, match="without findings"):
        gate([])


def test_a_planted_weak_slice_is_found_and_nothing_else(loan_split: Split, loan_model: ModelFile) -> None:
    columns = ["homeownership", "state", "term", "annual_income"]
    assert find_slices(loan_model, loan_split.test, columns, resamples=20).slices == []
    rows = loan_split.test
    hit = pc.and_(pc.equal(rows.column("homeownership"), "RENT"), pc.equal(rows.column("term"), 60))
    turned = pc.if_else(
        hit, pc.less(judged_probability(loan_model, rows), 0.5), pc.cast(rows.column("dear"), pa.bool_())
    )
    spoiled = rows.set_column(rows.column_names.index("dear"), "dear", pc.cast(turned, pa.int8()))
    found = find_slices(loan_model, spoiled, columns, limit=0, resamples=20)
    best = found.slices[0]
    assert set(best.slice.where) == {"homeownership", "term"}
    assert best.slice.where["homeownership"] == "RENT"
    assert best.slice.measured.rows == pc.sum(hit).as_py()
    assert best.p_value < 0.001
    assert best.loss > 1.1 * best.elsewhere
    assert not found.finding.passed
    assert found.tested > 50


def judged_probability(model: ModelFile, rows: pa.Table) -> pa.Array:
    return pa.array(model.predict(rows))


def test_a_duel_needs_the_whole_interval(loan_split: Split, loan_model: ModelFile, weak: ModelFile) -> None:
    won = duel(loan_model, weak, loan_split.test, resamples=100)
    lost = duel(weak, loan_model, loan_split.test, resamples=100)
    same = duel(weak, weak, loan_split.test, resamples=20)
    assert (won.finding.passed, lost.finding.passed, same.finding.passed) == (True, False, False)
    assert won.gain is not None
    assert won.gain == pytest.approx(-(lost.gain or 0))
    assert won.low == pytest.approx(-(lost.high or 0))
    assert (won.only_challenger, won.only_champion) == (lost.only_champion, lost.only_challenger)
    assert (same.gain, same.p_value) == (0, 1)
    assert duel(weak, weak, loan_split.test, margin=-0.01, resamples=20).finding.passed
    by_loss = duel(loan_model, weak, loan_split.test, metric="log_loss", resamples=50)
    assert by_loss.gain is not None
    assert by_loss.gain > 0


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_exact(one: int, other: int) -> None:
    expected = binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected)


def test_damage_is_measured_for_each_input(loan_split: Split, loan_model: ModelFile) -> None:
    found = stress(loan_model, loan_split.test, ["term", "state"], max_loss=0.03)
    assert [case.damage for case in found.cases] == ["noise", "nulls", "missing", "missing", "shuffled", "shuffled"]
    assert [case.column for case in found.cases if case.damage == "shuffled"] == ["term", "state"]
    assert not gate(found.findings).passed
    assert any("shuffled term" in why for why in gate(found.findings).reasons)
    assert stress(loan_model, loan_split.test, ["term"], seed=1) == stress(
        loan_model, loan_split.test, ["term"], seed=1
    )
    with pytest.raises(ConfigError, match=r"\['terms'\] are no inputs"):
        stress(loan_model, loan_split.test, ["terms"])


def test_a_model_that_refuses_gaps_is_told_so(loan_split: Split) -> None:
    planned = fit_plan(loan_split.train, [{"numbers": {"columns": ["term", "loan_amount"]}}], keep=["dear"])
    line = train_estimator(planned.table, planned.plan, "dear", "sklearn.linear_model.LogisticRegression").model
    found = stress(line, loan_split.test, damages=["missing"], max_loss=1)
    assert [case.value for case in found.cases] == [None, None]
    assert "the model refuses rows with missing" in gate(found.findings).reasons[0]


def test_leaks_are_found(loan_split: Split) -> None:
    train, test = loan_split.train, loan_split.test
    columns = ["term", "annual_income", "state", "installment", "emp_title", "loan_amount"]
    clean = check_leakage(train, test, "dear", columns)
    assert gate(clean.findings).passed
    assert clean.overlap == 0
    assert set(list(clean.alone)[:2]) == {"term", "installment"}
    leaky = pa.concat_tables([train, test.slice(0, 240)])
    found = check_leakage(leaky, test, "dear", [*columns, "interest_rate", "grade"], ["state"], "earliest_credit_line")
    assert found.overlap == pytest.approx(240 / test.num_rows)
    reasons = " | ".join(gate(found.findings).reasons)
    for part in (
        "also in training 0.060 is above 0",
        "state also in training 1.000",
        "interest_rate alone predicts dear with AUC 1.0",
        "grade alone",
        "training rows are not before",
    ):
        assert part in reasons
    rates = check_leakage(train, test, "interest_rate", ["grade", "term"], classifying=False, max_alone=0.9)
    assert "grade alone predicts interest_rate with R² 0.9" in gate(rates.findings).reasons[-1]
    with pytest.raises(DataRejected, match="The test table of check_leakage has no rows"):
        check_leakage(train, test.slice(0, 0), "dear", columns)


def test_overfitting_shows(loan_split: Split, loan_plan: Planned, weak: ModelFile) -> None:
    forest = {"n_estimators": 10}
    deep = train_estimator(
        loan_plan.table, loan_plan.plan, "dear", "sklearn.ensemble.RandomForestClassifier", forest
    ).model
    found = check_overfit(deep, loan_split.train, loan_split.test, max_gap=0.05, resamples=50)
    assert found.gap is not None
    assert found.gap > 0.2
    assert not found.finding.passed
    assert (found.low or 0) < found.gap < (found.high or 0)
    assert check_overfit(weak, loan_split.train, loan_split.test, max_gap=0.05, resamples=50).finding.passed


def test_thresholds_do_what_was_asked(loan_split: Split, loan_model: ModelFile) -> None:
    rows = loan_split.test.slice(0, 300)
    labels, said = column_floats(rows, "dear", ""), loan_model.predict(rows)
    precise = choose_threshold(loan_model, rows, "precision", 0.7)
    assert precise.precision >= 0.7
    assert precise.precision == pytest.approx(theirs.precision_score(labels, said >= precise.value))
    assert precise.recall == pytest.approx(theirs.recall_score(labels, said >= precise.value))
    best = choose_threshold(loan_model, rows, "f1")
    grid = [theirs.f1_score(labels, said >= line) for line in np.unique(said)]
    assert theirs.f1_score(labels, said >= best.value) == pytest.approx(max(grid))
    assert (
        choose_threshold(loan_model, rows, "cost", false_no=10).value < choose_threshold(loan_model, rows, "cost").value
    )
    with pytest.raises(DataRejected, match="No threshold gives a precision of 2"):
        choose_threshold(loan_model, rows, "precision", 2)
    with pytest.raises(ConfigError, match="takes a least"):
        choose_threshold(loan_model, rows, "recall")


def test_many_classes_and_numbers_are_judged_too(loan_split: Split, loan_plan: Planned) -> None:
    train = transform(loan_split.train, loan_plan.plan, keep=["grade", "interest_rate"])
    few = {"n_estimators": 10}
    grades = train_estimator(train, loan_plan.plan, "grade", "lightgbm.LGBMClassifier", few).model
    rates = train_estimator(train, loan_plan.plan, "interest_rate", "lightgbm.LGBMRegressor", few).model
    assert gate(evaluate(grades, loan_split.test, {"macro_auc": 0.55}, resamples=20).findings).passed
    assert gate(evaluate(rates, loan_split.test, {"r2": 0.05, "rmse": 5}, resamples=20).findings).passed
    find_slices(grades, loan_split.test, ["state"], resamples=10)
    find_slices(rates, loan_split.test, ["state"], resamples=10)
    assert stress(rates, loan_split.test, ["term"]).metric == "rmse"
    with pytest.raises(ConfigError, match="they cannot be compared"):
        duel(grades, rates, loan_split.test)
    with pytest.raises(ConfigError, match="Only a yes/no model has a threshold"):
        choose_threshold(rates, loan_split.test)


def test_findings_are_stored_without_a_pickle(
    loan_split: Split, loan_plan: Planned, loan_model: ModelFile, stored_codecs: Callable[[Any], set[str]]
) -> None:
    rows = loan_split.test.slice(0, 500)
    for value in (
        loan_plan,
        loan_model,
        evaluate(loan_model, rows, {"auc": 0.5}, by=["homeownership"], resamples=5),
        find_slices(loan_model, rows, ["homeownership"], resamples=5),
        duel(loan_model, loan_model, rows, resamples=5),
        stress(loan_model, rows, ["term"]),
        check_leakage(loan_split.train, rows, "dear", ["term"]),
        choose_threshold(loan_model, rows),
        gate([check_overfit(loan_model, loan_split.train, rows, resamples=5).finding]),
    ):
        assert "pickle" not in stored_codecs(value), type(value).__name__


def test_a_gate_in_a_pipeline_decides_what_follows(loans: pa.Table, loan_model: ModelFile) -> None:
    @stage
    def model() -> ModelFile:
        return loan_model

    @stage
    def rows() -> pa.Table:
        return loans.slice(0, 1000)

    @pipeline
    def job(least: float = 0.5) -> GateRecord:
        one, table = model(), rows()
        scores = evaluate(one, table, {"auc": least}, resamples=20)
        gap = check_overfit(one, table, table, max_gap=0.1, resamples=20)
        return gate([scores.findings, gap.finding])

    assert job.graph().nodes[-1].name == "gate"
    assert job().passed
    assert len(job(least=0.99).reasons) == 1
