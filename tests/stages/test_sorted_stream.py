"""Batches of whole groups: no group is cut, whatever the batches were, and rows out of order are named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.ingestion import read_batches, whole_groups, write_parquet

keys = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([1.0, float("nan"), None])), max_size=30)


def place_of(key: tuple[Any, Any]) -> tuple[Any, ...]:
    return tuple((value is None, value is not None and value != value, value or 0) for value in key)


@given(keys, st.lists(st.integers(0, 30), max_size=5))
def test_no_group_is_in_two_batches_and_no_row_is_lost(found: list[tuple[Any, Any]], cuts: list[int]) -> None:
    text, number = [[key[place] for key in sorted(found, key=place_of)] for place in (0, 1)]
    table = pa.table({"t": pa.array(text, pa.string()), "n": pa.array(number, pa.float64()), "row": range(len(found))})
    edges = [*sorted({0, *(min(cut, table.num_rows) for cut in cuts)}), table.num_rows]
    batches = list(whole_groups((table.slice(a, b - a) for a, b in pairwise(edges)), ["t", "n"]))
    assert pa.concat_tables(batches)["row"].to_pylist() == list(range(len(found)))
    assert batches[0].schema == table.schema
    groups = [{repr(key) for key in zip(one["t"].to_pylist(), one["n"].to_pylist(), strict=True)} for one in batches]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_a_row_out_of_order_is_named() -> None:
    tables = [pa.table({"k": ["a", "b"]}), pa.table({"k": ["b", "c", "a"]})]
    with pytest.raises(DataRejected, match=r"row 4 \(k 'a'\) comes after rows of a later key; sort the rows by k"):
        list(whole_groups(tables, ["k"]))
    with pytest.raises(DataRejected, match=r"row 2 \(k 'a'\)"):
        list(whole_groups([pa.table({"k": ["a", None]}), pa.table({"k": ["a"]})], ["k"]))
    with pytest.raises(NotFound, match="no column 'kk'"):
        list(whole_groups(tables, ["kk"]))
    with pytest.raises(ConfigError, match="key"):
        list(whole_groups(tables, []))
    with pytest.raises(DataRejected, match="do not fit together"):
        list(whole_groups([pa.table({"k": [1]}), pa.table({"k": ["a"]})], ["k"]))


def test_parquet_is_read_in_whole_groups(tmp_path: Any) -> None:
    table = pa.table({"k": [n // 5 for n in range(40)], "n": range(40)})
    write_parquet(table, str(tmp_path))
    batches = list(read_batches(str(tmp_path), rows=7, by=["k"]))
    assert pa.concat_tables(batches).equals(table)
    assert [one.num_rows % 5 for one in batches] == [0] * len(batches)
    write_parquet(reversed(batches), str(tmp_path))
    with pytest.raises(DataRejected, match=rf"{tmp_path}'?: row"):
        list(read_batches(str(tmp_path), rows=7, by=["k"]))
