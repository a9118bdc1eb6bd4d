"""Credit risk on real loans: which applicants a lender grades as risky, and whom it turns away.

``credit`` learns from 10,000 LendingClub loans of 2018 which applicants were graded D or worse. (Only 178 of these
loans were in trouble when the table was made, a few months later: too few to learn from.) ``mortgages`` learns from
2,380 Boston mortgage applications of 1990 who was denied, and measures what its decisions mean for Black applicants,
who were denied three times as often as others.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from orchestrator import each, pipeline, stage, when
from stages.columns import set_column
from stages.deployment import model_card
from stages.features import fit_plan
from stages.features.plan import PlanStep
from stages.ingestion import dataset
from stages.pipelines.outcome import Outcome, accept, conclude
from stages.preprocessing import add_flag, split_stratified
from stages.quality import allowed, in_range, not_null, row_count
from stages.training import ColumnModel, CrossValidation, ModelFile, cross_validate, train_estimator
from stages.validation import check_bias, check_leakage, check_overfit, duel, evaluate, find_slices, gate

RISKY = ["D", "E", "F", "G"]

NUMBERS = [
    "emp_length", "annual_income", "debt_to_income", "delinq_2y", "months_since_last_delinq", "earliest_credit_line",
    "inquiries_last_12m", "total_credit_lines", "open_credit_lines", "total_credit_limit", "total_credit_utilized",
    "num_historical_failed_to_pay", "accounts_opened_24m", "months_since_last_credit_inquiry", "num_mort_accounts",
    "num_cc_carrying_balance", "account_never_delinq_percent", "public_record_bankrupt", "total_debit_limit",
    "loan_amount", "term",
]  # fmt: skip
CATEGORIES = ["homeownership", "verified_income", "loan_purpose", "application_type"]
"""What is known when somebody asks for a loan; rate, grade and how the loan went are not."""

LOAN_COLUMNS = [*NUMBERS, *CATEGORIES, "state", "grade"]

LOAN_CHECKS = [
    row_count(low=9_000),
    *(not_null(column) for column in (*CATEGORIES, "state", "grade", "annual_income", "loan_amount")),
    allowed("grade", list("ABCDEFG")),
    allowed("term", [36, 60]),
    in_range("annual_income", 0, 5_000_000),
    in_range("debt_to_income", 0, 100, share=0.99, severity="warn"),
    not_null("emp_length", share=0.95, severity="warn"),
]

MORTGAGE_NUMBERS = ["pirat", "hirat", "lvrat", "chist", "mhist", "unemp"]
MORTGAGE_CATEGORIES = ["phist", "selfemp", "insurance", "condomin", "single", "hschool"]
"""Ratios, credit histories and circumstances; ``afam``, whether the applicant is Black, is never an input."""

MORTGAGE_CHECKS = [
    row_count(low=2_000),
    *(not_null(column) for column in (*MORTGAGE_NUMBERS, *MORTGAGE_CATEGORIES, "afam", "deny")),
    allowed("deny", ["no", "yes"]),
    allowed("afam", ["no", "yes"]),
    in_range("pirat", 0, 1, share=0.99, severity="warn"),
]

SIMPLE_STEPS: list[PlanStep] = [
    {"fill": {"columns": ["annual_income", "debt_to_income"]}},
    {"scale": {"columns": ["annual_income", "debt_to_income"], "method": "robust"}},
]

MORTGAGE_STEPS: list[PlanStep] = [
    {"scale": {"columns": MORTGAGE_NUMBERS}},
    {"onehot": {"columns": MORTGAGE_CATEGORIES}},
]

PURPOSE = "Shows which applicants LendingClub graded as risky in 2018, to look at the grading itself."
LIMITS = (
    "It knows what the lender decided, not who paid back: 178 of these 10,000 loans were in trouble when the table was "
    "made. It holds nobody whom the lender had turned away before. Not for decisions about people."
)
"""What the card of the model of ``credit`` says about its use."""

LOGISTIC = "sklearn.linear_model.LogisticRegression"


@pipeline
def credit(
    trees: int = 150,
    leaves: int = 15,
    learning_rate: float = 0.05,
    test_share: float = 0.3,
    slices: Sequence[str] = ("loan_purpose", "state"),
    min_auc: float = 0.75,
    min_slice_auc: float = 0.65,
    max_gap: float = 0.15,
    directory: str | None = None,
) -> Outcome:
    """Tell applicants whom LendingClub grades D or worse, beside a baseline that knows income and debts only.

    Args:
        trees, leaves, learning_rate: Of the LightGBM model.
        test_share: Share of the loans to judge by.
        slices: Columns whose values are judged one by one.
        min_auc, min_slice_auc, max_gap: What the gate asks for: overall, of each slice with 100 rows, and between
            training and test rows.
        directory: Where the converted data sets are kept; ``$ORC_HOME/datasets`` when not given.
    """
    raw = dataset.options(checks=LOAN_CHECKS)("openintro", "loans_full_schema", LOAN_COLUMNS, directory=directory)
    parts = split_stratified(add_flag(raw, "risky", "grade", "in", RISKY), ["risky"], share=test_share)
    train, test = parts.train, parts.test

    steps: list[PlanStep] = [
        {"numbers": {"columns": NUMBERS}},
        {"onehot": {"columns": CATEGORIES, "min_rows": 20}},
    ]
    planned = fit_plan(train, steps, keep=["risky"])
    params = {"n_estimators": trees, "num_leaves": leaves, "learning_rate": learning_rate}
    model = train_estimator(planned.table, planned.plan, "risky", "lightgbm.LGBMClassifier", params).model

    simple = fit_plan.options(name="fit_baseline")(train, SIMPLE_STEPS, keep=["risky"])
    baseline = train_estimator.options(name="train_baseline")(simple.table, simple.plan, "risky", LOGISTIC).model

    metrics = ["auc", "average_precision", "brier"]
    scores = duel.map(metric=each(metrics), challenger=model, champion=baseline, table=test)
    found = evaluate(model, test, limits={"auc": min_auc}, by=slices, slice_limit=min_slice_auc)
    gap = check_overfit(model, train, test, max_gap=max_gap)
    leaks = check_leakage(train, test, "risky", [*NUMBERS, *CATEGORIES])
    weak = find_slices(model, test, ["loan_purpose", "homeownership", "verified_income", "term", "annual_income"])
    model_card(
        model, test, train=train, baseline=baseline, by=["loan_purpose", "homeownership"],
        title="Who is graded D or worse?", purpose=PURPOSE, limits=LIMITS,
    )  # fmt: skip
    record = gate([found.findings, scores[0].finding, gap.finding, leaks.findings, weak.finding])
    when(record.passed, then=lambda: accept.options(publish="model:credit")(model))
    return conclude("LendingClub loans of 2018", scores, record, found, weak)


@stage(cache="30d", timeout="5m")
def with_predictions(table: pa.Table, model: CrossValidation, baseline: CrossValidation) -> pa.Table:
    """The rows with what a model and a baseline said about each, fitted without it."""
    for name, made in (("model", model), ("baseline", baseline)):
        table = set_column(table, name, made.predictions.column("prediction"))
    return table


@pipeline
def mortgages(
    strength: float = 1.0,
    folds: int = 5,
    min_auc: float = 0.8,
    min_ratio: float | None = 0.8,
    directory: str | None = None,
) -> Outcome:
    """Tell who was denied a mortgage, and what such decisions mean for Black applicants, who are judged without asking.

    All 2,380 applications are judged, each by a model that was fitted without it.

    Args:
        strength: Inverse strength of the regularisation of the logistic regression.
        folds: Of the cross-validation.
        min_auc: What the gate asks for.
        min_ratio: Least share of approvals of Black applicants, as a share of the others'; 0.8 is the four-fifths rule.
        directory: Where the converted data sets are kept; ``$ORC_HOME/datasets`` when not given.
    """
    columns = [*MORTGAGE_NUMBERS, *MORTGAGE_CATEGORIES, "afam", "deny"]
    raw = dataset.options(checks=MORTGAGE_CHECKS)("AER", "HMDA", columns, directory=directory)
    rows = add_flag(raw, "denied", "deny", "==", "yes")
    params = {"C": strength, "max_iter": 500}
    tried = cross_validate(rows, MORTGAGE_STEPS, "denied", LOGISTIC, params, folds=folds, metrics=["auc"])
    simple = cross_validate.options(name="cross_validate_baseline")(
        rows, [{"scale": {"columns": ["pirat"]}}], "denied", LOGISTIC, folds=folds, metrics=["auc"]
    )
    judged = with_predictions(rows, tried, simple)
    model = ColumnModel("model", "denied", [0.0, 1.0])
    baseline = ColumnModel("baseline", "denied", [0.0, 1.0])

    metrics = ["auc", "average_precision", "brier"]
    scores = duel.map(metric=each(metrics), challenger=model, champion=baseline, table=judged)
    found = evaluate(model, judged, limits={"auc": min_auc}, by=["afam", "single", "selfemp"])
    bias = check_bias(model, judged, by="afam", group="yes", min_ratio=min_ratio)
    record = gate([found.findings, scores[0].finding, bias.findings])
    when(record.passed, then=lambda: accept.options(publish="model:mortgages")(_fitted(rows, params)))
    return conclude("Boston mortgages of 1990", scores, record, found, bias=bias)


def _fitted(rows: pa.Table, params: dict[str, float]) -> ModelFile:
    """The model to use, fitted on all rows."""
    planned = fit_plan(rows, MORTGAGE_STEPS, keep=["denied"])
    return train_estimator(planned.table, planned.plan, "denied", LOGISTIC, params).model
