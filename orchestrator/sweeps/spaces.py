"""What people write under ``over=``, as spaces: lists, ranges, and the search spaces of Ray Tune.

Tune's own objects are known by their class, so that Ray is not loaded to read them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import InvalidStage
from orchestrator.graph.source import refusal
from orchestrator.ports.tune import Choice, Range, Space

_SAMPLE = "ray.tune.search.sample"
_KINDS = ("log", "int")


def read_spaces(over: Mapping[str, Any]) -> dict[str, Space]:
    """A space for each parameter, in the order given.

    Raises:
        InvalidStage: something is no list, range or Tune space; names the parameter.
    """
    if not isinstance(over, Mapping) or not over:
        raise refusal(InvalidStage, "sweep(over=…) is a dict with at least one parameter: {'lr': (0.001, 0.1, 'log')}")
    return {str(name): _read(str(name), value) for name, value in over.items()}


def _read(name: str, value: Any) -> Space:
    if isinstance(value, Choice | Range):
        return value
    if isinstance(value, Mapping) and set(value) == {"grid_search"}:
        value = list(value["grid_search"])
    if isinstance(value, list | range):
        if not value:
            raise refusal(InvalidStage, f"sweep: over[{name!r}] is empty; give at least one value")
        return Choice(tuple(value))
    if isinstance(value, tuple):
        return _range(name, value)
    if type(value).__module__ == _SAMPLE:
        return _tune_space(name, value)
    raise refusal(
        InvalidStage,
        f"sweep: over[{name!r}] is a {type(value).__name__}; write a list of values, a range (low, high), "
        "(low, high, 'log') or (low, high, 'int'), or a Ray Tune space",
    )


def _range(name: str, value: tuple[Any, ...]) -> Range:
    low, high, *kinds = value if len(value) >= 2 else (None, None)
    if not (_number(low) and _number(high)) or any(kind not in _KINDS for kind in kinds):
        raise refusal(
            InvalidStage,
            f"sweep: over[{name!r}]={value!r} is no range; write (low, high), (low, high, 'log') or "
            "(low, high, 'int'); "
            "single values stand in a list",
        )
    return _checked(name, Range(low, high, "log" in kinds, "int" in kinds))


def _checked(name: str, space: Range) -> Range:
    if not space.low < space.high:
        raise refusal(InvalidStage, f"sweep: over[{name!r}]: {space.low} is not below {space.high}")
    if space.log and space.low <= 0:
        raise refusal(InvalidStage, f"sweep: over[{name!r}]: a 'log' range starts above 0, not at {space.low}")
    if space.whole and not (float(space.low).is_integer() and float(space.high).is_integer()):
        raise refusal(InvalidStage, f"sweep: over[{name!r}]: an 'int' range has whole ends")
    return space


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tune_space(name: str, domain: Any) -> Space:
    """A ``Categorical``, ``Float`` or ``Integer`` of Ray Tune; Tune's upper end of integers is not part of them."""
    kind = type(domain).__name__
    if kind == "Categorical":
        return Choice(tuple(domain.categories))
    sampler, step = domain.get_sampler(), 0.0
    if type(sampler).__name__ == "Quantized":
        sampler, step = sampler.get_sampler(), float(sampler.q)
    how = type(sampler).__name__.strip("_")
    if kind not in ("Float", "Integer") or how not in ("Uniform", "LogUniform"):
        raise refusal(
            InvalidStage,
            f"sweep: over[{name!r}] is a Tune space of {kind} drawn by {how}; choice, grid_search, uniform, "
            "loguniform, randint, lograndint and their quantized kin can be used",
        )
    whole = kind == "Integer"
    high = domain.upper - 1 if whole and not step else domain.upper
    return _checked(name, Range(domain.lower, high, how == "LogUniform", whole, 0.0 if whole and step == 1 else step))
