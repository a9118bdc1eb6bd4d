"""Missing values: rows dropped, gaps filled with a constant, with what training rows show, or with the last value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import (
    floats,
    is_numeric,
    learnable,
    require_choice,
    require_columns,
    require_rows,
    rows_named,
    set_column,
    texts,
)
from stages.errors import DataRejected
from stages.rows import group_codes
from stages.transforms import InputKind, Transform

Filling = Literal["mean", "median", "mode"]

FILLINGS: tuple[Filling, ...] = ("mean", "median", "mode")


@dataclass(frozen=True)
class Fill(Transform):
    """Fills gaps with one value for each column.

    Attributes:
        values: Numbers or texts, by column.
        flags: Whether ``column.missing`` says, as 0 and 1, where there was a gap.
    """

    values: list[float | str]
    flags: bool

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Numbers and texts, by what fills them."""
        return {
            name: "text" if isinstance(value, str) else "number"
            for name, value in zip(self.columns, self.values, strict=True)
        }

    @property
    def makes(self) -> list[str]:
        """Its columns, and their flags if wanted."""
        return [*self.columns, *(f"{name}.missing" for name in self.columns if self.flags)]

    def apply(self, table: pa.Table) -> pa.Table:
        """Fill the gaps; NaN is one too."""
        require_columns(table.column_names, self.columns, self.place)
        for name, value in zip(self.columns, self.values, strict=True):
            column = table.column(name)
            gaps = pc.is_null(column, nan_is_null=True)
            filled = texts(column, name) if isinstance(value, str) else pc.cast(_numeric(column, name), pa.float64())
            table = set_column(table, name, pc.if_else(gaps, pa.scalar(value, filled.type), filled))
            if self.flags:
                table = set_column(table, f"{name}.missing", pc.cast(gaps, pa.float64()))
        return table


def _numeric(column: Any, name: str) -> Any:
    floats(column.slice(0, 0), name)
    return column


def fit_fill(
    table: pa.Table,
    columns: Sequence[str],
    method: Filling = "median",
    values: Mapping[str, float | str] | None = None,
    flags: bool = False,
) -> Fill:
    """Learn what to fill gaps with.

    Args:
        method: ``mean`` or ``median`` of a number, or the ``mode`` (the smallest of equals); text gets the mode.
        values: Constants by column, used instead.
        flags: Add ``column.missing``, which says where there was a gap.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column holds no value to learn from, an infinite one, or neither numbers nor text.
        ConfigError: the method is not known, or a constant is for a column that is not among ``columns``.
    """
    require_choice(method, FILLINGS, "The method of filling")
    where = "The table given to fit_fill"
    require_columns(table.column_names, columns, where)
    constants = dict(values or {})
    if stray := [name for name in constants if name not in columns]:
        raise ConfigError(f"fit_fill has values for {stray}, which are not among its columns {list(columns)}")
    learned = [constants[name] if name in constants else _learned(table, name, method, where) for name in columns]
    fill = Fill(list(columns), [value if isinstance(value, str) else float(value) for value in learned], flags)
    fill.apply(table.slice(0, 0))
    return fill


def _learned(table: pa.Table, name: str, method: Filling, where: str) -> float | str:
    require_rows(table, where)
    column = table.column(name)
    if is_numeric(column.type):
        values = learnable(table, name, where)
        present = values[~np.isnan(values)]
        if method == "mode":
            distinct, counts = np.unique(present, return_counts=True)
            return float(distinct[np.argmax(counts)])
        return float(present.mean() if method == "mean" else np.median(present))
    counted = pc.value_counts(texts(column, name).drop_null()).to_pylist()
    if not counted:
        raise DataRejected(f"{where}: column {name!r} holds no value to learn from; give values=….", column=name)
    return str(min(counted, key=lambda entry: (-entry["counts"], entry["values"]))["values"])


@stage(scope="rows", cache="30d", timeout="10m")
def drop_missing(table: pa.Table, columns: Sequence[str], when: Literal["any", "all"] = "any") -> pa.Table:
    """Leave out rows where any (or all) of some columns are missing; NaN is missing too.

    Raises:
        NotFound: a column is missing.
        ConfigError: there is no column, or ``when`` is neither ``any`` nor ``all``.
    """
    require_choice(when, ("any", "all"), "when")
    if not columns:
        raise ConfigError("drop_missing needs at least one column")
    require_columns(table.column_names, columns, "The table given to drop_missing")
    gaps = [pc.is_null(table.column(name), nan_is_null=True) for name in columns]
    return table.filter(pc.invert(reduce(pc.or_ if when == "any" else pc.and_, gaps)))


@stage(cache="30d", timeout="10m")
def fill_forward(
    table: pa.Table, columns: Sequence[str], order: str, by: Sequence[str] = (), limit: int | None = None
) -> pa.Table:
    """Fill each gap with the last earlier value of its group; rows stay in their order.

    Args:
        order: Column that says what is earlier; equal ones keep the order of the table.
        by: Columns of the group; the whole table is one when not given.
        limit: Rows of a group that one value may fill.

    Raises:
        NotFound: a column is missing.
        DataRejected: the order column has gaps.
    """
    where = "The table given to fill_forward"
    require_columns(table.column_names, [*columns, order, *by], where)
    sequence, groups = in_order(table, order, by, where)
    for name in columns:
        column = table.column(name).combine_chunks()
        gaps = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)[sequence]
        place = np.arange(len(sequence))
        last = np.maximum.accumulate(np.where(gaps, -1, place)) if len(place) else place
        reachable = (last >= 0) & (groups[np.maximum(last, 0)] == groups)
        if limit is not None:
            reachable &= place - last <= limit
        source = np.empty(len(sequence), dtype=np.int64)
        source[sequence] = sequence[np.where(reachable, last, place)]
        table = set_column(table, name, column.take(pa.array(source)))
    return table


def in_order(table: pa.Table, order: str, by: Sequence[str], where: str) -> tuple[Any, Any]:
    """Positions of the rows group by group and in order within each, and the group of each of these.

    Raises:
        DataRejected: the order column has gaps, names the rows; or holds what has no order.
    """
    kind = table.schema.field(order).type
    if pa.types.is_nested(kind):
        raise DataRejected(f"{where}: the order column {order!r} holds {kind}, which has no order.", column=order)
    gaps = pc.is_null(table.column(order), nan_is_null=True).to_numpy()
    if gaps.any():
        raise DataRejected(f"{where}: the order column {order!r} is missing in {rows_named(gaps)}.", column=order)
    groups = group_codes(table, by, where)
    ranks = pa.table({"group": groups, "order": table.column(order), "row": np.arange(table.num_rows)})
    keys = [("group", "ascending"), ("order", "ascending"), ("row", "ascending")]
    sequence = pc.sort_indices(ranks, sort_keys=keys).to_numpy().astype(np.int64)
    return sequence, groups[sequence]
