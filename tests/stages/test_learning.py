"""Encoders fitted in parts are those fitted on the whole table: on real flights, however they are cut, and in a run."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestrator import pipeline
from orchestrator.errors import ConfigError, NotFound
from stages.errors import DataRejected
from stages.features import FITTERS, LEARNERS, Transform, learn
from stages.features.plan import PlanStep
from stages.ingestion import read_batches, write_parquet

STEPS: list[PlanStep] = [
    {"onehot": {"columns": ["carrier", "origin"], "unseen": "other", "min_rows": 1000, "most": 8}},
    {"ordinal": {"columns": ["origin"], "order": {"origin": ["JFK", "LGA", "EWR"]}}},
    {"frequency": {"columns": ["dest", "number"]}},
    {"target_means": {"columns": ["dest", "number"], "target": "arr_delay", "groups": ["carrier"], "folds": 3}},
    {"target_means": {"columns": ["carrier"], "target": "late", "smoothing": 0.0}},
    {"tfidf": {"column": "route", "most": 40, "longest": 2, "max_share": 0.5}},
    {"tfidf": {"column": "route", "buckets": 16}},
    {"fill": {"columns": ["dep_delay", "number"], "method": "mean", "flags": True}},
    {"fill": {"columns": ["arr_delay", "origin", "flight"], "method": "mode", "values": {"flight": 1}}},
    {"scale": {"columns": ["distance", "dep_delay"], "method": "minmax"}},
    {"scale": {"columns": ["distance", "dep_delay"], "method": "robust"}},
]


@pytest.fixture(scope="module")
def table(flights: pa.Table) -> pa.Table:
    route = pc.binary_join_element_wise("from", flights["origin"], "to", flights["dest"], " ")
    late = pc.cast(pc.greater(flights["arr_delay"], 15), pa.float64())
    number = pc.cast(flights["flight"], pa.string())
    return flights.append_column("route", route).append_column("late", late).append_column("number", number)


def fitted(table: pa.Table, step: PlanStep) -> Transform:
    ((name, parameters),) = step.items()
    return FITTERS[name](table, **parameters)


def test_every_learner_is_tried() -> None:
    assert {name for step in STEPS for name in step} == set(LEARNERS)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: next(iter(step)))
def test_parts_teach_what_the_whole_table_teaches(table: pa.Table, step: PlanStep) -> None:
    whole = fitted(table, step)
    for rows in (5_000, 120_001):
        parts = [table.slice(start, rows) for start in range(0, table.num_rows, rows)]
        assert learn([table.slice(0, 0), *parts], step) == whole, rows  # type: ignore[arg-type]
    assert learn(table, step) == whole


def test_sums_of_floats_differ_at_most_in_their_last_digits(table: pa.Table) -> None:
    parts = [table.slice(start, 30_000) for start in range(0, table.num_rows, 30_000)]
    found: Any = learn(parts, {"scale": {"columns": ["dep_delay"]}})  # type: ignore[arg-type]
    whole: Any = fitted(table, {"scale": {"columns": ["dep_delay"]}})
    assert (found.centers, found.scales) == (pytest.approx(whole.centers, rel=1e-12), pytest.approx(whole.scales))


@pipeline
def taught(path: str, rows: int) -> list[Any]:
    flights = read_batches(path, rows=rows)
    return [learn.options(name=f"learn-{place}")(flights, step) for place, step in enumerate(STEPS)]


def test_a_stream_of_a_run_teaches_the_same(table: pa.Table, tmp_path: Any) -> None:
    some = table.slice(0, 30_000)
    write_parquet(some, str(tmp_path / "flights"))
    run = taught.options(on="local").run(path=str(tmp_path / "flights"), rows=12_000)
    assert run.result() == [fitted(some, step) for step in STEPS]


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ({"bounds": {"columns": ["distance"]}}, ConfigError, "bounds cannot be fitted in parts.*onehot"),
        ({"fill": {"columns": ["distance"]}}, ConfigError, "median of 'distance' cannot be learned in parts"),
        ({"fill": {"columns": ["dest"], "values": {"dist": 1}}}, ConfigError, "'dist'"),
        ({"onehott": {"columns": ["distance"]}}, ConfigError, "Did you mean 'onehot'"),
        ({"onehot": {"columns": ["carrier"], "mots": 3}}, ConfigError, "takes no 'mots'. Did you mean 'most'"),
        ({"onehot": {"columns": ["carier"]}}, NotFound, "Did you mean 'carrier'"),
        ({"onehot": {"columns": ["distance"]}}, DataRejected, "'distance' holds .*; text is needed"),
        ({"tfidf": {"column": "carrier", "longest": 0}}, ConfigError, "longest=0"),
        ({"target_means": {"columns": ["dest"], "target": "dest"}}, DataRejected, "cannot be one of its own features"),
    ],
)
def test_what_cannot_be_learned_is_said(table: pa.Table, step: PlanStep, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        learn([table.slice(0, 100), table.slice(100, 100)], step)  # type: ignore[arg-type]


def test_parts_without_a_value_teach_nothing() -> None:
    parts: Any = [pa.table({"s": pa.array([None], pa.string()), "y": pa.array([None], pa.float64())})] * 3
    with pytest.raises(DataRejected, match="'s' holds no value to learn from in 3 rows"):
        learn(parts, {"onehot": {"columns": ["s"]}})
    with pytest.raises(DataRejected, match="'y' holds no value to learn from in 3 rows"):
        learn(parts, {"target_means": {"columns": ["s"], "target": "y", "folds": 2}})
    with pytest.raises(DataRejected, match="'y' holds no value to learn from; give values="):
        learn(parts, {"fill": {"columns": ["y"], "method": "mean"}})
    with pytest.raises(DataRejected, match="has no rows"):
        learn([part.slice(0, 0) for part in parts], {"tfidf": {"column": "s"}})  # type: ignore[arg-type]
