"""What may stand under ``over=``."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import InvalidStage
from orchestrator.ports.tune import Choice, Range
from orchestrator.sweeps.spaces import read_spaces


def test_lists_and_ranges() -> None:
    found = read_spaces(
        {"a": [4, "x"], "b": (0.1, 1), "c": (1e-4, 0.1, "log"), "d": (1, 9, "int"), "e": {"grid_search": [1, 2]}}
    )
    assert found == {
        "a": Choice((4, "x")),
        "b": Range(0.1, 1),
        "c": Range(1e-4, 0.1, log=True),
        "d": Range(1, 9, whole=True),
        "e": Choice((1, 2)),
    }


def test_spaces_of_ray_tune() -> None:
    tune = pytest.importorskip("ray.tune.search.sample")
    found = read_spaces(
        {
            "a": tune.Categorical(["x", "y"]).uniform(),
            "b": tune.Float(0.0, 2.0).uniform(),
            "c": tune.Float(1e-3, 1.0).loguniform(),
            "d": tune.Integer(1, 10).uniform(),
            "e": tune.Float(0.0, 1.0).uniform().quantized(0.25),
        }
    )
    assert found == {
        "a": Choice(("x", "y")),
        "b": Range(0.0, 2.0),
        "c": Range(1e-3, 1.0, log=True),
        "d": Range(1, 9, whole=True),
        "e": Range(0.0, 1.0, step=0.25),
    }
    with pytest.raises(InvalidStage, match=r"over\['n'\] is a Tune space"):
        read_spaces({"n": tune.Float(0.0, 1.0).normal(0.0, 1.0)})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "is empty"),
        ("abc", "is a str"),
        ((3, 1), "not below"),
        ((1, 2, 3), "is no range"),
        ((1,), "is no range"),
        ((0, 1, "log"), "starts above 0"),
        ((0.5, 3, "int"), "whole ends"),
        ((1, float("inf")), "is no range"),
        ((1, 2, "lgo"), "is no range"),
    ],
)
def test_what_is_no_space_is_refused_by_name(value: Any, told: str) -> None:
    with pytest.raises(InvalidStage, match=r"over\['lr'\]") as caught:
        read_spaces({"lr": value})
    assert told in str(caught.value)


def test_nothing_to_sweep() -> None:
    with pytest.raises(InvalidStage, match="at least one parameter"):
        read_spaces({})
