"""Soundness before a release: each thing that can be wrong with a model is found in a fresh process, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from stages.deployment import check_soundness
from stages.deployment.examples import example_rows
from stages.training import Model
from tests.stages.churners import customers, learn

MODEL = learn(customers())


def test_a_sound_model_passes_with_rows_that_are_made_up() -> None:
    record = check_soundness(MODEL, max_p99_ms=1e6, max_load_s=1e6, requests=3)
    assert record.passed, str(record)
    assert [finding.check for finding in record.findings] == [
        "seconds to load in a fresh process",
        "rows without a finite answer of the right shape",
        "largest difference to the model as it was trained",
        "p50 of one row in ms",
        "p99 of one row in ms",
        "size in bytes",
    ]
    rows = example_rows(MODEL, 4)
    assert rows.column("plan").to_pylist() == ["basic", "plus", "pro", "basic"]
    assert rows.num_rows == 4


def test_limits_refuse_with_their_reason() -> None:
    record = check_soundness(MODEL, customers(5), max_p99_ms=0.0, max_size_bytes=10, requests=3)
    assert not record.passed
    assert [reason.split(" is above ")[1] for reason in record.reasons] == ["0", "10"]
    assert record.reasons[1].startswith("size in bytes")


def test_a_model_that_does_not_load_elsewhere_is_found_before_it_is_asked() -> None:
    record = check_soundness(replace(MODEL, text="no line"), customers(5))
    assert not record.passed
    assert "a fresh process that loads the model ended with 1" in record.reasons[0]


def test_what_is_no_model_is_refused() -> None:
    no_model: Any = {"weights": [1]}
    with pytest.raises(ConfigError, match="dict is no model that can be served"):
        check_soundness(no_model)
    with pytest.raises(ConfigError, match="a sample without rows"):
        check_soundness(MODEL, customers(1).slice(1))


def test_answers_that_differ_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def otherwise(self: Model, table: Any) -> Any:
        return predict(self, table) + 0.25

    predict = Model.predict
    monkeypatch.setattr(Model, "predict", otherwise)
    record = check_soundness(MODEL, customers(5), max_p99_ms=1e6, max_load_s=1e6, requests=1)
    assert [finding.check for finding in record.findings if not finding.passed] == [
        "largest difference to the model as it was trained"
    ]
    assert record.reasons == ["largest difference to the model as it was trained 0.250 is above 1e-09"]
