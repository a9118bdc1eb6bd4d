"""What a request has to hold, over real HTTP: who sends something else is told the field and the row."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.testing import LocalServing
from stages.deployment import Predictor, model_to_payload
from stages.deployment.serving import PREDICTOR, plain_rows
from stages.errors import RowRejected
from tests.stages.churners import customers, learn, trained

ROW = plain_rows(customers(1).select(["income", "plan", "since"]))[0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalServing() as serving:
        yield serving.deploy("churn", "v1", PREDICTOR, model_to_payload(trained()), {"max_rows": 3}).url


def ask(url: str, body: Any) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_row_of_the_training_inputs_is_answered_and_what_else_it_holds_is_ignored(url: str) -> None:
    status, answer = ask(url, {"rows": [ROW, {**ROW, "id": 7, "plan": None}]})
    assert status == 200
    assert len(answer["predictions"]) == 2


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"income": ...}, "income", "lacks the input 'income'"),
        ({"income": ..., "incom": 5.0}, "income", "Did you mean 'incom'?"),
        ({"income": "much"}, "income", "must be a finite number, not 'much'"),
        ({"income": True}, "income", "must be a finite number"),
        ({"income": float("nan")}, "income", "must be a finite number"),
        ({"income": [1]}, "income", "must be a finite number"),
        ({"income": None}, "income", "'income' must be a finite number, not null"),
        ({"since": None}, "since", "'since' must be an ISO time without a zone, like 2013-07-01T17:30, not null"),
        ({"plan": 3}, "plan", "must be text, not 3"),
        ({"plan": "gold"}, "plan", "holds 'gold' in row 0, which training did not see"),
        ({"since": "yesterday"}, "since", "must be an ISO time without a zone"),
        ({"since": 17}, "since", "must be an ISO time without a zone"),
    ],
)
def test_a_bad_field_is_a_422_that_names_it(url: str, change: dict[str, Any], field: str, said: str) -> None:
    row = {name: value for name, value in {**ROW, **change}.items() if value is not ...}
    status, answer = ask(url, {"rows": [row]})
    assert (status, answer["field"]) == (422, field)
    assert answer.get("row", 0) == 0
    assert said in answer["error"]


def test_null_is_refused_by_a_model_that_would_answer_it_with_no_number() -> None:
    predictor = Predictor(model_to_payload(learn(customers())))
    assert predictor.predict([{**ROW, "plan": None}])
    for field in ("income", "since"):
        with pytest.raises(RowRejected, match=f"Row 1: '{field}' must be .*, not null") as refused:
            predictor.predict([ROW, {**ROW, field: None}])
        assert (refused.value.details["row"], refused.value.details["input"]) == (1, field)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"rows": [ROW] * 4}, 422, "4 rows in one request are too many; send at most 3"),
        ({"rows": [ROW, 5]}, 422, "Row 1 is int, not an object"),
        (b"not JSON", 400, "must be a JSON object"),
        ({"rows": ROW}, 400, "must be a JSON object"),
        ([ROW], 400, "must be a JSON object"),
    ],
)
def test_what_are_no_rows_is_refused(url: str, body: Any, status: int, said: str) -> None:
    answered, answer = ask(url, body)
    assert (answered, "field" in answer) == (status, False)
    assert said in answer["error"]
