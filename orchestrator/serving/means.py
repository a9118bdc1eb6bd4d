"""Confidence sequences for means of business metrics: intervals that hold at all times at once.

They are asymptotic (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and
asymptotic confidence sequences"): Robbins' normal mixture with the variance estimated. Values need no bounds, only a
variance; the error probability is exact in the limit, so nothing is said before there are enough values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.ports.traffic import OutcomeTally
from orchestrator.serving.sequences import LARGEST

TIGHTEST_AT = 2000.0
"""Number of values at which the sequences are tightest."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of some values."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, more: OutcomeTally | None) -> Moments:
        """With further values."""
        if more is None:
            return self
        return Moments(self.count + more.count, self.total + more.total, self.squares + more.squares)

    @property
    def mean(self) -> float:
        """Mean; 0 without values."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Variance of the values, unbiased; 0 for fewer than two."""
        if self.count < 2:
            return 0.0
        return max(0.0, self.squares - self.total * self.total / self.count) / (self.count - 1)

    @property
    def zero_or_one(self) -> bool:
        """True if all values were 0 or 1."""
        return self.count > 0 and self.squares == self.total and self.total == int(self.total)

    def to_json(self) -> list[float]:
        """As JSON values."""
        return [self.count, self.total, self.squares]

    @staticmethod
    def from_json(document: Any) -> Moments:
        """What ``to_json`` wrote."""
        return Moments(*map(float, document))


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference of two means with its confidence sequence, as it stands now."""

    difference: float
    low: float
    high: float
    error: float
    values: float

    @property
    def excludes_zero(self) -> bool:
        """True if there is a difference beyond doubt."""
        return self.low > 0 or self.high < 0


def log_e_of_mean(values: Moments, limit: float, above: bool) -> float:
    """Logarithm of the e-value against "the mean is not above the limit" (or not below it).

    Robbins' mixture over half a normal distribution of effects, ``2 exp(c^2 S^2 / (2 v)) Phi(c S / sqrt(v)) / sqrt(v)``
    with ``v = n c^2 + 1`` and ``S`` the sum of standardised deviations (Howard, Ramdas, McAuliffe and Sekhon 2021,
    "Time-uniform, nonparametric, nonasymptotic confidence sequences", one-sided normal mixture).
    """
    if values.count < 2 or values.variance <= 0:
        return 0.0
    sign = 1.0 if above else -1.0
    deviation = sign * values.count * (values.mean - limit) / math.sqrt(values.variance)
    scale = _scale(0.01)
    spread = values.count * scale * scale + 1.0
    z = scale * deviation / math.sqrt(spread)
    return min(LARGEST, z * z / 2 + math.log(2.0) - math.log(spread) / 2 + _log_normal_below(z))


def effect(candidate: Moments, stable: Moments, alpha: float) -> Effect | None:
    """The difference of the means, candidate minus stable, within its sequence; None for too few values to say."""
    if min(candidate.count, stable.count) < 2:
        return None
    values = candidate.count + stable.count
    error = math.sqrt(candidate.variance / candidate.count + stable.variance / stable.count)
    half = error * width(values, alpha)
    difference = candidate.mean - stable.mean
    return Effect(difference, difference - half, difference + half, error, values)


def width(values: float, alpha: float) -> float:
    """Half the width of a two-sided sequence after so many values, in standard errors of the mean."""
    scale = _scale(alpha)
    spread = values * scale * scale + 1.0
    return math.sqrt(2.0 * spread / (values * scale * scale) * math.log(math.sqrt(spread) / alpha))


def power(found: Effect, smallest: float, alpha: float) -> float:
    """Chance that an effect of this size would stand out by now: what is left of it in standard errors, as a normal."""
    if found.error <= 0:
        return 1.0
    return math.exp(_log_normal_below(smallest / found.error - width(found.values, alpha)))


def detectable(found: Effect, alpha: float) -> float:
    """Effect that would stand out by now with a chance of 80 %."""
    return found.error * (width(found.values, alpha) + 0.8416)


def sample_ratio_log_e(candidate: float, stable: float, share: float) -> float:
    """Logarithm of the e-value against "a unit falls to the candidate with this share".

    A Beta mixture of binomial likelihoods around the share (Lindon and Malek 2022, "Anytime-valid inference for
    multinomial count data"); counts may be effective ones.
    """
    weight = 100.0
    a, b = weight * share, weight * (1.0 - share)
    mixed = _log_beta(a + candidate, b + stable) - _log_beta(a, b)
    return min(LARGEST, mixed - candidate * math.log(share) - stable * math.log(1.0 - share))


def moments_of(outcomes: Mapping[str, OutcomeTally], metric: str) -> Moments:
    """The values of one metric."""
    return Moments().plus(outcomes.get(metric))


def _scale(alpha: float) -> float:
    """The mixture's standard deviation that is best at ``TIGHTEST_AT`` values."""
    log = -2.0 * math.log(alpha)
    return math.sqrt((log + math.log(log + 1.0)) / TIGHTEST_AT)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_normal_below(z: float) -> float:
    """Logarithm of the normal distribution function, also far to the left."""
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    return -z * z / 2 - math.log(-z * math.sqrt(2.0 * math.pi))
