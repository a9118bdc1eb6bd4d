"""Grid search: every combination of the lists, the last parameter changing fastest; ranges are drawn at random."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from orchestrator.ports.tune import Choice, Mode, Point, Space
from orchestrator.sweeps.searchers.random import draw


class GridSearcher:
    """See ``ports.tune.Searcher``."""

    adaptive = False

    def __init__(self, spaces: Mapping[str, Space], seed: int) -> None:
        self._spaces = spaces
        self._seed = seed

    def suggest(self, trial: int) -> Point | None:
        """See ``Searcher``."""
        if trial >= size(self._spaces):
            return None
        generator, rest = Random(f"{self._seed}/{trial}"), trial
        point: Point = {}
        for name, space in reversed(list(self._spaces.items())):
            if isinstance(space, Choice):
                rest, at = divmod(rest, len(space.values))
                point[name] = space.values[at]
            else:
                point[name] = draw(space, generator)
        return {name: point[name] for name in self._spaces}

    def tell(self, trial: int, value: float | None) -> None:
        """See ``Searcher``; it learns nothing."""

    def recall(self, point: Point, value: float | None) -> None:
        """See ``Searcher``; it learns nothing."""


def create(spaces: Mapping[str, Space], mode: Mode, seed: int) -> GridSearcher:
    """A searcher over these spaces."""
    return GridSearcher(spaces, seed)


def size(spaces: Mapping[str, Space]) -> int:
    """Number of combinations of the lists."""
    return math.prod(len(space.values) for space in spaces.values() if isinstance(space, Choice))
