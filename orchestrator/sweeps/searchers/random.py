"""Random search: each point is drawn by itself, from the seed and the trial's number alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from orchestrator.ports.tune import Choice, Mode, Point, Range, Space


class RandomSearcher:
    """See ``ports.tune.Searcher``."""

    adaptive = False

    def __init__(self, spaces: Mapping[str, Space], seed: int) -> None:
        self._spaces = spaces
        self._seed = seed

    def suggest(self, trial: int) -> Point | None:
        """See ``Searcher``."""
        generator = Random(f"{self._seed}/{trial}")
        return {name: draw(space, generator) for name, space in self._spaces.items()}

    def tell(self, trial: int, value: float | None) -> None:
        """See ``Searcher``; it learns nothing."""

    def recall(self, point: Point, value: float | None) -> None:
        """See ``Searcher``; it learns nothing."""


def create(spaces: Mapping[str, Space], mode: Mode, seed: int) -> RandomSearcher:
    """A searcher over these spaces."""
    return RandomSearcher(spaces, seed)


def draw(space: Space, generator: Random) -> Any:
    """One value of a space."""
    return generator.choice(space.values) if isinstance(space, Choice) else _number(space, generator)


def _number(space: Range, generator: Random) -> float:
    if space.whole and not space.log and not space.step:
        return generator.randint(int(space.low), int(space.high))
    if space.log:
        low = space.low - 0.5 if space.whole else space.low
        high = space.high + 0.5 if space.whole else space.high
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        value = generator.uniform(space.low, space.high)
    if space.step:
        value = space.low + round((value - space.low) / space.step) * space.step
        value = value if value <= space.high else value - space.step
    value = min(max(value, space.low), space.high)
    return round(value) if space.whole else value
