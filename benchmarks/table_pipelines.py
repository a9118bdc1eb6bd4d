"""The same work on tables as pipelines of ours: as streams of batches, and on one table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from benchmarks import table_work as work
from orchestrator import pipeline, stage
from stages.ingestion import DataSet, read_batches, write_parquet


@stage(scope="rows")
def cleaned(flights: pa.Table, salt: int) -> pa.Table:
    return work.cleaned(flights, salt)


def _summed(parts: list[pa.Table]) -> pa.Table:
    return work.summed(parts)


@stage(scope="rows", merge=_summed)
def sums(flights: pa.Table) -> pa.Table:
    return work.sums(flights)


@stage
def checksum(totals: pa.Table, written: DataSet) -> int:
    return work.checksum(totals, written.rows)


@pipeline
def journey(salt: int, path: str, target: str) -> int:
    flights = cleaned(read_batches(path, rows=work.PART_ROWS), salt)
    return checksum(sums(flights), write_parquet(flights, target))


def _priced(parts: list[pa.Table]) -> int:
    return work.priced(parts)


@stage(scope="rows", merge=_priced)
def pricing(lines: pa.Table, salt: int) -> pa.Table:
    return work.pricing(lines, salt)


@pipeline
def query_1(salt: int, path: str) -> int:
    return pricing(read_batches(path, work.LINE_COLUMNS, rows=work.PART_ROWS), salt)


@stage(profile=False)
def numbers(rows: int, salt: int) -> pa.Table:
    generator = np.random.default_rng(salt)
    return pa.table({name: generator.random(rows) for name in ("x", "y", "z", "w")})


@stage(scope="rows", profile=False)
def worked(table: pa.Table, rounds: int) -> pa.Table:
    return work.worked(table, rounds)


@stage
def height(table: pa.Table) -> int:
    return int(table.num_rows)


@pipeline
def one_table(salt: int, rows: int, rounds: int) -> int:
    return height(worked(numbers(rows, salt), rounds))
