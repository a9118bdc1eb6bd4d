"""Checks: every rule finds exactly its rows, severities decide, failing rows are kept."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.preprocessing import Check, allowed, assess, enforce, in_range, not_null, row_count, unique

TABLE = pa.table(
    {"origin": ["EWR", None, "JFK", "XXX"], "delay": [5.0, float("nan"), 2000.0, None], "id": [1, 2, 1, 3]}
)


@pytest.mark.parametrize(
    ("check", "failing"),
    [
        (not_null("origin"), [1]),
        (not_null("delay"), [1, 3]),
        (in_range("delay", 0, 1000), [2]),
        (in_range("delay", high=4), [0, 2]),
        (in_range("id", low=2), [0, 2]),
        (allowed("origin", ["EWR", "JFK"]), [3]),
        (unique("id"), [0, 2]),
        (unique("id", "origin"), []),
    ],
)
def test_a_rule_finds_its_rows_and_keeps_them(check: Check, failing: list[int]) -> None:
    result = assess(TABLE, [check]).results[0]
    assert result.sample.column("__row__").to_pylist() == failing
    rows = TABLE.to_pylist()
    assert str(result.sample.drop_columns(["__row__"]).to_pylist()) == str([rows[i] for i in failing])
    assert (result.failing, result.passed) == (len(failing), not failing)


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(4, 4, True), (5, None, False), (None, 3, False), (None, None, True)]
)
def test_a_row_count_concerns_the_whole_table(low: int | None, high: int | None, passed: bool) -> None:
    result = assess(TABLE, [row_count(low, high)]).results[0]
    assert (result.passed, result.failing, result.sample.num_rows) == (passed, 0, 0)


def test_a_share_tolerates_some_failing_rows() -> None:
    assert assess(TABLE, [not_null("origin", share=0.75)]).passed
    assert not assess(TABLE, [not_null("origin", share=0.76)]).passed


def test_a_warning_lets_the_table_pass_and_is_counted() -> None:
    report = assess(TABLE, [not_null("origin", severity="warn"), row_count(1)])
    assert (report.passed, report.warnings) == (True, 1)
    assert enforce(TABLE, report) is TABLE
    assert "warn  not_null(origin): 1 of 4 rows fail" in str(report)


def test_a_blocking_failure_says_which_rows() -> None:
    report = assess(TABLE, [allowed("origin", ["EWR", "JFK"]), unique("id", severity="warn")], name="flights")
    with pytest.raises(DataRejected) as caught:
        enforce(TABLE, report)
    message = str(caught.value)
    assert "flights: 1 blocking check(s) failed" in message
    assert "allowed(origin) ['EWR', 'JFK']: 1 of 4 rows fail; the first: {'origin': 'XXX'" in message
    assert "unique" not in message


def test_the_sample_is_bounded() -> None:
    result = assess(pa.table({"a": [None] * 50}), [not_null("a")], sample=7).results[0]
    assert (result.failing, result.sample.num_rows) == (50, 7)


def test_an_empty_table_passes_all_but_a_row_count() -> None:
    empty = TABLE.slice(0, 0)
    assert assess(empty, [not_null("origin"), unique("id"), in_range("delay", 0)]).passed
    assert not assess(empty, [row_count(1)]).passed


def test_wrong_checks_are_refused() -> None:
    with pytest.raises(NotFound, match="Did you mean 'origin'"):
        assess(TABLE, [not_null("orign")])
    with pytest.raises(DataRejected, match="does not suit column 'origin', which holds string"):
        assess(TABLE, [in_range("origin", 0, 1)])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        not_null("origin", share=95)
    with pytest.raises(ConfigError, match="at least one column"):
        unique()


values = st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=30)


@given(values, st.integers(-5, 5), st.integers(-5, 5))
def test_range_and_uniqueness_equal_their_definitions(numbers: list[Any], low: int, high: int) -> None:
    table = pa.table({"a": pa.array(numbers, pa.int64())})
    ranged, single = assess(table, [in_range("a", low, high), unique("a")], sample=100).results
    outside = [i for i, n in enumerate(numbers) if n is not None and not low <= n <= high]
    assert ranged.sample.column("__row__").to_pylist() == outside
    assert single.sample.column("__row__").to_pylist() == [i for i, n in enumerate(numbers) if numbers.count(n) > 1]
