"""Features of the past: equal to the plain definition, and blind to the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.features import add_lags, add_rolling, aggregate, join_asof
from stages.features.history import ROLLINGS
from stages.preprocessing import split_at

series = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 1000), st.one_of(st.none(), st.integers(-50, 50))),
    min_size=1, max_size=25, unique_by=lambda row: row[:2],
)  # fmt: skip


def table_of(rows: Sequence[tuple[str, int, int | None]]) -> pa.Table:
    groups, times, values = (list(column) for column in zip(*rows, strict=True))
    return pa.table({"g": groups, "t": times, "v": pa.array(values, pa.float64())})


@settings(max_examples=40)
@given(series, st.integers(1, 4))
def test_windows_and_lags_equal_their_definition(rows: list[tuple[str, int, int | None]], length: int) -> None:
    made = add_rolling(add_lags(table_of(rows), ["v"], "t", [1, 2], ["g"]), ["v"], "t", length, ROLLINGS, ["g"])
    for position, (group, time, _) in enumerate(rows):
        past = [row[2] for row in sorted(rows, key=lambda row: row[1]) if row[0] == group and row[1] < time]
        row = {name: made.column(name)[position].as_py() for name in made.column_names}
        assert row["v.lag1"] == (past[-1] if past else None)
        assert row["v.lag2"] == (past[-2] if len(past) > 1 else None)
        known = [value for value in past[-length:] if value is not None]
        for name in ROLLINGS:
            function = {"count": len, "std": np.std}.get(name, getattr(np, name, None))
            expected = function(known) if known and function else None
            assert row[f"v.{name}{length}"] == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_the_future_changes_nothing_before_it(months: Sequence[pa.Table]) -> None:
    """Hourly weather is joined and rolled; then everything after a moment is changed."""
    flights = (
        months[0].select(["origin", "departure", "dep_delay"]).append_column("n", pa.array(range(months[0].num_rows)))
    )
    flights = aggregate(flights, ["origin", "departure"], {"dep_delay": ["mean"], "n": ["count"]}).slice(0, 2500)

    def features(table: pa.Table) -> pa.Table:
        rolled = add_rolling(table, ["dep_delay.mean"], "departure", 5, ["mean", "max"], ["origin"])
        lagged = add_lags(rolled, ["dep_delay.mean"], "departure", [1], ["origin"])
        known = table.rename_columns(["origin", "departure", "then", "count"])
        return join_asof(lagged, known, "departure", ["origin"], ["then"], strict=True)

    moment = split_at(flights, "departure", share=0.5).test.column("departure")
    later = pc.greater_equal(flights.column("departure"), pc.min(moment))
    worse = pc.if_else(later, 1e6, flights.column("dep_delay.mean"))
    changed = flights.set_column(2, "dep_delay.mean", worse)
    before = pc.invert(later)
    assert features(flights).filter(before).equals(features(changed).filter(before))
    assert not features(flights).equals(features(changed))


@settings(max_examples=40)
@given(series, series, st.booleans(), st.integers(0, 500))
def test_asof_joins_equal_their_definition(
    left: list[tuple[str, int, int | None]], right: list[tuple[str, int, int | None]], strict: bool, tolerance: int
) -> None:
    known = table_of(right).rename_columns(["g", "t", "w"])
    made = join_asof(table_of(left), known, "t", ["g"], tolerance_s=tolerance, strict=strict).column("w").to_pylist()
    for (group, time, _), found in zip(left, made, strict=True):
        usable = [r for r in right if r[0] == group and (r[1] < time if strict else r[1] <= time)]
        latest = max(usable, key=lambda row: row[1], default=None)
        assert found == (latest[2] if latest and time - latest[1] <= tolerance else None)


def test_tolerances_of_timestamps_are_in_seconds(months: Sequence[pa.Table]) -> None:
    flights = months[0].select(["origin", "departure"]).slice(0, 300)
    known = pa.table({"departure": pc.subtract(flights.column("departure"), pa.scalar(90, pa.duration("s"))).unique()})
    known = known.append_column("w", pa.array(range(known.num_rows)))
    assert join_asof(flights, known, "departure", tolerance_s=90).column("w").null_count == 0
    assert join_asof(flights, known, "departure", tolerance_s=20).column("w").null_count > 0


def test_wrong_histories_are_refused() -> None:
    table = table_of([("a", 1, 2), ("a", 2, 3)])
    twice = pa.concat_tables([table, table])
    with pytest.raises(ConfigError, match="would look ahead"):
        add_lags(table, ["v"], "t", [-1])
    with pytest.raises(DataRejected, match=r"\{'g': 'a', 't': 1\} in rows 0, 2"):
        add_lags(twice, ["v"], "t", by=["g"])
    with pytest.raises(DataRejected, match="The right table of join_asof has 2 key"):
        join_asof(table.select(["g", "t"]), twice, "t", ["g"])
    assert join_asof(table.select(["g", "t"]), twice, "t", ["g"], duplicates="last").column("v").to_pylist() == [2, 3]
    with pytest.raises(DataRejected, match="'t' is int64 in the left table of join_asof and double"):
        join_asof(table, pa.table({"t": [1.0], "w": [1]}), "t")
    with pytest.raises(DataRejected, match=r"Both tables of join_asof have \['v'\]"):
        join_asof(table, table, "t", ["g"])
    with pytest.raises(NotFound, match=r"no column 'tt'\. Did you mean 't'"):
        add_rolling(table, ["v"], "tt", 3)
    with pytest.raises(DataRejected, match="'g' holds string; numbers are needed"):
        add_rolling(table, ["g"], "t", 3)
    with pytest.raises(DataRejected, match="'g' holds string; its mean cannot be taken"):
        aggregate(table, ["t"], {"g": ["mean"]})


def test_empty_tables_have_empty_histories() -> None:
    empty = table_of([("a", 1, 2)]).slice(0, 0)
    assert add_rolling(add_lags(empty, ["v"], "t"), ["v"], "t", 2).num_rows == 0
    assert join_asof(empty, empty.rename_columns(["g", "t", "w"]), "t", ["g"]).column_names == ["g", "t", "v", "w"]


def test_aggregates_are_in_order_of_first_appearance(loans: pa.Table) -> None:
    made = aggregate(loans, ["grade"], {"loan_amount": ["mean", "count"], "emp_title": ["count_distinct"]})
    assert made.column_names == ["grade", "loan_amount.mean", "loan_amount.count", "emp_title.count_distinct"]
    assert made.column("grade").to_pylist() == list(dict.fromkeys(loans.column("grade").to_pylist()))
    assert pc.sum(made.column("loan_amount.count")).as_py() == loans.num_rows
