"""Drift: effect sizes equal their definitions, rank what moved, and find the summer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import NotFound
from stages.errors import DataRejected
from stages.monitoring import drift
from stages.monitoring.drift import kolmogorov_smirnov, stability_index
from stages.pipelines.flights import NUMBERS, OUTCOMES, SCHEDULE

samples = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=50).map(np.array)


@given(samples, samples)
def test_ks_is_the_largest_distance_of_the_distributions(then: np.ndarray, now: np.ndarray) -> None:
    distances = [abs((then <= point).mean() - (now <= point).mean()) for point in range(-21, 22)]
    assert kolmogorov_smirnov(then, now) == pytest.approx(max(distances))


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12).filter(any), st.integers(1, 9), st.data())
def test_psi_is_zero_for_equal_shares_and_symmetric(counts: list[int], times: int, data: st.DataObject) -> None:
    then = np.array(counts, dtype=np.float64)
    assert stability_index(then, then * times) == pytest.approx(0, abs=1e-12)
    shuffled = np.array(data.draw(st.permutations(counts)), dtype=np.float64)
    assert stability_index(then, shuffled) == pytest.approx(stability_index(shuffled, then))
    assert stability_index(then, shuffled) >= -1e-12


def test_psi_by_hand() -> None:
    expected = (0.75 - 0.5) * np.log(0.75 / 0.5) + (0.25 - 0.5) * np.log(0.25 / 0.5)
    assert stability_index(np.array([10.0, 10.0]), np.array([3.0, 1.0])) == pytest.approx(expected)


def test_rows_do_not_drift_from_themselves(months: Sequence[pa.Table]) -> None:
    report = drift(months[0], months[0], columns=[*SCHEDULE, *NUMBERS], targets=OUTCOMES)
    assert not report.drifted
    assert {entry.level for entry in (*report.columns, *report.targets)} == {"stable"}
    assert all(entry.psi == 0 for entry in report.columns)


def test_the_summer_stands_out(months: Sequence[pa.Table]) -> None:
    train = pa.concat_tables(months[:2])
    july = drift(months[3], train, columns=[*SCHEDULE, *NUMBERS], targets=["dep_delay"], name="July")
    september = drift(months[4], train, columns=[*SCHEDULE, *NUMBERS], targets=["dep_delay"], name="September")
    (hot,), (calm,) = july.targets, september.targets
    assert hot.mean_current is not None
    assert calm.mean_current is not None
    assert hot.mean_current == pytest.approx(21.7, abs=1)
    assert calm.mean_current == pytest.approx(6.7, abs=1)
    assert hot.shift is not None
    assert calm.shift is not None
    assert calm.shift < 0 < hot.shift
    assert {entry.column for entry in july.columns[:2]} == {"temp", "dewp"}
    assert july.columns[0].level == "major"
    assert [entry.psi for entry in july.columns] == sorted((entry.psi for entry in july.columns), reverse=True)
    assert "July: " in str(july)


def test_a_new_category_and_a_new_gap_are_drift() -> None:
    then = pa.table({"c": ["a", "b"] * 50, "n": [1.0, 2.0] * 50})
    now = pa.table({"c": ["a", "z"] * 50, "n": [1.0, None] * 50})
    found = {entry.column: entry for entry in drift(now, then, columns=["c", "n"]).columns}
    assert found["c"].level == found["n"].level == "major"
    assert (found["n"].missing_reference, found["n"].missing_current) == (0, 0.5)
    assert found["n"].ks == pytest.approx(0.5)


def test_a_constant_outcome_that_changes_is_major() -> None:
    then, now = pa.table({"y": [1.0] * 5}), pa.table({"y": [2.0] * 5})
    assert drift(now, then, columns=[], targets=["y"]).target_drifted
    assert not drift(then, then, columns=[], targets=["y"]).target_drifted


def test_columns_without_values_do_not_break_the_report() -> None:
    gaps = pa.table({"n": pa.array([None, None], pa.float64())})
    report = drift(gaps, pa.table({"n": [1.0, 2.0]}), columns=["n"], targets=["n"])
    assert report.columns[0].ks is None
    assert report.columns[0].missing_current == 1
    assert drift(gaps, gaps, columns=["n"]).columns[0].level == "stable"


def test_tables_that_cannot_be_compared_are_refused() -> None:
    one = pa.table({"a": [1]})
    with pytest.raises(NotFound, match="The table 'July' of drift has no column 'b'"):
        drift(one, pa.table({"b": [1]}), columns=["b"], name="July")
    with pytest.raises(DataRejected, match="holds int64 in the reference and string now"):
        drift(pa.table({"a": ["x"]}), one, columns=["a"])
    with pytest.raises(DataRejected, match="no rows to compare: 1 of reference, 0 now"):
        drift(one.slice(0, 0), one, columns=["a"])
