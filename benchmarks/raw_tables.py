"""The same work on tables by hand: straight in Ray Data, and in plain Arrow in one process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from benchmarks import table_work as work


def _ray_data() -> Any:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray.data


def _tables(dataset: Any) -> list[pa.Table]:
    import ray

    return [table for table in ray.get(dataset.to_arrow_refs()) if table.num_columns]


def journey_on_ray_data(salt: int, path: str, target: Path) -> int:
    """Read, clean, add up and write with Ray Data; partial sums, because its shuffle is slow on few CPUs."""
    shutil.rmtree(target, ignore_errors=True)  # it would append
    batches = {"batch_format": "pyarrow", "batch_size": work.PART_ROWS}
    flights = _ray_data().read_parquet(path).map_batches(work.cleaned, fn_args=[salt], **batches).materialize()
    totals = work.summed(_tables(flights.map_batches(work.sums, **batches)))
    flights.write_parquet(str(target))
    return work.checksum(totals, flights.count())


def journey_in_arrow(salt: int, path: str, target: Path) -> int:
    """All in memory, in one process."""
    flights = work.cleaned(pyarrow.parquet.read_table(path), salt)
    totals = work.summed([work.sums(flights)])
    target.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(flights, target / "flights.parquet", compression="zstd")
    return work.checksum(totals, flights.num_rows)


def query_1_on_ray_data(salt: int, path: str) -> int:
    """Query 1 with Ray Data."""
    lines = _ray_data().read_parquet(path, columns=work.LINE_COLUMNS)
    parts = lines.map_batches(work.pricing, fn_args=[salt], batch_format="pyarrow", batch_size=work.PART_ROWS)
    return work.priced(_tables(parts))


def query_1_in_arrow(salt: int, path: str) -> int:
    """Query 1 in memory."""
    return work.priced([work.pricing(pyarrow.parquet.read_table(path, columns=work.LINE_COLUMNS), salt)])
