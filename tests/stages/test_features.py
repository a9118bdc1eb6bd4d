"""Encoders: fitted on training rows only, and the same for one row as for many."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.features import UNSEEN, Calendar, Category, Features, Number, fit_features, transform
from stages.features.encoders import CALENDAR_PARTS

texts = st.one_of(st.none(), st.text(max_size=3))
numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))
times = st.one_of(st.none(), st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2099, 1, 1)))
rows = st.lists(st.tuples(texts, numbers, times), min_size=1, max_size=25)


def table_of(data: Sequence[tuple[Any, Any, Any]]) -> pa.Table:
    return pa.table(
        {
            "text": pa.array([row[0] for row in data], pa.string()),
            "number": pa.array([row[1] for row in data], pa.float64()),
            "time": pa.array([row[2] and row[2].replace(microsecond=0) for row in data], pa.timestamp("s")),
        }
    )


def fit(table: pa.Table, onehot: bool, impute: bool) -> Features:
    return fit_features(
        table, ["text"], ["number"], {"time": list(CALENDAR_PARTS)}, onehot=onehot, impute=impute, scale=impute
    )


@given(rows, rows, st.booleans())
def test_one_row_encodes_as_it_does_in_a_batch(train: Any, new: Any, onehot: bool) -> None:
    seen = [*train, ("a", 1.0, datetime.datetime(2013, 1, 1))]
    features = fit(table_of(seen), onehot, impute=True)
    together = features.encode(table_of(new))
    assert together.shape == (len(new), len(features.names))
    alone = np.vstack([features.encode(table_of([row])) for row in new])
    np.testing.assert_array_equal(together, alone)


@given(rows)
def test_codes_are_positions_of_seen_values(train: Any) -> None:
    features = fit(table_of(train), onehot=False, impute=False)
    values = features.categories[0].values
    assert values == sorted({row[0] for row in train if row[0] is not None})
    codes = features.encode(table_of(train))[:, 0]
    decoded = [None if code == UNSEEN else values[int(code)] for code in codes]
    assert decoded == [row[0] for row in train]


@given(rows)
def test_calendar_parts_equal_those_of_datetime(data: Any) -> None:
    parts = ["minute_of_day", "hour", "weekday", "day", "yearday", "month"]
    encoded = np.column_stack(Calendar("time", parts).encode(table_of(data).column("time")))
    for (_, _, time), found in zip(data, encoded, strict=True):
        if time is None:
            assert np.isnan(found).all()
            continue
        minute = time.hour * 60 + time.minute
        seconds = minute * 60 + time.second
        expected = [minute, seconds / 3600, time.weekday(), time.day, time.timetuple().tm_yday, time.month]
        np.testing.assert_allclose(found, expected)


def test_unseen_and_missing_categories_have_no_column_and_one_code() -> None:
    column = pa.chunked_array([["b", "z", None, "a"]])
    assert Category("c", ["a", "b"]).encode(column)[0].tolist() == [1, UNSEEN, UNSEEN, 0]
    onehot = Category("c", ["a", "b"], onehot=True)
    assert onehot.names == ["c=a", "c=b"]
    assert np.column_stack(onehot.encode(column)).tolist() == [[0, 1], [0, 0], [0, 0], [1, 0]]


def test_dictionary_encoded_text_is_text() -> None:
    column = pa.chunked_array([pa.array(["b", None, "a"]).dictionary_encode()])
    assert Category("c", ["a", "b"]).encode(column)[0].tolist() == [1, UNSEEN, 0]


def test_numbers_are_filled_then_scaled_with_the_training_state() -> None:
    train = pa.table({"n": [1.0, 2.0, 3.0, None, 10.0]})
    (number,) = fit_features(train, numbers=["n"], impute=True, scale=True).numbers
    assert number.fill == 2.5
    encoded = number.encode(train.column("n"))[0]
    assert encoded.mean() == pytest.approx(0)
    assert encoded.std() == pytest.approx(1)
    assert number.encode(pa.chunked_array([[None]], pa.float64()))[0][0] == encoded[3]


def test_a_constant_column_is_not_divided_by_zero() -> None:
    (number,) = fit_features(pa.table({"n": [4, 4]}), numbers=["n"], scale=True).numbers
    assert number == Number("n", None, 4.0, 1.0)


def test_rare_categories_count_as_unseen() -> None:
    table = pa.table({"c": ["a", "a", "b", None, None]})
    assert fit_features(table, ["c"], min_rows=2).categories[0].values == ["a"]


def test_transform_keeps_gaps_as_nulls_and_carries_columns(months: Sequence[pa.Table], features: Features) -> None:
    encoded = transform(months[2], features, keep=["late"])
    assert encoded.column_names == [*features.names, "late"]
    assert encoded.column("pressure").null_count == months[2].column("pressure").null_count > 0
    assert encoded.column("late").equals(months[2].column("late"))


def test_wrong_columns_are_refused(months: Sequence[pa.Table], features: Features) -> None:
    with pytest.raises(NotFound, match="The table given to transform has no column 'carrier'"):
        transform(months[0].drop_columns(["carrier"]), features)
    with pytest.raises(DataRejected, match=r"cannot keep \['carrier'\]"):
        transform(months[0], features, keep=["carrier"])
    with pytest.raises(DataRejected, match="a category must be text"):
        fit_features(months[0], ["distance"])
    with pytest.raises(DataRejected, match="Column 'carrier' holds string; numbers are needed"):
        fit_features(months[0], numbers=["carrier"])
    with pytest.raises(DataRejected, match="no value to learn from"):
        fit_features(pa.table({"n": pa.array([None], pa.float64())}), numbers=["n"], impute=True)
    with pytest.raises(ConfigError, match="Did you mean 'weekday'"):
        fit_features(months[0], calendars={"departure": ["wekday"]})
    with pytest.raises(ConfigError, match="takes each column once"):
        fit_features(months[0], numbers=["distance", "distance"])


def test_zoned_times_are_refused() -> None:
    zoned = pa.chunked_array([pa.array([0], pa.timestamp("s", "UTC"))])
    with pytest.raises(DataRejected, match="a timestamp without a zone is needed"):
        Calendar("t", ["hour"]).encode(zoned)
