"""An A/B experiment as it stands: the effect on its metric, whether the split is what it should be, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from orchestrator.serving.means import Effect, Moments, detectable, effect, power, sample_ratio_log_e
from orchestrator.serving.strategy import AB
from orchestrator.serving.window import Window

Winner = Literal["candidate", "stable", "none", "invalid"]

RATIO_ALPHA = 0.001
"""Chance to call a split wrong that is right."""


class Finding(NamedTuple):
    """What an experiment came to, and why."""

    winner: Winner
    why: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """What was counted of both versions since the experiment began.

    Attributes:
        candidate, stable: Values of the metric.
        candidate_units, stable_units: Requests; those of one client count as far as they are worth.
    """

    candidate: Moments = field(default_factory=Moments)
    stable: Moments = field(default_factory=Moments)
    candidate_units: float = 0.0
    stable_units: float = 0.0

    def after(self, metric: str, window: Window) -> Experiment:
        """With what happened since the look before."""
        units = max(1.0, window.design.requests)
        return Experiment(
            self.candidate.plus(window.candidate.outcomes.get(metric)),
            self.stable.plus(window.stable.outcomes.get(metric)),
            self.candidate_units + window.candidate.requests / units,
            self.stable_units + window.stable.requests / units,
        )

    def effect(self, strategy: AB) -> Effect | None:
        """The effect, if there are values enough to say."""
        if min(self.candidate.count, self.stable.count) < strategy.min_outcomes:
            return None
        return effect(self.candidate, self.stable, strategy.wrong_winners)

    def ratio_log_e(self, strategy: AB) -> float:
        """Logarithm of the e-value against the split being what was asked for."""
        return sample_ratio_log_e(self.candidate_units, self.stable_units, strategy.split / 100.0)

    def finding(self, strategy: AB, over: bool) -> Finding | None:
        """The verdict, or None to go on; ``over`` says that the horizon has come."""
        if self.ratio_log_e(strategy) >= -math.log(RATIO_ALPHA):
            total = self.candidate_units + self.stable_units
            got = 100.0 * self.candidate_units / total
            return Finding("invalid", f"the candidate got {got:.3g} % of the requests instead of {strategy.split:g} %")
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
        total = self.candidate_units + self.stable_units
        figures = {
            "candidate_mean": self.candidate.mean,
            "stable_mean": self.stable.mean,
            "candidate_values": self.candidate.count,
            "stable_values": self.stable.count,
            "candidate_percent": 100.0 * self.candidate_units / total if total else 0.0,
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
        }  # fmt: skip

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Experiment:
        """What ``to_json`` wrote."""
        return Experiment(
            Moments.from_json(document["candidate"]), Moments.from_json(document["stable"]),
            document["candidate_units"], document["stable_units"],
        )  # fmt: skip
