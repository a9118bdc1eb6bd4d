"""Profiles of tables: figures against NumPy's, within a share of the time, for whatever a table holds."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from orchestrator.backends.bundles.profile import FIRST_US, SAMPLE_ROWS, Profiler, table_profile


def column(table: pa.Table, **rest: Any) -> dict[str, Any]:
    found: dict[str, Any] = table_profile(table, **rest)["columns"][0]
    return found


def test_figures_are_numpys() -> None:
    values = np.random.default_rng(1).integers(0, 50, 999)
    found = column(pa.table({"x": values}))
    assert (found["min"], found["max"], found["distinct"]) == (values.min(), values.max(), len(np.unique(values)))
    assert found["mean"] == values.mean()
    assert found["quantiles"] == np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], method="nearest").tolist()


def test_a_large_table_is_sampled_evenly_and_its_nulls_are_counted() -> None:
    values = pa.array([None if i % 4 == 0 else i for i in range(200_000)])
    found = table_profile(pa.table({"x": values}))
    assert (found["rows"], found["sampled"]) == (200_000, SAMPLE_ROWS)
    (described,) = found["columns"]
    assert described["nulls"] == 50_000
    assert abs(described["mean"] - 100_000) < 5_000


def test_texts_are_counted() -> None:
    found = column(pa.table({"x": pa.array(["b", "a", "b", None, "a" * 99]).dictionary_encode()}))
    assert found == {
        "name": "x", "type": "dictionary<values=string, indices=int32, ordered=0>", "nulls": 1, "distinct": 3,
        "top": [["b", 2], ["a", 1], ["a" * 60 + "…", 1]],
    }  # fmt: skip


def test_anything_a_table_holds_can_be_described() -> None:
    table = pa.table(
        {
            "f": [1.0, None, float("nan"), float("inf")],
            "d": pa.array([dt.date(2020, 1, 2), None, None, None]),
            "u": pa.array([2**63 + 1, 1, 2, 3], pa.uint64()),
            "l": [[1], [2], None, []],
            "n": pa.nulls(4),
            "i": pa.array([None] * 4, pa.month_day_nano_interval()),
            "b": [True, None, True, False],
        }
    )
    found = {one["name"]: one for one in table_profile(table)["columns"]}
    assert (found["f"]["nulls"], found["f"]["nans"], found["f"]["max"]) == (1, 1, "inf")
    assert found["d"]["min"] == "2020-01-02"
    assert found["u"]["max"] == 2**63 + 1
    assert found["b"]["top"] == [[True, 2], [False, 1]]
    assert found["l"] == {"name": "l", "type": "list<item: int64>", "nulls": 1}
    assert table_profile(table.slice(0, 0))["rows"] == 0
    assert table_profile(pa.table({}))["columns"] == []


class Clock:
    """Each look at it is so many microseconds later."""

    def __init__(self, step_us: float) -> None:
        self.now, self.step_us = 0, step_us

    def __call__(self) -> int:
        self.now += int(self.step_us * 1000)
        return self.now


def test_it_costs_a_share_of_the_bodies_time_after_the_first() -> None:
    table = pa.table({"x": list(range(1000))})
    profiler = Profiler(Clock(FIRST_US))
    assert profiler.profile(table, 10) is not None
    assert profiler.profile(table, 10) is None
    assert profiler.profile(table, 1_000_000) is not None


def test_little_time_means_fewer_rows() -> None:
    table = pa.table({f"x{i}": np.arange(100_000) for i in range(10)})
    found = [Profiler().profile(table, elapsed_us) for elapsed_us in (100, 60_000, 10_000_000)]
    sampled = [one[""]["sampled"] for one in found if one is not None]
    assert len(sampled) == 3
    assert 100 <= sampled[0] < sampled[1] < sampled[2] == SAMPLE_ROWS


@dataclass
class Split:
    train: Any
    test: Any
    name: str = ""


def test_tables_inside_an_output_are_found() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "mixed": [1, "a", None]})
    found = Profiler().profile(Split(pa.table({"x": [1]}), frame), 10**7)
    assert found is not None
    assert found["train"]["rows"] == 1
    assert found["test"]["rows"] == 3
    assert found["test"]["problem"].startswith("Arrow")
    for nothing in ([1, 2], {"a": 1}, 3, "x", object()):
        assert Profiler().profile(nothing, 10**7) is None
