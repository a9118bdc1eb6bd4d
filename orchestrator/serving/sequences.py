"""Evidence about rates that stays honest however often one looks.

An e-process starts at 1 and, while its null hypothesis holds, is expected to be at most 1 at any time at which anybody
stops. By Ville's inequality the chance that it ever reaches ``1 / alpha`` is at most ``alpha`` (Ville 1939; Ramdas,
Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference"). So whoever rolls back at
``1 / alpha`` may look after every request. Values are natural logarithms.

Each e-process here is a mixture over how much worse the rate is (``ODDS`` and ``RATIOS``) and over when it became so:
with block ``j`` a new component starts with weight ``1 / (j (j + 1))`` (a mixture over change points, as in Shin,
Ramdas and Rinaldo 2023, "E-detectors"). A candidate that breaks after a good hour is therefore found about as soon as
one that was bad from the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ODDS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Odds of alternatives to a limit, as multiples of the odds of the limit."""

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Rates of a candidate that is worse, as multiples of the rate of the stable version."""

LARGEST = 1e6
"""Logarithms are kept within this, so that they stay numbers in JSON."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """State of an e-process.

    Attributes:
        logs: Logarithm of each component's wealth; empty before the first block.
        blocks: Number of blocks so far.
    """

    logs: tuple[float, ...] = ()
    blocks: int = 0

    def after(self, factors: Sequence[float]) -> Mixture:
        """The state after a block whose logarithmic factors, by component, are these."""
        blocks = self.blocks + 1
        fresh = -math.log(blocks * (blocks + 1)) - math.log(len(factors))
        before = self.logs or (-math.inf,) * len(factors)
        grown = (_sum_of(log, fresh) + factor for log, factor in zip(before, factors, strict=True))
        return Mixture(tuple(min(LARGEST, max(-LARGEST, log)) for log in grown), blocks)

    @property
    def log_e(self) -> float:
        """Logarithm of the e-value; the weight that has not been staked yet counts in full."""
        return log_sum((*self.logs, -math.log(self.blocks + 1)))


def above_limit(hits: float, trials: float, limit: float) -> tuple[float, ...]:
    """Logarithmic factors of a block against "no trial hits with a chance above the limit, whatever came before".

    The likelihood ratio of a rate ``q`` above the limit ``p``, ``(q/p)^hits ((1-q)/(1-p))^misses``: its expectation
    is 1 for trials at the limit and less below it (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random
    variables by betting", with the bet of a fixed alternative). Block sizes do not matter.
    """
    factors = []
    for odds in ODDS:
        rate = odds * limit / (odds * limit + 1.0 - limit)
        factors.append(hits * math.log(rate / limit) + (trials - hits) * math.log((1.0 - rate) / (1.0 - limit)))
    return tuple(factors)


def worse_than(hits: float, trials: float, other_hits: float, other_trials: float) -> tuple[float, ...]:
    """Logarithmic factors of a block against "within a block, the candidate hits no more often than the other".

    Given how many trials each side had and how many hits there were in all, the candidate's hits are hypergeometric if
    both sides are alike; their number is then less spread than if each hit fell to the candidate with its share ``s``
    of the trials (Hoeffding 1963, theorem 4), so the likelihood ratio ``(q/s)^hits ((1-q)/(1-s))^other_hits`` with
    ``q = r s / (r s + 1 - s)`` is expected to be at most 1. Nothing is assumed about the rate itself, which may differ
    from block to block: the hour of the day and an outage of both are no evidence. A block that only one side had
    is none either.
    """
    if trials <= 0 or other_trials <= 0:
        return (0.0,) * len(RATIOS)
    share = trials / (trials + other_trials)
    factors = []
    for ratio in RATIOS:
        scale = ratio * share + 1.0 - share
        factors.append(hits * math.log(ratio / scale) - other_hits * math.log(scale))
    return tuple(factors)


def log_sum(logs: Sequence[float]) -> float:
    """Logarithm of a sum of which the logarithms are given."""
    top = max(logs)
    return top if top == -math.inf else top + math.log(sum(math.exp(log - top) for log in logs))


def _sum_of(one: float, other: float) -> float:
    """``log_sum`` of two, the second one finite."""
    low, high = (one, other) if one < other else (other, one)
    return high + math.log1p(math.exp(low - high))


def e_text(log_e: float) -> str:
    """An e-value for people: ``0.4``, ``37``, ``10^12``."""
    if log_e < math.log(1e4):
        value = math.exp(max(log_e, -700.0))
        return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return f"10^{log_e / math.log(10.0):.0f}"
