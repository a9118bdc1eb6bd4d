"""Searchers propose points of their spaces, the same for the same seed and history."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidStage
from orchestrator.ports.tune import Choice, Point, Range, Searcher, Space
from orchestrator.sweeps.search import create_searcher

CHOICES = st.lists(st.one_of(st.integers(), st.text(max_size=3)), min_size=1, max_size=4, unique_by=repr).map(
    lambda values: Choice(tuple(values))
)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    log, whole = draw(st.booleans()), draw(st.booleans())
    if whole:
        low = draw(st.integers(1 if log else -50, 50))
        return Range(low, low + draw(st.integers(1, 1000)), log, True)
    low_f = draw(st.floats(1e-6 if log else -100.0, 100.0))
    high = low_f * draw(st.floats(1.5, 1e4)) if log else low_f + draw(st.floats(0.1, 100.0))
    step = 0.0 if log else draw(st.sampled_from([0.0, 0.05]))
    return Range(low_f, high, log, False, step)


SPACES = st.dictionaries(st.text("abc.", min_size=1, max_size=4), st.one_of(CHOICES, ranges()), min_size=1, max_size=3)


def within(space: Space, value: Any) -> bool:
    if isinstance(space, Choice):
        return value in space.values
    if space.whole and type(value) is not int:
        return False
    return bool(space.low <= value <= space.high)


def played(searcher: Searcher, count: int) -> list[Point]:
    points = []
    for number in range(count):
        point = searcher.suggest(number)
        assert point is not None
        points.append(point)
        searcher.tell(number, None if number % 3 == 2 else float(number % 5))
    return points


@settings(max_examples=60, deadline=None)
@given(SPACES, st.integers(0, 2**63))
def test_random_points_lie_in_their_spaces_and_follow_from_seed_and_number(spaces: dict[str, Space], seed: int) -> None:
    points = played(create_searcher("random", spaces, "max", seed), 6)
    for point in points:
        assert list(point) == list(spaces)
        assert all(within(spaces[name], value) for name, value in point.items())
    other = create_searcher("random", spaces, "max", seed)
    assert [other.suggest(number) for number in (5, 0, 3)] == [points[5], points[0], points[3]]


@settings(max_examples=25, deadline=None)
@given(SPACES, st.integers(0, 2**40))
def test_optuna_proposes_points_of_the_spaces_and_replays(spaces: dict[str, Space], seed: int) -> None:
    first = played(create_searcher("optuna", spaces, "min", seed), 7)
    assert played(create_searcher("optuna", spaces, "min", seed), 7) == first
    assert all(within(spaces[name], value) for point in first for name, value in point.items())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_grid_has_every_combination_once(sizes: list[int]) -> None:
    spaces: dict[str, Space] = {f"p{place}": Choice(tuple(range(size))) for place, size in enumerate(sizes)}
    grid = create_searcher("grid", spaces, "max", 0)
    total = 1
    for size in sizes:
        total *= size
    points = [grid.suggest(number) for number in range(total)]
    assert len({tuple((point or {}).values()) for point in points}) == total
    assert grid.suggest(total) is None


def test_optuna_learns_also_from_what_an_earlier_attempt_found() -> None:
    spaces: dict[str, Space] = {"x": Range(0.0, 1.0), "kind": Choice(("a", "b"))}
    searcher = create_searcher("optuna", spaces, "max", 1)
    for at in range(40):
        x = at / 40
        searcher.recall({"x": x, "kind": "b"}, 1 - abs(x - 0.7))
    proposed = [searcher.suggest(number) or {} for number in range(8)]
    assert sum(abs(point["x"] - 0.7) < 0.3 for point in proposed) >= 6


def test_an_unknown_searcher() -> None:
    with pytest.raises(InvalidStage, match="no such searcher"):
        create_searcher("magic", {"x": Choice((1,))}, "max", 0)
