"""Axes of plots: where a value stands between 0 and 1, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LOG_FROM = 30.0
"""Positive numbers that span this factor stand on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of numbers, or of names in their order.

    Attributes:
        ticks: What is written, and where: 0 is the lower end.
    """

    name: str
    ticks: Sequence[tuple[str, float]]
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    places: Mapping[str, float] | None = None

    def at(self, value: Any) -> float:
        """Where a value stands, from 0 to 1."""
        if self.places is not None:
            return self.places.get(str(value), 0.5)
        if not is_number(value):
            return 0.5
        if self.log:
            return _part(math.log(value), math.log(self.low), math.log(self.high))
        return _part(value, self.low, self.high)


def axis_of(name: str, values: Sequence[Any]) -> Axis:
    """An axis that holds these values: of numbers if they all are, else of names."""
    if values and all(map(is_number, values)):
        low, high = float(min(values)), float(max(values))
        log = low > 0 and high / low >= _LOG_FROM
        middle = math.sqrt(low * high) if log else (low + high) / 2
        ends = [(low, 0.0), (middle, 0.5), (high, 1.0)] if low < high else [(low, 0.5)]
        return Axis(name, [(shown_number(value), at) for value, at in ends], low, high, log)
    names = list(dict.fromkeys(map(str, values)))
    places = {text: (place + 0.5) / len(names) for place, text in enumerate(names)}
    return Axis(name, list(places.items()), places=places)


def is_number(value: Any) -> bool:
    """True for a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown_number(value: float) -> str:
    """A number with four digits that count."""
    return f"{value:.4g}"


def _part(value: float, low: float, high: float) -> float:
    return 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
