from __future__ import annotations

import copy
import inspect
import operator
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from orchestrator import pipeline, stage
from orchestrator.errors import PlaceholderMisuse, WrongType
from orchestrator.graph.node import Ref


class Pair(NamedTuple):
    left: int
    right: int


@stage
def number(x: int = 0) -> int:
    return x


@stage
def loose(x: Any = None) -> Any:
    return x


def test_containers_that_cannot_hold_results() -> None:
    @dataclass
    class Box:
        content: Any

    def tracing(make: Callable[[Any], Any]) -> None:
        pipeline(lambda: loose(make(number())), name="p").graph()

    for make in (lambda n: {n}, lambda n: Box(n), lambda n: Pair(n, 1), lambda n: [{"a": Box([n])}]):
        with pytest.raises(PlaceholderMisuse, match="lists, tuples and dicts"):
            tracing(make)
    with pytest.raises(WrongType, match="text as its keys"):
        tracing(lambda n: {1: n})


@pytest.mark.parametrize(
    "use",
    [
        bool, iter, len, str, int, float, lambda n: f"{n}", lambda n: n == 1, lambda n: n != 1, lambda n: n < 1,
        lambda n: n <= 1, lambda n: n + 1, lambda n: 1 + n, lambda n: -n, lambda n: n @ n, lambda n: 1 in n,
        lambda n: n(),
        lambda n: not n, list, tuple, operator.index, round, abs, copy.copy, pickle.dumps, lambda n: n[1:2],
        lambda n: n[1.5],
        lambda n: n[True], lambda n: setattr(n, "x", 1), lambda n: operator.setitem(n, 0, 1), lambda n: [*n],
        lambda n: {**n},
        lambda n: operator.delitem(n, 0), reversed, lambda n: n and 1,
    ],
)  # fmt: skip
def test_what_needs_a_value_is_refused_and_says_what_to_do(use: Callable[[Any], Any]) -> None:
    @pipeline
    def p() -> Any:
        return use(loose())

    with pytest.raises((PlaceholderMisuse, TypeError)) as caught:
        p.graph()
    if isinstance(caught.value, PlaceholderMisuse):
        message = str(caught.value)
        assert all(word in message for word in ("'loose", "when(", ".map(", "@dynamic", "ORC-116"))
        assert caught.value.details["file"] == __file__
        assert caught.value.details["line"]


def test_the_refusal_names_the_users_line() -> None:
    @pipeline
    def p() -> int:
        n = number()
        if n > 3:  # here
            return number(1)
        return n

    with pytest.raises(PlaceholderMisuse) as caught:
        p.graph()
    lines, first = inspect.getsourcelines(p.function)
    line = first + next(offset for offset, text in enumerate(lines) if "# here" in text)
    assert str(caught.value).startswith(f"{__file__}:{line}: ")


def test_placeholders_may_be_in_sets_and_dicts_of_the_author() -> None:
    @pipeline
    def p() -> int:
        a, b = number(1), number(2)
        seen = {a, b}
        assert a in seen
        return {a: "x", b: "y"} and a

    assert p.graph().output == Ref("number")
    with pytest.raises(AttributeError):
        pipeline(lambda: number().__array__(), name="q").graph()
