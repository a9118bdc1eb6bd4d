"""Columns: what is missing or mistyped is named, with what is there and a close match."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.columns import cast_columns, column_floats, floats, matrix, require_columns
from stages.errors import DataRejected


def test_a_name_that_two_columns_have_is_refused() -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataRejected, match="it has several columns 'a'"):
        require_columns(twice.column_names, ["a"], "it")


def test_a_missing_column_is_named_with_place_contents_and_close_match() -> None:
    with pytest.raises(NotFound) as caught:
        require_columns(["arr_delay", "carrier"], ["arr_dely"], "flights.parquet")
    message = str(caught.value)
    assert "flights.parquet has no column 'arr_dely'" in message
    assert "Did you mean 'arr_delay'?" in message
    assert "It has: arr_delay, carrier." in message


def test_no_close_match_offers_none() -> None:
    with pytest.raises(NotFound) as caught:
        require_columns(["arr_delay"], ["zzz"], "t")
    assert "Did you mean" not in str(caught.value)


@given(st.lists(st.integers(-(10**9), 10**9).map(str), max_size=40), st.integers(0, 39))
def test_the_first_value_that_does_not_fit_is_found(texts: list[str], position: int) -> None:
    position = min(position, len(texts))
    broken = [*texts[:position], "many", *texts[position:], "more"]
    with pytest.raises(DataRejected) as caught:
        cast_columns(pa.table({"distance": broken}), {"distance": "int64"}, "t.csv")
    assert caught.value.details["row"] == position
    assert "t.csv: column 'distance' holds string and cannot be read as int64" in str(caught.value)
    assert "'many'" in str(caught.value)


def test_iso_times_with_an_offset_become_utc() -> None:
    table = cast_columns(
        pa.table({"at": ["2013-01-01T10:00:00Z", None, "2013-01-01T12:00:00+02:00"]}), {"at": "timestamp[s]"}, "t"
    )
    ten = datetime.datetime(2013, 1, 1, 10)
    assert table.column("at").to_pylist() == [ten, None, ten]
    assert table.column("at").type == pa.timestamp("s")


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="'flaot' is not an Arrow type"):
        cast_columns(pa.table({"a": [1]}), {"a": "flaot"}, "t")


def test_floats_turn_nulls_into_nan_and_refuse_text() -> None:
    values = floats(pa.chunked_array([[1, None], [3]]), "a")
    np.testing.assert_array_equal(values, [1.0, np.nan, 3.0])
    with pytest.raises(DataRejected, match="Column 'a' holds string"):
        column_floats(pa.table({"a": ["x"]}), "a", "t")


def test_matrix_keeps_the_order_of_names() -> None:
    table = pa.table({"a": [1, 2], "b": [True, None]})
    np.testing.assert_array_equal(matrix(table, ["b", "a"], "t"), [[1.0, 1.0], [np.nan, 2.0]])
