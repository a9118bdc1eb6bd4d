"""Parameters and options from the environment and the command line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from orchestrator.config.overrides import read_overrides, values_of
from orchestrator.errors import ConfigError


def values(arguments: list[str], env: dict[str, str] | None = None, **annotations: Any) -> dict[str, Any]:
    return values_of(read_overrides(arguments, env or {}).params, annotations)


def test_parameters_with_and_without_their_prefix() -> None:
    assert values(["x=1", "params.y=[a, 2]", "z="], x=int, y=list, z=Any) == {"x": 1, "y": ["a", 2], "z": None}


def test_the_command_line_wins_over_the_environment() -> None:
    env = {"ORC_PARAM_X": "1", "ORC_PARAM_MIN_AUC": "0.5", "OTHER": "2"}
    assert values(["x=3"], env, x=int, min_auc=float) == {"x": 3, "min_auc": 0.5}
    assert values(["x=3", "x=4"], {}, x=int) == {"x": 4}


def test_the_environment_finds_parameters_in_any_case() -> None:
    assert values([], {"ORC_PARAM_MAXDEPTH": "3"}, maxDepth=int) == {"maxDepth": 3}


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "2013", "2013"),
        (str, "null", "null"),
        (str, "a=b", "a=b"),
        (str | None, "2013", "2013"),
        (str | None, "null", None),
        (Annotated[str, "File"], "7", "7"),
        (int | str, "7", 7),
        (float, "1e-3", 0.001),
        (bool, "true", True),
        (Literal["a", "b"], "a", "a"),
        (Any, "{a: 1}", {"a": 1}),
    ],
)
def test_text_stays_text_where_text_is_wanted(annotation: Any, text: str, value: Any) -> None:
    assert values([f"x={text}"], x=annotation) == {"x": value}


def test_options_of_stages() -> None:
    overrides = read_overrides(
        ["stages.train.num_gpus=0.5", "stages.train.retries.attempts=3", "stages.a.b.resources.tpu=1"], {}
    )
    assert overrides.document.data["stages"] == {
        "train": {"num_gpus": 0.5, "retries": {"attempts": 3}},
        "a.b": {"resources": {"tpu": 1}},
    }


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("x", "sets nothing"),
        ("=1", "sets nothing"),
        ("stages.train=1", "names no option"),
        ("stages.train.num_gpu=1", "did you mean 'num_gpus'"),
        ("stages.train.num_gpus=lots", "command line: stages.train.num_gpus"),
        ("stages.train.retries.attempt=1", "did you mean 'attempts'"),
    ],
)
def test_wrong_arguments_are_refused(argument: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_overrides([argument], {})


def test_unknown_parameters_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"argument min_acu= .*did you mean 'min_auc'"):
        values(["min_acu=1"], min_auc=float, path=str)
    with pytest.raises(ConfigError, match=r"ORC_PARAM_PTAH .*did you mean 'path'"):
        values([], {"ORC_PARAM_PTAH": "1"}, path=str)
    with pytest.raises(ConfigError, match="X"):
        values(["X=1"], x=int)


def test_a_broken_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the argument x=.*no value"):
        values(["x=[1, 2"], x=list)
