"""Cleaning, joining and splitting: what is done, in what order, and what is refused."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.preprocessing import (
    add_flag,
    add_time,
    clean,
    concat,
    join,
    select_rows,
    shift_time,
    split_by,
    split_time,
)

TABLE = pa.table({"carrier": ["UA", None, "AA"], "delay": [5.0, None, 2000.0], "seats": ["180", "50", "150"]})


def test_clean_casts_clips_fills_and_drops() -> None:
    done = clean(
        TABLE,
        need=["carrier"],
        drop=["seats"],
        clip={"delay": (0, 600), "seats": (None, 160)},
        fill={"delay": 0.0},
        types={"seats": "int64"},
    )
    assert done.to_pydict() == {"carrier": ["UA", "AA"], "delay": [5.0, 600.0]}
    assert clean(TABLE, types={"seats": "int64"}, clip={"seats": (60, 160)}).column("seats").to_pylist() == [
        160,
        60,
        150,
    ]


def test_clipping_leaves_gaps_and_filling_takes_text() -> None:
    assert clean(TABLE, clip={"delay": (10, 20)}).column("delay").to_pylist() == [10.0, None, 20.0]
    assert clean(TABLE, fill={"carrier": "none"}).column("carrier").to_pylist() == ["UA", "none", "AA"]
    assert clean(TABLE).equals(TABLE)


def test_clean_refuses_what_does_not_fit() -> None:
    with pytest.raises(NotFound, match="Did you mean 'delay'"):
        clean(TABLE, fill={"dealy": 0})
    with pytest.raises(DataRejected, match="'carrier' holds string and cannot be clipped"):
        clean(TABLE, clip={"carrier": (0, 1)})
    with pytest.raises(DataRejected, match="its nulls cannot become 'x'"):
        clean(TABLE, fill={"delay": "x"})


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ([], [0, 1, 2]),
        ([("delay", ">", 4)], [0, 2]),
        ([("delay", "<=", 5.0)], [0]),
        ([("carrier", "in", ["AA", "DL"])], [2]),
        ([("carrier", "not in", ["AA", "DL"])], [0]),
        ([("carrier", "!=", "UA"), ("delay", ">=", 0)], [2]),
    ],
)
def test_selected_rows_meet_every_condition(conditions: list[Any], kept: list[int]) -> None:
    assert select_rows(TABLE, conditions).equals(TABLE.take(pa.array(kept, pa.int64())))


def test_selecting_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(DataRejected, match="cannot be compared with 'x'"):
        select_rows(TABLE, [("delay", "<", "x")])
    wrong: Any = [("delay", "~", 1)]
    with pytest.raises(ConfigError, match="'~' is not a comparison"):
        select_rows(TABLE, wrong)


def test_a_flag_is_null_where_its_column_is() -> None:
    flagged = add_flag(TABLE, "late", "delay", ">", 15)
    assert flagged.column("late").to_pylist() == [0, None, 1]
    assert add_flag(flagged, "late", "delay", ">", 1).column_names == flagged.column_names


@given(
    st.lists(
        st.one_of(st.none(), st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))), max_size=20
    )
)
def test_times_are_built_from_their_parts(times: list[datetime.datetime | None]) -> None:
    names = ("year", "month", "day", "hour", "minute")
    table = pa.table({n: pa.array([None if t is None else getattr(t, n) for t in times], pa.int64()) for n in names})
    built = add_time(table, "at", {name: name for name in names}).column("at")
    assert built.to_pylist() == [None if t is None else t.replace(second=0, microsecond=0) for t in times]


@pytest.mark.parametrize(("month", "day"), [(13, 1), (0, 1), (2, 30), (4, 31), (1, 0)])
def test_dates_that_no_calendar_has_are_refused(month: int, day: int) -> None:
    table = pa.table({"y": [2013, 2013], "m": [1, month], "d": [1, day]})
    with pytest.raises(DataRejected, match=f"Row 1 has no such date: year 2013, month {month}, day {day}"):
        add_time(table, "at", {"year": "y", "month": "m", "day": "d"})
    with pytest.raises(ConfigError, match="needs year, month and day"):
        add_time(table, "at", {"year": "y", "month": "m"})


keys = st.lists(st.integers(0, 8), max_size=30)


@given(keys, st.sets(st.integers(0, 8)), st.sampled_from(["left", "inner"]))
def test_a_join_looks_up_in_the_order_of_the_left_table(left: list[int], right: set[int], how: Any) -> None:
    table = pa.table({"k": pa.array(left, pa.int64()), "position": pa.array(range(len(left)), pa.int64())})
    other = pa.table({"k": pa.array(right, pa.int64()), "value": pa.array([10 * k for k in right], pa.int64())})
    rows = [(i, 10 * k if k in right else None) for i, k in enumerate(left) if how == "left" or k in right]
    joined = join(table, other, on=["k"], how=how)
    assert list(zip(joined["position"].to_pylist(), joined["value"].to_pylist(), strict=True)) == rows


def test_a_join_refuses_what_would_multiply_or_clash() -> None:
    left = pa.table({"k": [1], "v": [1]})
    with pytest.raises(DataRejected, match=r"has 2 rows for \{'k': 1\}"):
        join(left, pa.table({"k": [1, 1], "w": [1, 2]}), on=["k"])
    with pytest.raises(DataRejected, match=r"Both tables of join have \['v'\]"):
        join(left, pa.table({"k": [1], "v": [2]}), on=["k"])
    with pytest.raises(DataRejected, match="Key 'k' is int64 in the left table of join and string"):
        join(left, pa.table({"k": ["1"], "w": [2]}), on=["k"])
    with pytest.raises(NotFound, match="The right table of join has no column 'k'"):
        join(left, pa.table({"w": [2]}), on=["k"])


def test_weather_is_that_of_the_hour_before(flights: pa.Table, weather: pa.Table) -> None:
    some = flights.slice(1000, 50)
    known = join(some, shift_time(weather, "time_hour", 3600), on=["origin", "time_hour"], columns=["temp"])
    observed = {(row["origin"], row["time_hour"]): row["temp"] for row in weather.to_pylist()}
    hour = datetime.timedelta(hours=1)
    expected = [observed.get((row["origin"], row["time_hour"] - hour)) for row in some.to_pylist()]
    assert known.column("temp").to_pylist() == expected
    assert None not in expected


def test_equal_joins_have_equal_bytes(flights: pa.Table, weather: pa.Table) -> None:
    def stored() -> bytes:
        joined = join(flights, weather, on=["origin", "time_hour"])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, joined.schema) as writer:
            writer.write_table(joined)
        return bytes(sink.getvalue())

    assert stored() == stored()


def test_only_timestamps_shift() -> None:
    with pytest.raises(DataRejected, match="only timestamps can be shifted"):
        shift_time(TABLE, "delay", 60)


def test_parts_come_in_the_order_asked_for() -> None:
    table = pa.table({"month": [1, 2, 1, 3], "x": [0, 1, 2, 3]})
    assert [part["x"].to_pylist() for part in split_by(table, "month", [3, 1])] == [[3], [0, 2]]
    with pytest.raises(DataRejected, match="No row has month = 4"):
        split_by(table, "month", [4])
    with pytest.raises(DataRejected, match="it cannot equal 'x'"):
        split_by(table, "month", ["x"])


def test_a_temporal_split_never_tests_on_the_past() -> None:
    table = pa.table({"month": [1, 2, 3, 2], "x": [0, 1, 2, 3]})
    parts = split_time(table, "month", train=[1, 2], test=[3])
    assert (parts.train["x"].to_pylist(), parts.test["x"].to_pylist()) == ([0, 1, 3], [2])
    with pytest.raises(ConfigError, match="test months after all training ones"):
        split_time(table, "month", train=[2], test=[1, 3])


def test_concat_wants_tables_of_one_schema() -> None:
    assert concat([TABLE, TABLE]).num_rows == 6
    with pytest.raises(DataRejected, match="do not fit together"):
        concat([TABLE, TABLE.drop_columns(["delay"])])
    with pytest.raises(ConfigError, match="at least one table"):
        concat([])
