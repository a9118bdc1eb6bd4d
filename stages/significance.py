"""How likely a difference is an accident: tails of two tests, and a correction for having run several.

Rows count as independent. The tests are asymptotic; from some dozens of rows on they err on the side of finding
nothing, all the more where values repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stages.columns import Floats

LEAST_EXPECTED = 5.0
"""Cells that expect fewer rows count together: below that the chi-square distribution is no longer a good likeness."""

_MOST_TERMS = 10_000


def kolmogorov_tail(distance: float, first: int, second: int) -> float:
    """How likely two samples of these sizes from one distribution are at least so far apart (Kolmogorov-Smirnov)."""
    root = math.sqrt(first * second / (first + second))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:
        return 1.0
    total = math.fsum((-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def homogeneity_tail(first: Floats, second: Floats) -> float:
    """How likely two lists of counts over the same cells, from one distribution, differ at least so (chi-square)."""
    table = _pooled(np.stack([first, second]))
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return chi_square_tail(statistic, table.shape[1] - 1)


def _pooled(table: Floats) -> Floats:
    """The same counts without cells that expect too little; they are one cell, or part of the smallest other."""
    table = table[:, table.sum(axis=0) > 0]
    share = table.sum(axis=1).min() / table.sum()
    small = table.sum(axis=0) * share < LEAST_EXPECTED
    large, rest = table[:, ~small], table[:, small].sum(axis=1)
    if not small.any():
        return large
    if rest.sum() * share >= LEAST_EXPECTED or not large.shape[1]:
        return np.column_stack([large, rest])
    large[:, large.sum(axis=0).argmin()] += rest
    return large


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Probability that a chi-square variable is at least ``statistic``: the upper incomplete gamma function."""
    a, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        total = term = 1 / a
        for n in range(1, _MOST_TERMS):
            term *= x / (a + n)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1 - scale * total)
    c, d = math.inf, 1 / (x + 1 - a)
    fraction = d
    for n in range(1, _MOST_TERMS):
        weight, step = n * (a - n), x + 2 * n + 1 - a
        d = 1 / (step + weight * d)
        c = step + weight / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return min(1.0, scale * fraction)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected so that the chance of one false finding among all stays what each promises for itself."""
    corrected, least = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = least
    return corrected
