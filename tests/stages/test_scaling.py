"""Scaling: partial states merge to what the whole table gives, and what was scaled can be scaled back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from stages.errors import DataRejected
from stages.features import finish_scale, fit_scale, merge_scale, partial_scale
from stages.features.scaling import SCALINGS, Scaling
from stages.preprocessing import fit_bounds, fit_fill

values = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=1, max_size=40)
methods = st.sampled_from(SCALINGS)
few = settings(max_examples=40)


def column(data: list[float | None]) -> pa.Table:
    return pa.table({"n": pa.array(data, pa.float64())})


@few
@given(values, st.lists(st.integers(0, 40), max_size=4), methods)
def test_merged_parts_equal_the_whole(data: list[float | None], cuts: list[int], method: Scaling) -> None:
    table = column([*data, 1.0])
    edges = sorted({0, *(min(cut, table.num_rows) for cut in cuts), table.num_rows})
    parts = [table.slice(a, b - a) for a, b in pairwise(edges)]
    merged = merge_scale([partial_scale(part, ["n"], method) for part in parts])
    again = merge_scale([partial_scale(part, ["n"], method) for part in reversed(parts)])
    whole = partial_scale(table, ["n"], method)
    for one, other in ((merged, whole), (again, whole)):
        a, b = one.moments[0], other.moments[0]
        assert (a.count, a.low, a.high, a.values, a.counts) == (b.count, b.low, b.high, b.values, b.counts)
        np.testing.assert_allclose([a.mean, a.squares], [b.mean, b.squares], rtol=1e-9, atol=1e-3)
    if method != "standard":
        assert finish_scale(merged) == finish_scale(whole)


@few
@given(values, methods)
def test_scaling_back_gives_the_values(data: list[float | None], method: Scaling) -> None:
    table = column([*data, 2.0])
    scale = fit_scale(table, ["n"], method)
    back = scale.inverse(scale.apply(table)).column("n")
    assert back.null_count == table.column("n").null_count
    reach = max(abs(value) for value in [*(value for value in data if value is not None), 1.0])
    np.testing.assert_allclose(
        back.drop_null().to_numpy(), table.column("n").drop_null().to_numpy(), rtol=1e-9, atol=1e-9 * reach
    )


@few
@given(values)
def test_clipping_and_filling_twice_changes_nothing(data: list[float | None]) -> None:
    table = column([*data, 3.0])
    for fitted in (fit_bounds(table, ["n"]), fit_fill(table, ["n"])):
        once = fitted.apply(table)
        assert fitted.apply(once).equals(once)


@few
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_robust_figures_are_those_of_numpy(data: list[float]) -> None:
    scale = fit_scale(column(list(data)), ["n"], "robust")
    low, middle, high = np.quantile(data, [0.25, 0.5, 0.75])
    reach = 1e-5 * max(map(abs, data)) + 1e-12
    assert scale.centers[0] == pytest.approx(middle, abs=reach)
    if high - low > 4 * reach:
        assert scale.scales[0] == pytest.approx(high - low, abs=2 * reach)


def test_standard_and_minmax_on_real_incomes(loans: pa.Table) -> None:
    incomes = loans.column("annual_income").to_numpy()
    for method, center, scale in (
        ("standard", incomes.mean(), incomes.std()),
        ("minmax", incomes.min(), incomes.max() - incomes.min()),
    ):
        fitted = fit_scale(loans, ["annual_income"], method)  # type: ignore[arg-type]
        assert (fitted.centers[0], fitted.scales[0]) == (pytest.approx(center), pytest.approx(scale))


def test_a_constant_column_is_not_blown_up() -> None:
    scaled = fit_scale(column([0.1] * 7), ["n"]).apply(column([0.1, 1.1])).column("n").to_pylist()
    assert scaled == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([None, None], "'n' holds no value"),
        ([1.0, float("inf"), 2.0, float("-inf")], "'n' is infinite in rows 1, 3"),
        ([], "The table to scale has no rows"),
    ],
)
def test_what_cannot_be_learned_from_is_named(data: list[Any], message: str) -> None:
    with pytest.raises(DataRejected, match=message):
        fit_scale(column(data), ["n"])


def test_states_of_different_columns_do_not_merge() -> None:
    table = pa.table({"a": [1.0], "b": [2.0]})
    with pytest.raises(DataRejected, match="same columns"):
        merge_scale([partial_scale(table, ["a"]), partial_scale(table, ["b"])])
    with pytest.raises(ConfigError, match="Did you mean 'robust'"):
        fit_scale(table, ["a"], "robst")  # type: ignore[arg-type]
