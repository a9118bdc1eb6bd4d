"""An A/B experiment as it stands: the effect on its metric, whether the split is what it should be, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from orchestrator.serving.means import Effect, Moments, detectable, effect, power, sample_ratio_log_e
from orchestrator.serving.strategy import AB
from orchestrator.serving.window import Window

Winner = Literal["candidate", "stable", "none", "invalid"]

RATIO_ALPHA = 0.001
"""Chance to call a split wrong that is right."""


MOST_SLICES = 20
"""Slices that are told, the first that come. Their intervals share the risk evenly, however many there are in the
end (Bonferroni): with ``1 - wrong_winners`` all of them hold, at all times at once."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The effect on a part of the requests, within its share of the risk; None before there are values enough."""

    name: str
    candidate_values: float
    stable_values: float
    candidate_mean: float
    stable_mean: float
    difference: float | None = None
    low: float | None = None
    high: float | None = None


class Finding(NamedTuple):
    """What an experiment came to, and why."""

    winner: Winner
    why: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """What was counted of both versions since the experiment began.

    Attributes:
        candidate, stable: Values of the metric.
        candidate_units, stable_units: Requests since the split stands; those of one client count as far as they are
            worth.
        parts: Values of candidate and stable version by ``field=value`` of the request.
    """

    candidate: Moments = field(default_factory=Moments)
    stable: Moments = field(default_factory=Moments)
    candidate_units: float = 0.0
    stable_units: float = 0.0
    parts: Mapping[str, tuple[Moments, Moments]] = field(default_factory=dict)

    def after(self, metric: str, window: Window, stands: bool) -> Experiment:
        """With what happened since the look before; ``stands`` says that all of it was split as it should be."""
        units = max(1.0, window.design.requests)
        return Experiment(
            self.candidate.plus(window.candidate.outcomes.get(metric)),
            self.stable.plus(window.stable.outcomes.get(metric)),
            self.candidate_units + stands * window.candidate.requests / units,
            self.stable_units + stands * window.stable.requests / units,
            _parts(self.parts, metric, window),
        )

    @property
    def percent(self) -> float:
        """Percent of the requests that the candidate got; 0 without any."""
        total = self.candidate_units + self.stable_units
        return 100.0 * self.candidate_units / total if total else 0.0

    def effect(self, strategy: AB) -> Effect | None:
        """The effect, if there are values enough to say."""
        if min(self.candidate.count, self.stable.count) < strategy.min_outcomes:
            return None
        return effect(self.candidate, self.stable, strategy.wrong_winners)

    def split(self, strategy: AB) -> tuple[float, ...]:
        """Percent that the candidate got, and ``ratio_log_e``; empty before there is a request."""
        return (self.percent, self.ratio_log_e(strategy)) if self.candidate_units or self.stable_units else ()

    def ratio_log_e(self, strategy: AB) -> float:
        """Logarithm of the e-value against the split being what was asked for."""
        return sample_ratio_log_e(self.candidate_units, self.stable_units, strategy.split / 100.0)

    def slices(self, strategy: AB) -> tuple[Slice, ...]:
        """The effect on each part of the requests."""
        return tuple(_slice(name, *moments, strategy) for name, moments in sorted(self.parts.items()))

    def finding(self, strategy: AB, over: bool) -> Finding | None:
        """The verdict, or None to go on; ``over`` says that the horizon has come."""
        if self.ratio_log_e(strategy) >= -math.log(RATIO_ALPHA):
            return Finding(
                "invalid", f"the candidate got {self.percent:.3g} % of the requests instead of {strategy.split:g} %"
            )
        found = self.effect(strategy)
        if found is None:
            return None
        told = f"{strategy.metric} {found.difference:+.4g} ({found.low:+.4g} to {found.high:+.4g})"
        if found.excludes_zero:
            good = (found.difference > 0) == (strategy.better == "higher")
            return Finding("candidate" if good else "stable", f"{told}, {'better' if good else 'worse'} beyond doubt")
        return Finding("none", f"{told}: no difference beyond doubt at the horizon") if over else None

    def figures(self, strategy: AB) -> dict[str, float]:
        """Numbers for the record."""
        figures = {
            "candidate_mean": self.candidate.mean,
            "stable_mean": self.stable.mean,
            "candidate_values": self.candidate.count,
            "stable_values": self.stable.count,
            "candidate_percent": self.percent,
            "ratio_log_e": self.ratio_log_e(strategy),
        }
        found = self.effect(strategy)
        if found is not None:
            figures |= {"effect": found.difference, "effect_low": found.low, "effect_high": found.high}
            figures["detectable_effect"] = detectable(found, strategy.wrong_winners)
            if strategy.min_effect is not None:
                figures["power"] = power(found, strategy.min_effect, strategy.wrong_winners)
        return figures

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "candidate": self.candidate.to_json(), "stable": self.stable.to_json(),
            "candidate_units": self.candidate_units, "stable_units": self.stable_units,
            "parts": {name: [mine.to_json(), other.to_json()] for name, (mine, other) in self.parts.items()},
        }  # fmt: skip

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Experiment:
        """What ``to_json`` wrote."""
        parts = document.get("parts", {})
        return Experiment(
            Moments.from_json(document["candidate"]), Moments.from_json(document["stable"]),
            document["candidate_units"], document["stable_units"],
            {name: (Moments.from_json(mine), Moments.from_json(other)) for name, (mine, other) in parts.items()},
        )  # fmt: skip


def _parts(
    known: Mapping[str, tuple[Moments, Moments]], metric: str, window: Window
) -> Mapping[str, tuple[Moments, Moments]]:
    mine, other = window.candidate.slices, window.stable.slices
    new = {name for of, name in (*mine, *other) if of == metric}
    if not new:
        return known
    kept = [*known, *sorted(new - known.keys())][:MOST_SLICES]
    before = {name: known.get(name, (Moments(), Moments())) for name in kept}
    return {
        name: (one.plus(mine.get((metric, name))), two.plus(other.get((metric, name))))
        for name, (one, two) in before.items()
    }


def _slice(name: str, mine: Moments, other: Moments, strategy: AB) -> Slice:
    seen = Slice(name, mine.count, other.count, mine.mean, other.mean)
    if min(mine.count, other.count) < strategy.min_outcomes:
        return seen
    found = effect(mine, other, strategy.wrong_winners / MOST_SLICES)
    return seen if found is None else replace(seen, difference=found.difference, low=found.low, high=found.high)
