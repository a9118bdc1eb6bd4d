"""The predictor without a server, and ``exercise`` against a real HTTP server on this machine."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.errors import ConfigError
from orchestrator.graph.context import StepContext, active
from stages.deployment import Deployment, Predictor, deploy, exercise, model_from_payload, model_to_payload
from stages.errors import RowRejected
from stages.features import Planned, transform
from stages.preprocessing import Split
from stages.training import Fitted, train_estimator

HttpServer = Callable[[Callable[[Any], tuple[int, Any]]], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def predictor(fitted: Fitted) -> Predictor:
    return Predictor(model_to_payload(fitted.model))


@pytest.fixture(scope="module")
def rows(fitted: Fitted, months: Sequence[pa.Table]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = months[3].slice(0, 200).select(list(fitted.model.features.inputs)).to_pylist()
    return found


def test_a_payload_gives_the_model_back_and_equal_bytes(fitted: Fitted) -> None:
    payload = model_to_payload(fitted.model)
    assert model_from_payload(payload) == fitted.model
    assert model_to_payload(model_from_payload(payload)) == payload


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b'{"format": "stages.model/1", "model": {}}', b"\xff", b'{"format": 2}']
)
def test_other_bytes_are_no_payload(payload: bytes) -> None:
    with pytest.raises(ConfigError, match="The payload"):
        Predictor(payload)


def test_serving_equals_training_for_batches_and_single_rows(
    fitted: Fitted, predictor: Predictor, rows: list[dict[str, Any]], months: Sequence[pa.Table]
) -> None:
    offline = fitted.model.predict(months[3].slice(0, 200))
    batch = [answer["probability"] for answer in predictor.predict(rows)]
    single = [predictor.predict([row])[0]["probability"] for row in rows]
    np.testing.assert_array_equal(batch, offline)
    np.testing.assert_array_equal(single, offline)
    texts = [{**row, "departure": row["departure"].isoformat()} for row in rows]
    assert predictor.predict(json.loads(json.dumps(texts))) == predictor.predict(rows)


def test_unknown_values_are_null_and_extra_ones_are_ignored(predictor: Predictor, rows: list[dict[str, Any]]) -> None:
    (answer,) = predictor.predict([{**dict.fromkeys(rows[0]), "colour": "red"}])
    assert 0 < answer["probability"] < 1
    assert predictor.predict([]) == []


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("carrier", 7, "text"),
        ("distance", "far", "a finite number"),
        ("distance", True, "a finite number"),
        ("distance", float("nan"), "a finite number"),
        ("distance", 10**400, "a finite number"),
        ("departure", "noon", "an ISO time without a zone"),
        ("departure", "2013-07-01T17:30:00+02:00", "an ISO time without a zone"),
        ("departure", 1372699800, "an ISO time without a zone"),
        ("departure", datetime.datetime(2013, 7, 1, tzinfo=datetime.UTC), "an ISO time without a zone"),
    ],
)
def test_a_wrong_value_is_named_with_row_and_input(
    predictor: Predictor, rows: list[dict[str, Any]], name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(RowRejected, match=f"Row 1: '{name}' must be {wanted}"):
        predictor.predict([rows[0], {**rows[1], name: value}])


def test_requests_that_are_no_rows_are_refused(
    fitted: Fitted, predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    mistyped = {("presure" if name == "pressure" else name): value for name, value in rows[0].items()}
    with pytest.raises(RowRejected, match=r"Row 0 lacks the input 'pressure'. Did you mean 'presure'\?"):
        predictor.predict([mistyped])
    no_list: Any = "rows"
    with pytest.raises(RowRejected, match="must be a list of objects, not str"):
        predictor.predict(no_list)
    no_objects: Any = [1]
    with pytest.raises(RowRejected, match="Row 0 is int, not an object"):
        predictor.predict(no_objects)
    with pytest.raises(RowRejected, match="2 rows in one request are too many; send at most 1"):
        Predictor(model_to_payload(fitted.model), {"max_rows": 1}).predict(rows[:2])


def test_real_requests_agree_with_offline_predictions(
    http_server: HttpServer, fitted: Fitted, predictor: Predictor, months: Sequence[pa.Table]
) -> None:
    with http_server(lambda document: (200, {"predictions": predictor.predict(document["rows"])})) as url:
        found = exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=20, rows_per_request=3)
    assert found.passed
    assert (found.requests, found.rows, found.failures, found.max_difference) == (20, 60, 0, 0.0)
    assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms
    assert "20 of 20 requests answered (60 rows)" in str(found)


def test_another_model_does_not_agree(
    http_server: HttpServer, fitted: Fitted, predictor: Predictor, months: Sequence[pa.Table]
) -> None:
    def answer(document: Any) -> tuple[int, Any]:
        return 200, {
            "predictions": [{"probability": p["probability"] / 2} for p in predictor.predict(document["rows"])]
        }

    with http_server(answer) as url:
        found = exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=5)
    assert not found.passed
    assert found.failures == 0
    assert found.max_difference is not None
    assert found.max_difference > 0.01


@pytest.mark.parametrize(
    ("status", "document", "reason"),
    [
        (500, {"error": "broken"}, "HTTP 500: .*broken"),
        (200, {"answers": []}, "not an answer with predictions"),
        (200, {"predictions": []}, "0 predictions for 1 rows"),
        (200, [1], "not an answer with predictions"),
    ],
)
def test_bad_answers_are_counted_not_raised(
    http_server: HttpServer, fitted: Fitted, months: Sequence[pa.Table], status: int, document: Any, reason: str
) -> None:
    with http_server(lambda _: (status, document)) as url:
        found = exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=3)
    assert (found.passed, found.failures, found.max_difference) == (False, 3, None)
    assert found.first_failure is not None
    assert re.search(reason, found.first_failure)


def test_a_model_of_several_classes_is_asked_too(
    http_server: HttpServer, loan_split: Split, loan_plan: Planned, fitted: Fitted, months: Sequence[pa.Table]
) -> None:
    train = transform(loan_split.train, loan_plan.plan, keep=["grade"])
    grades = train_estimator(train, loan_plan.plan, "grade", "lightgbm.LGBMClassifier", {"n_estimators": 3}).model
    server = Predictor(model_to_payload(grades))
    with http_server(lambda document: (200, {"predictions": server.predict(document["rows"])})) as url:
        found = exercise(Deployment("loans", "v1", url), grades, loan_split.test, requests=4, rows_per_request=2)
    assert found.passed
    assert found.max_difference == 0
    wrong = {"probabilities": {"A": 0.5, "B": 0.5}}
    with http_server(lambda _: (200, {"predictions": [wrong]})) as url:
        found = exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=1)
    assert "answers of shape (1, 2)" in str(found.first_failure)


def test_an_endpoint_that_is_gone_is_counted(
    http_server: HttpServer, fitted: Fitted, months: Sequence[pa.Table]
) -> None:
    with http_server(lambda _: (200, {})) as url:
        pass
    found = exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=2)
    assert (found.passed, found.failures) == (False, 2)


@pytest.mark.parametrize("url", ["http://example.org/flights", "http://10.0.0.1:8000", "https://127.0.0.1", "flights"])
def test_only_this_machine_is_asked(fitted: Fitted, months: Sequence[pa.Table], url: str) -> None:
    with pytest.raises(ConfigError, match="only endpoints on this machine"):
        exercise(Deployment("flights", "v1", url), fitted.model, months[3], requests=1)


def test_there_must_be_rows_to_ask_with(fitted: Fitted, months: Sequence[pa.Table]) -> None:
    with pytest.raises(ConfigError, match="need 6 of 5 rows"):
        exercise(Deployment("flights", "v1", "http://127.0.0.1"), fitted.model, months[3].slice(0, 5), requests=6)


class Endpoint(NamedTuple):
    app: str
    version: str
    url: str


class Recorded:
    """A serving port that notes what it was asked to serve."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def deploy(self, **call: Any) -> Endpoint:
        self.calls.append(call)
        return Endpoint(call["app"], call["version"], f"http://127.0.0.1:8000/{call['app']}")


def test_equal_models_are_one_version_that_the_named_predictor_can_build(fitted: Fitted) -> None:
    port = Recorded()
    with active(StepContext("run", "deploy", uses=("serving",), ports={"serving": port})):
        first, second = deploy(fitted.model, app="flights"), deploy(fitted.model, app="flights")
    assert first == second == Deployment("flights", port.calls[0]["version"], "http://127.0.0.1:8000/flights")
    module, _, name = port.calls[0]["predictor"].partition(":")
    assert f"{Predictor.__module__}:{Predictor.__name__}" == f"{module}:{name}"
    assert Predictor(port.calls[0]["payload"], port.calls[0]["config"]).model == fitted.model
