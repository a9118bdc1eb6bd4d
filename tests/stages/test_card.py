"""The card of real models of each task: its figures are those of the checks, and plain enough to be read back."""

from __future__ import annotations

from dataclasses import asdict

import msgspec
import pyarrow as pa
import pytest

from orchestrator.errors import ConfigError
from stages.deployment import ModelCard, model_card
from stages.training import ColumnModel
from stages.validation import evaluate
from tests.stages.churners import customers, trained

TEST = customers(200, seed=3)


def test_a_card_has_the_figures_of_the_checks_and_the_words_of_its_author() -> None:
    card = model_card(
        trained(), TEST, train=customers(), baseline=ColumnModel("left", "left", [0, 1]),
        by=["plan"], purpose="Whom to call.", limits="No prices.", author="ann", time="since", resamples=20,
    )  # fmt: skip
    assert (card.title, card.purpose, card.limits, card.author) == (
        "Model of left",
        "Whom to call.",
        "No prices.",
        "ann",
    )
    assert card.inputs == {"income": "number", "plan": "text", "since": "time"}
    auc = next(score for score in card.scores if score.metric == "auc")
    expected = evaluate(trained(), TEST, resamples=0).overall
    assert auc.value == next(one.value for one in expected if one.metric == "auc")
    assert auc.baseline == 1.0  # it was told the outcome
    assert [(data.role, data.rows) for data in card.data] == [("learned from", 300), ("judged by", 200)]
    assert card.data[0].begin == "2024-01-01 08:00:00"
    assert sum(one.rows for one in card.bins) == 200
    assert next(iter(card.importance)) == "income"
    assert {piece.name for piece in card.slices} == {"plan basic", "plan plus", "plan pro"}
    assert set(card.environment) == {"python", "numpy", "pyarrow", "scikit-learn"}
    assert card.residuals == []
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(asdict(card))), ModelCard) == card


def test_numbers_have_residuals_and_classes_are_as_sure_as_they_are_right() -> None:
    numbers = model_card(trained("spent", "sklearn.linear_model.Ridge"), TEST, resamples=0)
    assert (numbers.task, numbers.metric) == ("regression", "rmse")
    assert sum(count for _, _, count in numbers.residuals) in range(190, 201)
    classes = model_card(trained("plan", "sklearn.tree.DecisionTreeClassifier"), TEST, resamples=0)
    assert classes.task == "multiclass"
    assert all(0 <= one.actual <= 1 for one in classes.bins)


def test_a_baseline_has_to_judge_the_same_rows() -> None:
    known = TEST.append_column("known", pa.array([0, 1, *[None] * 198]))
    with pytest.raises(ConfigError, match="judges other rows"):
        model_card(trained(), known, baseline=ColumnModel("left", "known", [0, 1]), resamples=0)
