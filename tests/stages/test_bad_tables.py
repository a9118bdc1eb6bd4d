"""Tables that are not what a stage expects: each is worked with, or refused by an error that names the column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from orchestrator.errors import UserError
from stages.features import (
    add_lags,
    add_rolling,
    aggregate,
    fit_features,
    fit_frequency,
    fit_hashed,
    fit_key_statistics,
    fit_onehot,
    fit_ordinal,
    fit_plan,
    fit_scale,
    fit_selection,
    fit_target_means,
    fit_tfidf,
    fit_vector,
    join_asof,
)
from stages.monitoring import check_drift, drift
from stages.preprocessing import (
    clean,
    decode_images,
    deduplicate,
    drop_missing,
    drop_outliers,
    fill_forward,
    fit_bounds,
    fit_fill,
    fit_wording,
    join,
    split_at,
    split_groups,
    split_stratified,
)
from stages.training import ModelFile, calibrate, cross_validate, train_estimator
from stages.validation import (
    check_leakage,
    check_overfit,
    choose_threshold,
    duel,
    evaluate,
    find_slices,
    stress,
)

Work = Callable[[pa.Table, ModelFile], Any]

PLAN = [{"scale": {"columns": ["annual_income"]}}, {"onehot": {"columns": ["homeownership"]}}]


def trained(table: pa.Table, name: str) -> Any:
    planned = fit_plan(table, [{"numbers": {"columns": ["annual_income"]}}], keep=["dear"])
    return train_estimator(planned.table, planned.plan, "dear", name, {})


NUMBER, TEXT, TARGET = "annual_income", "homeownership", "dear"

TERMS = pa.table({"term": [36, 60], "months": ["36", "60"]})
HOMES = pa.table({"homeownership": ["RENT", "OWN"], "owned": [0, 1]})

STAGES: dict[str, tuple[Work, list[str]]] = {
    "fit_scale": (lambda t, m: fit_scale(t, [NUMBER]), [NUMBER]),
    "fit_scale robust": (lambda t, m: fit_scale(t, [NUMBER], "robust"), [NUMBER]),
    "fit_bounds": (lambda t, m: drop_outliers(t, fit_bounds(t, [NUMBER])), [NUMBER]),
    "fit_fill": (lambda t, m: fit_fill(t, [NUMBER]).apply(t), [NUMBER]),
    "fit_fill mode": (lambda t, m: fit_fill(t, [TEXT], "mode").apply(t), [TEXT]),
    "fit_onehot": (lambda t, m: fit_onehot(t, [TEXT]).apply(t), [TEXT]),
    "fit_ordinal": (lambda t, m: fit_ordinal(t, [TEXT]).apply(t), [TEXT]),
    "fit_frequency": (lambda t, m: fit_frequency(t, [TEXT]).apply(t), [TEXT]),
    "fit_hashed": (lambda t, m: fit_hashed(t, [TEXT]).apply(t), [TEXT]),
    "fit_wording": (lambda t, m: fit_wording(t, [TEXT]).apply(t), [TEXT]),
    "fit_tfidf": (lambda t, m: fit_tfidf(t, TEXT).apply(t), [TEXT]),
    "fit_vector": (lambda t, m: fit_vector(t, NUMBER), [NUMBER]),
    "fit_selection": (lambda t, m: fit_selection(t, [NUMBER], target=TARGET), [NUMBER, TARGET]),
    "fit_target_means": (lambda t, m: fit_target_means(t, [TEXT], TARGET).apply(t), [TEXT, TARGET]),
    "fit_key_statistics": (lambda t, m: fit_key_statistics(t, TEXT, NUMBER).apply(t), [TEXT, NUMBER]),
    "fit_features": (lambda t, m: fit_features(t, [TEXT], [NUMBER], scale=True), [TEXT, NUMBER]),
    "fit_plan": (lambda t, m: fit_plan(t, PLAN, keep=[TARGET]), [TEXT, NUMBER]),
    "add_lags": (lambda t, m: add_lags(t, [NUMBER], "row", by=[TEXT]), [NUMBER, "row", TEXT]),
    "add_rolling": (lambda t, m: add_rolling(t, [NUMBER], "row", 3, by=[TEXT]), [NUMBER, "row", TEXT]),
    "join_asof": (lambda t, m: join_asof(t, TERMS, "term", duplicates="last"), ["term"]),
    "join_asof right": (lambda t, m: join_asof(TERMS, t, "term", duplicates="last"), ["term"]),
    "aggregate": (lambda t, m: aggregate(t, [TEXT], {NUMBER: ["mean"]}), [TEXT, NUMBER]),
    "clean": (lambda t, m: clean(t), [NUMBER]),
    "decode_images": (lambda t, m: decode_images(t, TEXT), [TEXT]),
    "deduplicate": (lambda t, m: deduplicate(t, [TEXT]), [TEXT]),
    "drop_missing": (lambda t, m: drop_missing(t, [NUMBER]), [NUMBER]),
    "fill_forward": (lambda t, m: fill_forward(t, [NUMBER], "term"), [NUMBER, "term"]),
    "join": (lambda t, m: join(t, HOMES, [TEXT], duplicates="first"), [TEXT]),
    "join right": (lambda t, m: join(HOMES, t, [TEXT], duplicates="first"), [TEXT]),
    "split_at": (lambda t, m: split_at(t, "term"), ["term"]),
    "split_groups": (lambda t, m: split_groups(t, [TEXT]), [TEXT]),
    "split_stratified": (lambda t, m: split_stratified(t, [TARGET]), [TARGET]),
    "train_estimator": (lambda t, m: trained(t, "sklearn.linear_model.LogisticRegression"), [NUMBER, TARGET]),
    "train lightgbm": (lambda t, m: trained(t, "lightgbm.LGBMClassifier"), [NUMBER, TARGET]),
    "cross_validate": (
        lambda t, m: cross_validate(t, PLAN, TARGET, "sklearn.linear_model.LogisticRegression", folds=2),
        [TEXT, NUMBER, TARGET],
    ),
    "calibrate": (lambda t, m: calibrate(m, t), [TARGET, NUMBER]),
    "evaluate": (lambda t, m: evaluate(m, t, by=[TEXT], resamples=5), [TEXT, NUMBER, TARGET]),
    "find_slices": (lambda t, m: find_slices(m, t, [TEXT, NUMBER], resamples=5), [TEXT, NUMBER, TARGET]),
    "duel": (lambda t, m: duel(m, m, t, resamples=5), [TARGET, NUMBER]),
    "stress": (lambda t, m: stress(m, t, [NUMBER]), [TARGET, NUMBER]),
    "check_leakage": (lambda t, m: check_leakage(t, t, TARGET, [TEXT, NUMBER]), [TEXT, NUMBER, TARGET]),
    "check_overfit": (lambda t, m: check_overfit(m, t, t, resamples=5), [TARGET, NUMBER]),
    "choose_threshold": (lambda t, m: choose_threshold(m, t), [TARGET, NUMBER]),
    "check_drift": (lambda t, m: check_drift(t, t, [TEXT, NUMBER]), [TEXT, NUMBER]),
    "drift": (lambda t, m: drift(t, t, [TEXT, NUMBER]), [TEXT, NUMBER]),
}


def put(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def some_infinite(table: pa.Table, name: str) -> pa.Table:
    values = [float("inf"), float("nan"), float("-inf"), *[1.0] * (table.num_rows - 3)]
    return put(table, name, pa.array(values))


DAMAGES: dict[str, Callable[[pa.Table, str], pa.Table]] = {
    "is missing": lambda table, name: table.drop_columns([name]),
    "holds only null": lambda table, name: put(table, name, pa.nulls(table.num_rows, table.schema.field(name).type)),
    "has no type": lambda table, name: put(table, name, pa.nulls(table.num_rows)),
    "is infinite": some_infinite,
    "holds text": lambda table, name: put(table, name, pa.array(["a word", "1", ""] * (table.num_rows // 3))),
    "holds bytes": lambda table, name: put(table, name, pa.array([b"\xff\x00"] * table.num_rows)),
    "holds lists": lambda table, name: put(table, name, pa.array([[1.0, 2.0]] * table.num_rows)),
    "holds one value": lambda table, name: put(table, name, pa.array([1] * table.num_rows)),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_table_is_worked_with_or_refused_by_name(loans: pa.Table, loan_model: ModelFile, stage: str) -> None:
    work, columns = STAGES[stage]
    table = loans.slice(0, 300)
    table = table.append_column("row", pa.array(range(table.num_rows)))
    told = {
        f"{name} {damage}": outcome(work, damaged(table, name), loan_model, name)
        for name in columns
        for damage, damaged in DAMAGES.items()
    }
    told["no rows"] = outcome(work, table.slice(0, 0), loan_model, "row", *columns)
    assert {case: what for case, what in told.items() if what} == {}


def outcome(work: Work, table: pa.Table, model: ModelFile, *named: str) -> str:
    """What is wrong with the way that a stage takes a table; empty if nothing."""
    try:
        work(table, model)
    except UserError as error:
        return "" if any(name in str(error) for name in named) else str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
