"""Tails of tests equal SciPy's, and Holm's correction keeps what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stages.significance import chi_square_tail, holm, homogeneity_tail, kolmogorov_tail

COUNTS = st.lists(st.tuples(st.integers(20, 5_000), st.integers(20, 5_000)), min_size=2, max_size=30)


@given(st.floats(0, 5_000), st.integers(1, 2_000))
def test_the_tail_of_chi_square(statistic: float, freedom: int) -> None:
    expected = float(stats.chi2.sf(statistic, freedom))
    assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(COUNTS)
def test_large_counts_are_tested_as_scipy_tests_them(counts: list[tuple[int, int]]) -> None:
    table = np.array(counts, dtype=np.float64).T
    if (table.sum(axis=1).min() * table.sum(axis=0) / table.sum()).min() < 5:
        return
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert homogeneity_tail(*table) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_rare_cells_count_together() -> None:
    many = np.array([1.0, 0.0] * 500)
    assert homogeneity_tail(many, many[::-1]) == 1.0
    assert homogeneity_tail(np.array([100.0, 2.0, 1.0]), np.array([100.0, 1.0, 2.0])) == 1.0
    assert homogeneity_tail(np.array([100.0, 0.0]), np.array([0.0, 100.0])) < 1e-40
    assert homogeneity_tail(np.array([3.0]), np.array([9.0])) == 1.0
    assert homogeneity_tail(np.array([3.0, 0.0]), np.array([0.0, 3.0])) == 1.0  # six rows show nothing


@given(st.floats(0, 1), st.integers(40, 5_000), st.integers(40, 5_000))
def test_the_tail_of_kolmogorov_and_smirnov(distance: float, first: int, second: int) -> None:
    found = kolmogorov_tail(distance, first, second)
    exact = float(stats.kstwo.sf(distance, round(first * second / (first + second))))
    assert found == pytest.approx(exact, rel=0.25, abs=5e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(0 <= before <= after <= min(1, before * len(p_values)) for before, after in
               zip(p_values, corrected, strict=True))  # fmt: skip
    assert corrected[p_values.index(min(p_values))] == min(1.0, min(p_values) * len(p_values))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [corrected[place] for place in order] == sorted(corrected)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
