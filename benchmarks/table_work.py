"""What is done with tables, whoever does it: plain functions of Arrow tables, and the answers they have to come to."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

PART_ROWS = 262_144
LAST_SHIPPED = datetime.date(1998, 9, 2)
LINE_COLUMNS = ["l_returnflag", "l_linestatus", "l_quantity", "l_extendedprice", "l_discount", "l_shipdate"]


def cleaned(flights: pa.Table, salt: int) -> pa.Table:
    """Flights with a believable delay, with a few more columns; salted."""
    known = pc.fill_null(pc.less(pc.abs(flights["delay"]), 1000), False)
    kept = flights.filter(known)
    gain = pc.add(pc.multiply(kept["distance"], 7), salt % 1009)
    route = pc.binary_join_element_wise(kept["origin"], kept["destination"], "-")
    late = pc.greater(kept["delay"], 15)
    for name, column in (("hour", pc.hour(kept["date"])), ("gain", gain), ("route", route), ("late", late)):
        kept = kept.append_column(name, column)
    return kept


def sums(flights: pa.Table) -> pa.Table:
    """What each route came to in a part of the flights."""
    return flights.group_by("route").aggregate([("gain", "sum"), ("gain", "count"), ("delay", "max")])


def summed(parts: Sequence[pa.Table]) -> pa.Table:
    """What each route came to in all."""
    names = ["route", "gain_sum", "gain_count", "delay_max"]
    totals = pa.concat_tables(list(parts)).group_by("route").aggregate(
        [("gain_sum", "sum"), ("gain_count", "sum"), ("delay_max", "max")]
    )  # fmt: skip
    return totals.rename_columns(names).sort_by("route")


def checksum(totals: pa.Table, rows_written: int) -> int:
    """The answer: gains of all routes, and how many rows were written."""
    return int(pc.sum(totals["gain_sum"]).as_py()) + rows_written


@cache
def _flights_facts(path: str) -> tuple[int, int]:
    kept = cleaned(pyarrow.parquet.read_table(path), 0)
    return int(pc.sum(kept["gain"]).as_py()), kept.num_rows


def expected(path: str, salt: int) -> int:
    """What ``checksum`` has to come to."""
    gain, rows = _flights_facts(path)
    return gain + rows * (salt % 1009) + rows


def pricing(lines: pa.Table, salt: int) -> pa.Table:
    """Query 1 of TPC-H on a part of the line items, in whole cents; quantities are salted."""
    for name in ("l_returnflag", "l_linestatus"):  # string views, which cannot be filtered
        lines = lines.set_column(lines.column_names.index(name), name, pc.cast(lines[name], pa.string()))
    lines = lines.filter(pc.less_equal(lines["l_shipdate"], pa.scalar(LAST_SHIPPED)))

    def cents(name: str) -> pa.ChunkedArray:
        return pc.cast(pc.round(pc.multiply(pc.cast(lines[name], pa.float64()), 100)), pa.int64())

    price, discount = cents("l_extendedprice"), cents("l_discount")
    quantity = pc.add(cents("l_quantity"), salt % 1009)
    discounted = pc.multiply(price, pc.subtract(100, discount))
    keys = {name: lines[name] for name in ("l_returnflag", "l_linestatus")}
    columns = pa.table({**keys, "quantity": quantity, "price": price, "discounted": discounted})
    values = [(name, "sum") for name in ("quantity", "price", "discounted")]
    return columns.group_by(list(keys)).aggregate([*values, ("quantity", "count")])


def priced(parts: Sequence[pa.Table]) -> int:
    """All of it as one number."""
    whole = pa.concat_tables(list(parts))
    return sum(int(pc.sum(whole[name]).as_py()) for name in whole.column_names if not name.startswith("l_"))


@cache
def _pricing_facts(path: str) -> tuple[int, int]:
    lines = pyarrow.parquet.read_table(path, columns=LINE_COLUMNS)
    parts = [pricing(lines.slice(start, PART_ROWS), 0) for start in range(0, lines.num_rows, PART_ROWS)]
    return priced(parts), sum(int(pc.sum(part["quantity_count"]).as_py()) for part in parts)


def expected_pricing(path: str, salt: int) -> int:
    """What ``priced`` has to come to."""
    total, rows = _pricing_facts(path)
    return total + rows * (salt % 1009)


def worked(table: pa.Table, rounds: int) -> pa.Table:
    """As much computing on each row as is asked for: 10 to 20 ns a round."""
    x = table["x"].to_numpy()
    for _ in range(rounds):
        x = np.sin(x) + 1.0
    return table.set_column(0, "x", pa.array(x))
