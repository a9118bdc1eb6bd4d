"""Strategies: their steps, their limits, what is refused, and the way to JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.errors import ConfigError, InvalidDuration
from orchestrator.serving import AB, BlueGreen, Canary, Shadow, Strategy, strategy_from_json, strategy_to_json

EACH: list[Strategy] = [
    Canary(steps=(5, 25, 100), bake="2m", rollback_if="error_rate > 0.01 or p95_ms > 80"),
    BlueGreen(bake="30s", compare=()),
    Shadow(percent=20, rollback_if="different_rate > 0.02", timeout="300ms", concurrency=4),
    AB(metric="conversion", split=30, better="lower", min_effect=0.01),
]


@pytest.mark.parametrize("strategy", EACH)
def test_json_gives_the_same_strategy(strategy: Strategy) -> None:
    assert strategy_from_json(json.loads(json.dumps(strategy_to_json(strategy)))) == strategy


def test_steps() -> None:
    assert [step.weight for step in EACH[0].steps_taken] == [5, 25, 100]
    assert [tuple(step) for step in EACH[1].steps_taken] == [(100, 0)]
    assert [tuple(step) for step in EACH[2].steps_taken] == [(0, 20)]
    assert [tuple(step) for step in EACH[3].steps_taken] == [(30, 0)]


def test_slow_is_what_the_tightest_limit_says() -> None:
    assert Canary(rollback_if="p95_ms > 80 or p99_ms > 300").slow_limit_ms == 80
    assert Canary(rollback_if="p95_ms > 80", slow_ms=50).slow_limit_ms == 50
    assert Canary().slow_limit_ms is None


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Canary, {"steps": (25, 5, 100)}, "have to grow"),
        (Canary, {"steps": (0, 100)}, "have to grow"),
        (Canary, {"steps": ()}, "have to grow"),
        (Canary, {"steps": (5, 50)}, "end with 100"),
        (Canary, {"steps": (5, 101)}, "end with 100"),
        (Canary, {"min_samples": 0}, "without data nothing is promoted"),
        (Canary, {"min_outcomes": 1.5}, "whole number"),
        (Canary, {"compare": ("latency",)}, "there is errors, slow, broken"),
        (Canary, {"false_rollbacks": 0}, "between 0 and 0.5"),
        (Canary, {"slow_ms": -1}, "milliseconds above 0"),
        (Canary, {"rollback_if": "eror_rate > 0.1"}, "did you mean 'error_rate'?"),
        (Shadow, {"percent": 0}, "above 0 and at most 100"),
        (Shadow, {"timeout": 0}, "more than 0 s"),
        (Shadow, {"concurrency": 0}, "whole number of 1 or more"),
        (AB, {"metric": ""}, "names no business metric"),
        (AB, {"metric": "m", "split": 100}, "between 0 and 100"),
        (AB, {"metric": "m", "better": "more"}, "'higher' or 'lower'"),
        (AB, {"metric": "m", "horizon": "1m", "bake": "2m"}, "longer than bake"),
        (AB, {"metric": "m", "min_effect": 0}, "above 0"),
        (AB, {"metric": "m", "wrong_winners": 1}, "between 0 and 0.5"),
    ],
)
def test_what_is_refused(kind: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        kind(**fields)


def test_durations_are_checked_when_written() -> None:
    with pytest.raises(InvalidDuration):
        Canary(bake="soon")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"kind": "rolling"}, "there is canary, blue_green, shadow, ab"),
        ({"kind": "canary", "step": [5, 100]}, "'step' is no field of canary"),
        ({"kind": "ab"}, "metric"),
    ],
)
def test_what_is_no_stored_strategy(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        strategy_from_json(document)
