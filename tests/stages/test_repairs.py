"""Types, gaps, outliers, duplicates, text and splits: what is done, what is refused, and what the message says."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.preprocessing import (
    cast,
    cleaned_text,
    deduplicate,
    drop_missing,
    drop_outliers,
    fill_forward,
    fit_bounds,
    fit_fill,
    fit_wording,
    join,
    rename,
    split_at,
    split_groups,
    split_stratified,
)
from stages.rows import group_codes, row_hashes, rows_digest

RAW = pa.table(
    {"n": ["1", "x", None, " 7", "2.5", "9e3"], "day": ["2013-02-01", "2013-02-30", "", None, "soon", "2013-03-01"]}
)


def test_misfits_are_nulled_and_counted() -> None:
    done = cast(RAW, {"n": "double", "day": "date32"}, misfits="null")
    assert done.nulled == {"n": 1, "day": 3}
    assert done.table.column("n").to_pylist() == [1.0, None, None, 7.0, 2.5, 9000.0]
    assert done.table.column("day").drop_null().to_pylist() == [datetime.date(2013, 2, 1), datetime.date(2013, 3, 1)]
    assert cast(pa.table({"f": [1.0, 2.5, float("nan")]}), {"f": "int64"}, misfits="null").table.column(
        "f"
    ).to_pylist() == [1, None, None]


def test_times_with_and_without_an_offset_are_told_apart() -> None:
    texts = ["2013-01-01T00:00:00+02:00", "2013-01-01 05:00:00", "x", "2013-01-02", "2013-01-02T00:00:00Z"]
    done = cast(pa.table({"t": texts}), {"t": "timestamp[s]"}, misfits="null")
    days = [(2012, 12, 31, 22), (2013, 1, 1, 5), None, (2013, 1, 2), (2013, 1, 2)]
    assert done.table.column("t").to_pylist() == [day and datetime.datetime(*day) for day in days]
    assert done.nulled == {"t": 1}


def test_nested_values_are_rows_too_but_no_keys() -> None:
    nested = pa.table({"l": [[1], [1], None], "v": [1, 2, 3]})
    assert deduplicate(nested, ["l"]).column("v").to_pylist() == [1, 3]
    assert cast(nested, {"l": "int64"}, misfits="null").nulled == {"l": 2}
    with pytest.raises(DataRejected, match=r"cannot be read as int64 in rows 0, 1: \[1\], \[1\]"):
        cast(nested, {"l": "int64"})
    with pytest.raises(DataRejected, match="by which rows cannot be joined"):
        join(nested.select(["l"]), nested, ["l"])


def test_misfits_are_named_with_their_rows() -> None:
    with pytest.raises(
        DataRejected, match=r"'n' holds string and cannot be read as int64 in rows 1, 4, 5: 'x', '2\.5', '9e3'"
    ):
        cast(RAW, {"n": "int64"})
    with pytest.raises(DataRejected, match="row 1: 'x'"):
        cast(RAW, {"n": "double"})


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70).map(str), st.text(max_size=4)), max_size=20))
def test_casting_to_whole_numbers_equals_python(data: list[str | None]) -> None:
    done = cast(pa.table({"n": pa.array(data, pa.string())}), {"n": "int64"}, misfits="null")
    for text, found in zip(data, done.table.column("n").to_pylist(), strict=True):
        if found is not None:
            assert text is not None
            assert int(text) == found
        elif text is not None and text.isascii() and text.removeprefix("-").isdigit():
            assert not -(2**63) <= int(text) < 2**63


def test_extra_and_missing_columns() -> None:
    assert cast(RAW, {"n": "string"}, extra="drop").table.column_names == ["n"]
    with pytest.raises(DataRejected, match="does not name: day"):
        cast(RAW, {"n": "string"}, extra="error")
    with pytest.raises(NotFound, match=r"no column 'dya'\. Did you mean 'day'"):
        cast(RAW, {"dya": "date32"})
    with pytest.raises(ConfigError, match="extra is one of"):
        cast(RAW, {}, extra="ignore")  # type: ignore[arg-type]


def test_renamed_columns_are_found_by_likeness() -> None:
    table = pa.table({"Annual Income": [1], "state": ["a"], "emp-length": [2]})
    done = rename(table, wanted=["annual_income", "emp_length"])
    assert done.renamed == {"Annual Income": "annual_income", "emp-length": "emp_length"}
    assert done.table.column_names == ["annual_income", "state", "emp_length"]
    with pytest.raises(DataRejected, match=r"both 'rate_1' and 'rate_2' are like it|both 'rate_2' and 'rate_1'"):
        rename(pa.table({"rate_1": [1], "rate_2": [1]}), wanted=["rate_3"])
    with pytest.raises(NotFound, match="no column 'target'"):
        rename(table, wanted=["target"])
    with pytest.raises(DataRejected, match="several columns"):
        rename(table, {"Annual Income": "state"})


def test_gaps_are_filled_with_what_training_shows(loans: pa.Table) -> None:
    columns = ["emp_length", "debt_to_income", "emp_title"]
    fill = fit_fill(loans, columns, flags=True)
    known = loans.column("emp_length").drop_null().to_numpy()
    assert fill.values[0] == np.median(known)
    assert fill.values[2] == "manager"
    done = fill.apply(loans)
    assert [done.column(name).null_count for name in columns] == [0, 0, 0]
    assert pc.sum(done.column("emp_title.missing")).as_py() == loans.column("emp_title").null_count
    means = fit_fill(loans, ["emp_length"], "mean").values, fit_fill(loans, ["emp_length"], "mode").values
    assert means == ([pytest.approx(known.mean())], [10.0])
    with pytest.raises(DataRejected, match="'debt_to_income' holds no value"):
        fit_fill(loans.filter(pc.is_null(loans.column("debt_to_income"))), ["debt_to_income"])
    with pytest.raises(ConfigError, match="not among its columns"):
        fit_fill(loans, ["emp_length"], values={"emp_title": "none"})


def test_nan_is_a_gap() -> None:
    table = pa.table({"n": [1.0, float("nan"), None]})
    assert fit_fill(table, ["n"]).apply(table).column("n").to_pylist() == [1, 1, 1]
    assert drop_missing(table, ["n"]).num_rows == 1


def test_forward_filling_stays_in_its_group_and_looks_back_only() -> None:
    table = pa.table(
        {
            "t": [3, 1, 2, 1, 2, 4],
            "g": ["a", "a", "a", "b", "b", "a"],
            "v": [None, 1.0, None, None, 5.0, None],
        }
    )
    assert fill_forward(table, ["v"], "t", ["g"]).column("v").to_pylist() == [1, 1, 1, None, 5, 1]
    assert fill_forward(table, ["v"], "t", ["g"], limit=1).column("v").to_pylist() == [None, 1, 1, None, 5, None]
    with pytest.raises(DataRejected, match="order column 'v' is missing in rows 0, 2, 3, 5"):
        fill_forward(table, ["t"], "v")


def test_outliers_by_each_method(loans: pa.Table) -> None:
    incomes = loans.column("annual_income").to_numpy()
    low, high = np.quantile(incomes, [0.25, 0.75])
    assert fit_bounds(loans, ["annual_income"]).highs[0] == pytest.approx(high + 1.5 * (high - low))
    assert fit_bounds(loans, ["annual_income"], "zscore").highs[0] == pytest.approx(incomes.mean() + 3 * incomes.std())
    bounds = fit_bounds(loans, ["annual_income"], "quantile", width=0.1, nullify=True)
    beyond = int(((incomes < bounds.lows[0]) | (incomes > bounds.highs[0])).sum())
    assert bounds.apply(loans).column("annual_income").null_count == beyond > 0
    assert drop_outliers(loans, bounds).num_rows == loans.num_rows - beyond
    with pytest.raises(ConfigError, match="width of quantile"):
        fit_bounds(loans, ["annual_income"], "quantile", width=0.5)


def test_duplicates_go_by_order_or_are_refused() -> None:
    table = pa.table({"k": ["a", "b", "a", None, None], "t": [2, 1, 1, 5, 4], "v": [1, 2, 3, 4, 5]})
    assert deduplicate(table, ["k"]).column("v").to_pylist() == [1, 2, 4]
    assert deduplicate(table, ["k"], keep="last").column("v").to_pylist() == [2, 3, 5]
    assert deduplicate(table, ["k"], order="t").column("v").to_pylist() == [2, 3, 5]
    assert deduplicate(table, ["k"], keep="last", order="t").column("v").to_pylist() == [1, 2, 4]
    assert deduplicate(pa.concat_tables([table, table])).equals(table.combine_chunks())
    with pytest.raises(DataRejected, match=r"2 key\(s\) on several rows: \{'k': 'a'\} in rows 0, 2; \{'k': None\}"):
        deduplicate(table, ["k"], keep="error")


def test_duplicate_keys_in_joins_are_refused_unless_asked_for() -> None:
    left = pa.table({"k": ["a", "b"]})
    right = pa.table({"k": ["a", "a", "b"], "v": [1, 2, 3]})
    with pytest.raises(DataRejected, match=r"2 rows for \{'k': 'a'\}.*first rows of this one are \[0, 1\]"):
        join(left, right, ["k"])
    kept = {how: join(left, right, ["k"], duplicates=how).column("v").to_pylist() for how in ("first", "last", "all")}  # type: ignore[arg-type]
    assert kept == {"first": [1, 3], "last": [2, 3], "all": [1, 2, 3]}


def test_text_is_tidied_in_any_script() -> None:
    assert cleaned_text("  Cafe\u0301\t au \u200b lait\n") == "Café au lait"
    assert cleaned_text("ÄRGER ΣΊΣΥΦΟΣ", lower=True) == "ärger σίσυφος"
    masked = cleaned_text(
        "Write to jo.doe+x@mail.example.org or see https://example.org/a?b=c, www.example.com.", mask=True
    )
    assert masked == "Write to <email> or see <url> <url>"
    done = fit_wording(RAW, ["n"], lower=True).apply(pa.table({"n": ["A", " ", None]}))
    assert done.column("n").to_pylist() == ["a", None, None]


@settings(max_examples=40)
@given(st.text(max_size=30), st.booleans(), st.booleans())
def test_tidying_twice_changes_nothing(text: str, lower: bool, mask: bool) -> None:
    once = cleaned_text(text, lower, mask)
    assert once is None or cleaned_text(once, lower, mask) == once


def test_splits_keep_their_promises(loans: pa.Table) -> None:
    numbered = loans.append_column("row", pa.array(range(loans.num_rows)))
    for split in (
        split_stratified(numbered, ["grade", "dear"], 0.3, seed=1),
        split_groups(numbered, ["state"], 0.3, seed=1),
        split_at(numbered, "earliest_credit_line", share=0.3),
    ):
        rows = [set(part.column("row").to_pylist()) for part in (split.train, split.test)]
        assert not rows[0] & rows[1]
        assert len(rows[0] | rows[1]) == loans.num_rows
        assert 0.2 < split.test.num_rows / loans.num_rows < 0.4
    stratified = split_stratified(numbered, ["grade"], 0.3, seed=1)
    for grade in "ABCDEFG":
        counts = [pc.sum(pc.equal(t.column("grade"), grade)).as_py() for t in (stratified.test, numbered)]
        assert abs(counts[0] - 0.3 * counts[1]) <= 0.5
    grouped = split_groups(numbered, ["state"], 0.3, seed=1)
    assert not set(grouped.train.column("state").to_pylist()) & set(grouped.test.column("state").to_pylist())
    timed = split_at(numbered, "earliest_credit_line", share=0.3)
    assert (
        pc.max(timed.train.column("earliest_credit_line")).as_py()
        < pc.min(timed.test.column("earliest_credit_line")).as_py()
    )
    assert split_groups(numbered, ["state"], 0.3, seed=1).test.equals(grouped.test)
    assert not split_groups(numbered, ["state"], 0.3, seed=2).test.equals(grouped.test)


def test_a_split_at_a_moment(months: Any) -> None:
    split = split_at(months[0], "departure", at="2013-03-20")
    assert pc.max(split.train.column("departure")).as_py() < datetime.datetime(2013, 3, 20)
    assert pc.min(split.test.column("departure")).as_py() >= datetime.datetime(2013, 3, 20)
    with pytest.raises(DataRejected, match="leave no test row"):
        split_at(months[0], "departure", at="2014-01-01")
    with pytest.raises(DataRejected, match="cannot be split at 'noon'"):
        split_at(months[0], "departure", at="noon")


def test_splits_that_cannot_be_are_refused() -> None:
    one = pa.table({"g": ["a", "a"], "t": pa.array([1, None], pa.int64())})
    with pytest.raises(DataRejected, match="a single group in \\['g'\\]"):
        split_groups(one, ["g"])
    with pytest.raises(DataRejected, match="'t' is missing in row 1"):
        split_at(one, "t")
    with pytest.raises(DataRejected, match="2 strata have a single row"):
        split_stratified(one, ["t"])
    with pytest.raises(DataRejected, match="has no rows"):
        split_stratified(one.slice(0, 0), ["g"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_at(one, "t", share=1.0)


def test_hashes_and_groups_depend_on_values_alone(loans: pa.Table) -> None:
    part = loans.slice(100, 500)
    chunked = pa.concat_tables([part.slice(0, 123), part.slice(123)])
    dictionary = part.set_column(2, "state", part.column("state").dictionary_encode())
    assert rows_digest(part) == rows_digest(chunked) == rows_digest(dictionary) == rows_digest(part.combine_chunks())
    assert rows_digest(part) != rows_digest(loans.slice(101, 500))
    assert (row_hashes(part) == row_hashes(loans)[100:600]).all()
    assert len(np.unique(row_hashes(loans))) == loans.num_rows
    narrow = pa.table({"n": pa.array([1, None, 3], pa.int8())})
    assert (row_hashes(narrow) == row_hashes(pa.table({"n": [1.0, float("nan"), 3.0]}))).all()
    assert (row_hashes(narrow) != row_hashes(pa.table({"n": [1.5, -1.0, 3.5]}))).all()
    assert (row_hashes(narrow) == row_hashes(pa.table({"n": pa.array([1, None, 3], pa.int64())}))).all()
    assert group_codes(part, ["state", "grade"], "").max() + 1 == len(
        set(zip(part.column("state").to_pylist(), part.column("grade").to_pylist(), strict=True))
    )
