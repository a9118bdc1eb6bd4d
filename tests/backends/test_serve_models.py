"""Many models behind one address: which are built, which are kept, and what becomes of requests to none of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from orchestrator.backends.serve_models import ONLY, Models
from orchestrator.errors import ConfigError
from orchestrator.ports.serving import MOST_PAYLOAD_BYTES, check_payload

ROW = b'{"rows": [{"x": 2}]}'


class Times:
    """Multiplies by a number; counts its calls."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.calls = 0

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """One number a row."""
        self.calls += 1
        return [self.factor * row["x"] for row in rows]


def several(most: int, names: str = "abc") -> tuple[Models, list[str], dict[str, Times]]:
    built: list[str] = []
    predictors = {name: Times(factor) for factor, name in enumerate(names, 1)}

    def build(name: str) -> Times:
        built.append(name)
        return predictors[name]

    return Models({name: partial(build, name) for name in names}, most), built, predictors


def value(models: Models, name: str) -> Any:
    (answer,) = models.answer(name, [ROW])
    return json.loads(answer.body).get("predictions", [answer.status])[0]


def test_models_are_built_when_they_are_asked_for_and_those_used_last_stay() -> None:
    models, built, _ = several(2)
    assert (models.built, built) == ([], [])
    assert [value(models, name) for name in "abacb"] == [2, 4, 2, 6, 4]
    assert built == ["a", "b", "c", "b"]  # b went for c: a had been used after it
    assert models.built == ["c", "b"]


def test_requests_of_a_batch_go_to_their_own_models_and_those_to_one_go_together() -> None:
    models, _, predictors = several(3)
    answers = models.answer_all([("b", ROW), ("a", ROW), ("b", ROW), ("d", ROW), ("b", b"no JSON")])
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 400]
    assert [json.loads(answer.body)["predictions"] for answer in answers[:3]] == [[4], [2], [4]]
    assert predictors["a"].calls == 1
    models.answer_all([("c", ROW)] * 4)
    assert predictors["c"].calls == 1


def test_a_model_that_is_being_built_keeps_only_those_waiting_that_ask_it() -> None:
    begun, go = threading.Event(), threading.Event()

    def slow() -> Times:
        begun.set()
        go.wait()
        return Times(1)

    models = Models({"slow": slow, "quick": lambda: Times(2)}, 2)
    waits = threading.Thread(target=models.load, args=("slow",))
    waits.start()
    begun.wait()
    assert value(models, "quick") == 4
    go.set()
    waits.join()
    assert sorted(models.built) == ["quick", "slow"]


def test_a_model_that_cannot_be_built_is_its_own_error() -> None:
    def broken() -> Times:
        raise ValueError("no model: 42")

    models = Models({"good": lambda: Times(2), "bad": broken}, 2)
    (answer,) = models.answer("bad", [ROW])
    assert (answer.status, "'bad' could not be built: ValueError: no model: 42" in answer.body.decode()) == (500, True)
    assert value(models, "good") == 4


@pytest.mark.parametrize(
    ("names", "asked", "said"),
    [
        ("abcdefg", "z", "there is no model 'z' here; there are a, b, c, d, e and 2 more"),
        ("abc", ONLY, "say which model is asked, by models/NAME in the path or header X-Model; there are a, b, c"),
        ([ONLY], "a", "there is one model here, and it is not called 'a'"),
    ],
)
def test_a_model_that_is_not_there_is_named(names: Sequence[str], asked: str, said: str) -> None:
    models = Models({name: lambda: Times(1) for name in names}, 2)
    (answer,) = models.answer(asked, [ROW])
    assert answer.status == 404
    assert said in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "many models need at least one"),
        ({"": b"1"}, "needs a name"),
        ({"münchen": b"1"}, "printable ASCII"),
        ({"a ": b"1"}, "printable ASCII"),
        ({"a": bytes(MOST_PAYLOAD_BYTES), "b": b"1"}, "give digests of artifacts"),
    ],
)
def test_payloads_that_are_none_are_refused(payload: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_payload(payload)
