"""Tables divided and put together: parts, groups by key, and what is said about tables that do not fit."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.backends import division
from orchestrator.backends.division import Divided, divided, joined
from orchestrator.errors import TableRejected
from orchestrator.graph.policy import Policy

ROWS = Policy(scope="rows")


def groups(*by: str) -> Policy:
    return Policy(scope="groups", by=by)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four rows."""
    monkeypatch.setattr(division, "PART_ROWS", (1, 4))


def numbered(table: pa.Table) -> pa.Table:
    return table.append_column("place", pa.array(range(table.num_rows)))


def test_rows_are_cut_by_number_and_come_back_in_order(small_parts: None) -> None:
    seen: list[int] = []

    def look(table: pa.Table) -> pa.Table:
        seen.append(table.num_rows)
        return table.filter(pc.greater(table["x"], 2))

    table = pa.table({"x": range(10)})
    assert Divided(look, ROWS)(table)["x"].to_pylist() == [3, 4, 5, 6, 7, 8, 9]
    assert seen == [4, 4, 2]


@pytest.mark.usefixtures("small_parts")
@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["b", "a", None, "ä"]), st.sampled_from([0.0, -0.0, 2.5, math.nan, None, -1.0])),
        max_size=25,
    )
)
def test_each_group_is_seen_whole_in_order_of_the_key(keys: list[tuple[str | None, float | None]]) -> None:
    table = pa.table(
        {"k": pa.array([k for k, _ in keys], pa.string()), "f": pa.array([f for _, f in keys], pa.float64()),
         "row": pa.array(range(len(keys)), pa.int64())}
    )  # fmt: skip
    found = Divided(numbered, groups("k", "f"))(table)

    def order(value: Any) -> tuple[int, Any]:
        return (2, 0) if value is None else (1, 0) if value != value else (0, value)

    wanted = sorted(range(len(keys)), key=lambda row: (order(keys[row][0]), order(keys[row][1]), row))
    assert found["row"].to_pylist() == wanted
    counts: dict[Any, int] = {}
    places = []
    for row in wanted:
        key = (order(keys[row][0]), order(keys[row][1]))
        places.append(counts.get(key, 0))
        counts[key] = places[-1] + 1
    assert found["place"].to_pylist() == places


def test_a_group_larger_than_a_part_stays_whole(small_parts: None) -> None:
    table = pa.table({"k": ["a"] * 11 + ["b"]})
    assert [part.num_rows for part in divided(table, "groups", ["k"], "s")] == [11, 1]


def test_results_merge_whether_there_are_parts_or_not(small_parts: None) -> None:
    total = Divided(lambda table: pc.sum(table["x"]).as_py(), ROWS, merge=sum)
    assert total(pa.table({"x": range(10)})) == total([pa.table({"x": range(7)}), pa.table({"x": range(7, 10)})]) == 45
    largest = Divided(lambda table: pc.max(table["x"]).as_py(), groups("k"), merge=list)
    assert largest(pa.table({"k": [2, 1, 2], "x": [5, 6, 7]})) == [6, 7]


def test_batches_go_through_as_they_come() -> None:
    taken: list[int] = []

    def batches() -> Any:
        for number in range(3):
            taken.append(number)
            yield pa.table({"x": [number]})

    results = Divided(numbered, ROWS)(batches())
    assert next(results)["x"].to_pylist() == [0]
    assert taken == [0]


def test_a_table_without_rows_is_one_part() -> None:
    empty = pa.table({"k": pa.array([], pa.string())})
    for policy in (ROWS, groups("k")):
        assert Divided(numbered, policy)(empty).column_names == ["k", "place"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"carier": ["a"]}, r"step goes by 'carrier', and its table has no such column. Did you mean 'carier'\?"),
        ({"carrier": [[1]]}, r"step goes by 'carrier', which holds list<.*: that has no order"),
    ],
)
def test_a_key_that_does_not_do_is_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(TableRejected, match=message):
        list(divided(pa.table(columns), "groups", ["carrier"], "step"))


def test_parts_that_do_not_fit_together_are_named() -> None:
    first = pa.table({"a": [1], "b": ["x"]})
    with pytest.raises(TableRejected, match="clean made column 'a' as int64 first and as double in part 2"):
        joined([first, first, pa.table({"a": [1.5], "b": ["y"]})], "clean made")
    with pytest.raises(TableRejected, match="part 1 lacks 'b' and adds 'c', compared with part 0"):
        joined([first, pa.table({"a": [1], "c": [1]})], "clean made")
    with pytest.raises(TableRejected, match="clean made a list as part 0"):
        joined([[1]], "clean made")
    with pytest.raises(TableRejected, match="no batch at all"):
        Divided(len, ROWS, merge=sum)([])
    with pytest.raises(TableRejected, match="its first argument is a dict"):
        Divided(numbered, ROWS)({})


def test_a_column_of_nulls_takes_the_type_of_the_other_parts() -> None:
    tables = [pa.table({"a": pa.nulls(1)}), pa.table({"a": ["x"]}), pa.table({"a": pa.nulls(2)})]
    assert joined(tables, "it made").schema == pa.schema([("a", pa.string())])
    assert joined(tables, "it made")["a"].to_pylist() == [None, "x", None, None]
