"""Invented customers, who of them leaves, and a pipeline that publishes a model of that: trained in no time."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pyarrow as pa

from orchestrator import pipeline, stage, step, when
from stages.deployment import model_card
from stages.features import Planned, fit_features, fit_plan
from stages.features.plan import PlanStep
from stages.training import Model, ModelFile, train_estimator
from stages.validation import evaluate, gate

LOGISTIC = "sklearn.linear_model.LogisticRegression"
STEPS: list[PlanStep] = [
    {"scale": {"columns": ["income"]}},
    {"onehot": {"columns": ["plan"], "unseen": "error"}},
    {"dates": {"columns": ["since"], "parts": ["month"]}},
]


@stage(publish="data:customers")
def customers(rows: int = 300, seed: int = 1) -> pa.Table:
    chance = np.random.default_rng(seed)
    income, plan = chance.normal(50, 15, rows), chance.choice(["basic", "plus", "pro"], rows)
    left = chance.random(rows) < 1 / (1 + np.exp(0.1 * (income - 45) + 2.0 * (plan == "pro")))
    since = np.datetime64("2024-01-01T08:00:00", "s") + np.arange(rows) * np.timedelta64(3600, "s")
    spent = 3 * income + chance.normal(0, 5, rows)
    return pa.table({"income": income, "plan": plan, "since": since, "spent": spent, "left": left.astype(int)})


@stage
def half(table: pa.Table, second: bool = False) -> pa.Table:
    middle = table.num_rows // 2
    return table.slice(middle) if second else table.slice(0, middle)


@stage
def learn(train: pa.Table, strength: float = 1.0) -> Model:
    """A straight line through the outcomes: quicker than importing a library that finds a better one."""
    features = fit_features(
        train, categories=["plan"], numbers=["income"], calendars={"since": ["weekday"]}, onehot=True, scale=True
    )
    encoded = np.column_stack([features.encode(train), np.ones(train.num_rows)])
    target = 4 * strength * (train.column("left").to_numpy() - 0.5)
    *coefficients, intercept = np.linalg.lstsq(encoded, target, rcond=None)[0].tolist()
    step().report(rows=float(train.num_rows))
    return Model("logistic", json.dumps({"coefficients": coefficients, "intercept": intercept}), features, "left")


@stage(publish="model:churn")
def offer(model: Model) -> Model:
    return model


@pipeline
def churn(strength: float = 1.0, min_auc: float = 0.6) -> object:
    table = customers()
    train, test = half(table), half.options(name="rest")(table, second=True)
    model = learn(train, strength)
    model_card(model, test, train=train, by=["plan"], purpose="Whom to call.", time="since", resamples=20)
    offered = offer(model)
    record = gate(evaluate(model, test, limits={"auc": min_auc}, resamples=20).findings)
    return when(record.passed, then=lambda: offered, otherwise=lambda: record)


@cache
def planned(target: str = "left") -> Planned:
    return fit_plan(customers(), STEPS, keep=[target])


@cache
def trained(target: str = "left", estimator: str = LOGISTIC) -> ModelFile:
    found = planned(target)
    return train_estimator(found.table, found.plan, target, estimator).model
