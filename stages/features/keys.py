"""Aggregates per key: of the rows at hand, or learned from training rows and looked up for any row later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import floats, is_numeric, require_choice, require_columns, require_rows, set_numbers, texts
from stages.errors import DataRejected
from stages.transforms import InputKind, Transform

Statistic = Literal["count", "count_distinct", "sum", "mean", "min", "max", "stddev"]

STATISTICS: tuple[Statistic, ...] = ("count", "count_distinct", "sum", "mean", "min", "max", "stddev")


@stage(cache="30d", timeout="10m")
def aggregate(table: pa.Table, by: Sequence[str], values: Mapping[str, Sequence[Statistic]]) -> pa.Table:
    """One row for each key, in order of first appearance, with statistics of columns as ``column.statistic``.

    Args:
        by: Key columns.
        values: Statistics by column; nulls count nowhere.

    Raises:
        NotFound: a column is missing.
        ConfigError: a statistic is not known, or there is no key.
        DataRejected: a column that is to be summed or averaged is not numeric.
    """
    if not by:
        raise ConfigError("aggregate needs at least one key column")
    require_columns(table.column_names, [*by, *values], "The table to aggregate")
    for name in by:
        if pa.types.is_nested(kind := table.schema.field(name).type):
            raise DataRejected(f"Column {name!r} holds {kind}; it cannot be a key.", column=name)
    wanted = [(column, statistic) for column, statistics in values.items() for statistic in statistics]
    for column, statistic in wanted:
        require_choice(statistic, STATISTICS, "A statistic")
        if statistic in ("sum", "mean", "stddev") and not is_numeric(table.schema.field(column).type):
            kind = table.schema.field(column).type
            raise DataRejected(f"Column {column!r} holds {kind}; its {statistic} cannot be taken.", column=column)
    row = "__row__"
    numbered = table.select([*dict.fromkeys([*by, *values])]).append_column(row, pa.array(np.arange(table.num_rows)))
    grouped = numbered.group_by(list(by)).aggregate([*wanted, (row, "min")]).sort_by(f"{row}_min")
    columns = [grouped.column(f"{column}_{statistic}") for column, statistic in wanted]
    names = [f"{column}.{statistic}" for column, statistic in wanted]
    keys = [grouped.column(name) for name in by]
    return pa.table([*keys, *columns], names=[*by, *names]).combine_chunks()


@dataclass(frozen=True)
class KeyStatistics(Transform):
    """A statistic of a number among the training rows of a key, as ``number.statistic.key``.

    Attributes:
        columns: The key, a text column.
        keys: Keys seen in training.
        found: By key; ``otherwise`` is that of all rows, for keys that training did not see.
    """

    number: str
    statistic: Statistic
    keys: list[str]
    found: list[float]
    otherwise: float

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Text."""
        return dict.fromkeys(self.columns, "text")

    @property
    def makes(self) -> list[str]:
        """``number.statistic.key``."""
        return [f"{self.number}.{self.statistic}.{self.columns[0]}"]

    def apply(self, table: pa.Table) -> pa.Table:
        """Look the keys up."""
        (key,) = self.columns
        require_columns(table.column_names, [key], self.place)
        places = pc.index_in(texts(table.column(key), key), pa.array(self.keys, pa.string()), skip_nulls=True)
        codes = pc.fill_null(places, len(self.keys)).to_numpy(zero_copy_only=False)
        return set_numbers(table, self.makes[0], np.array([*self.found, self.otherwise])[codes])


def fit_key_statistics(table: pa.Table, key: str, number: str, statistic: Statistic = "mean") -> KeyStatistics:
    """Learn a statistic of a number for each key; for a target use ``fit_target_means``, which does not leak.

    Raises:
        NotFound: a column is missing.
        DataRejected: the key is not text or has no value, the number is not numeric or has none, or there are no rows.
        ConfigError: the statistic is not known.
    """
    where = "The table of fit_key_statistics"
    require_columns(table.column_names, [key, number], where)
    require_rows(table, where)
    values = pa.array(floats(table.column(number), number), from_pandas=True)
    rows = pa.table({"key": texts(table.column(key), key), "value": values})
    known = rows.filter(pc.and_(pc.is_valid(rows.column("key")), pc.is_valid(rows.column("value"))))
    if not known.num_rows:
        raise DataRejected(f"{where}: no row has both {key!r} and {number!r}.", column=key)
    table_of = aggregate(known, ["key"], {"value": [statistic]}).sort_by("key")
    constant = known.set_column(0, "key", pa.array([""] * known.num_rows))
    overall = aggregate(constant, ["key"], {"value": [statistic]}).column(1)[0].as_py()
    found = [float(value) for value in table_of.column(1).to_pylist()]
    return KeyStatistics([key], number, statistic, table_of.column(0).to_pylist(), found, float(overall))
