"""E-processes: what they are expected to be while nothing is wrong, exactly; and that they grow when something is."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.serving.sequences import Mixture, above_limit, e_text, log_sum, worse_than


def expected(factors: list[tuple[float, ...]], chances: list[float]) -> float:
    """Largest expectation of a component."""
    return max(
        sum(chance * math.exp(factor[at]) for chance, factor in zip(chances, factors, strict=True))
        for at in range(len(factors[0]))
    )


def binomial(trials: int, chance: float) -> list[float]:
    return [math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(trials + 1)]


@pytest.mark.parametrize("limit", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("trials", [1, 7, 40])
def test_at_the_limit_a_block_is_expected_to_change_nothing_and_below_to_lose(limit: float, trials: int) -> None:
    factors = [above_limit(hits, trials, limit) for hits in range(trials + 1)]
    assert expected(factors, binomial(trials, limit)) == pytest.approx(1.0)
    assert expected(factors, binomial(trials, 0.7 * limit)) < 1.0


@pytest.mark.parametrize(("mine", "other"), [(3, 40), (20, 20), (1, 1), (30, 4)])
def test_alike_versions_are_expected_to_gain_nothing_whatever_their_rate(mine: int, other: int) -> None:
    for hits in range(mine + other + 1):
        split = range(max(0, hits - other), min(hits, mine) + 1)
        chances = [math.comb(mine, k) * math.comb(other, hits - k) / math.comb(mine + other, hits) for k in split]
        factors = [worse_than(k, mine, hits - k, other) for k in split]
        assert expected(factors, chances) <= 1.0 + 1e-12
    for rate in (0.01, 0.4, 0.99):
        pairs = list(product(range(mine + 1), range(other + 1)))
        mine_chances, other_chances = binomial(mine, rate), binomial(other, rate)
        chances = [mine_chances[a] * other_chances[b] for a, b in pairs]
        assert expected([worse_than(a, mine, b, other) for a, b in pairs], chances) <= 1.0 + 1e-9


def test_a_block_of_one_side_is_no_evidence() -> None:
    assert set(worse_than(5, 5, 0, 0)) == set(worse_than(0, 0, 5, 5)) == {0.0}


def test_a_mixture_over_all_paths_is_expected_to_be_at_most_one() -> None:
    """Every path of four blocks of two trials at the limit, weighed by its chance; also when stopped early."""
    limit, total, stopped = 0.2, 0.0, 0.0
    chances = binomial(2, limit)
    for path in product(range(3), repeat=4):
        chance, wealth, best = 1.0, Mixture(), 0.0
        for hits in path:
            chance *= chances[hits]
            wealth = wealth.after(above_limit(hits, 2, limit))
            best = best or (math.exp(wealth.log_e) if wealth.log_e > 0.5 else 0.0)
        total += chance * math.exp(wealth.log_e)
        stopped += chance * (best or math.exp(wealth.log_e))
    assert total == pytest.approx(1.0)
    assert stopped <= 1.0 + 1e-9


def test_a_candidate_that_breaks_late_is_found_about_as_soon() -> None:
    def needed(good_blocks: int) -> int:
        wealth = Mixture()
        for _ in range(good_blocks):
            wealth = wealth.after(above_limit(1, 100, 0.02))
        blocks = 0
        while wealth.log_e < math.log(1000):
            blocks += 1
            wealth = wealth.after(above_limit(10, 100, 0.02))
        return blocks

    assert needed(0) <= 2
    assert needed(5000) <= needed(0) + 2


def test_alike_versions_hardly_ever_reach_the_line_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    alpha, runs, reached = 0.05, 120, {"limit": 0, "stable": 0}
    for _ in range(runs):
        limit = compared = Mixture()
        top_limit = top_compared = 0.0
        for mine, other in zip(rng.binomial(20, 0.02, 40).tolist(), rng.binomial(60, 0.02, 40).tolist(), strict=True):
            limit = limit.after(above_limit(mine, 20, 0.02))
            compared = compared.after(worse_than(mine, 20, other, 60))
            top_limit, top_compared = max(top_limit, limit.log_e), max(top_compared, compared.log_e)
        reached["limit"] += top_limit >= -math.log(alpha)
        reached["stable"] += top_compared >= -math.log(alpha)
    assert max(reached.values()) <= alpha * runs


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9))
def test_log_sum(logs: list[float]) -> None:
    top = max(logs)
    assert top <= log_sum(logs) <= top + math.log(len(logs)) + 1e-9


def test_numbers_stay_finite() -> None:
    wealth = Mixture()
    for _ in range(50):
        wealth = wealth.after(above_limit(10**6, 10**6, 0.001))
    assert math.isfinite(wealth.log_e)
    assert all(map(math.isfinite, wealth.after(above_limit(0, 10**9, 0.5)).logs))


def test_e_values_for_people() -> None:
    assert [e_text(math.log(value)) for value in (0.25, 37.2, 5561, 1e7)] == ["0.25", "37", "5561", "10^7"]
