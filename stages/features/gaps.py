"""What to fill gaps with, learned in parts: means and modes add up, medians do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import finite_floats, is_numeric, require_choice, require_columns, texts
from stages.errors import DataRejected
from stages.features.counts import added_up
from stages.preprocessing.missing import FILLINGS, Fill, Filling, fit_fill

WHERE = "The table to learn fillings from"


@dataclass(frozen=True)
class GapCounts:
    """What one column held, besides gaps.

    Attributes:
        found: ``value`` and ``rows`` of each, for the mode; without rows for the mean.
        known: Values that there were; ``total`` is their sum, of numbers.
    """

    found: pa.Table
    known: int
    total: float


def count_gaps(
    table: pa.Table,
    columns: Sequence[str],
    method: Filling = "median",
    values: Mapping[str, float | str] | None = None,
) -> list[GapCounts]:
    """Look at one table, or a part of one; columns with a constant among ``values`` are left out.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column holds neither numbers nor text, or an infinite value.
        ConfigError: the method is not known, or is the median of a number.
    """
    require_choice(method, FILLINGS, "The method of filling")
    require_columns(table.column_names, columns, WHERE)
    return [_counted(table, name, method) for name in columns if name not in (values or {})]


def _counted(table: pa.Table, name: str, method: Filling) -> GapCounts:
    if not is_numeric(table.schema.field(name).type):
        present = texts(table.column(name), name).drop_null()
        total = 0.0
    else:
        if method == "median":
            raise ConfigError(
                f"The median of {name!r} cannot be learned in parts; take the mean or a constant, or one table."
            )
        numbers = finite_floats(table, name, WHERE)
        present = pa.array(numbers[~np.isnan(numbers)])
        total = float(pc.sum(present).as_py() or 0.0)
    counts = pc.value_counts(present if method == "mode" or pa.types.is_string(present.type) else present.slice(0, 0))
    found = pa.table({"value": counts.field("values"), "rows": counts.field("counts")})
    return GapCounts(found, len(present), total)


def fill_of(
    parts: Sequence[list[GapCounts]],
    columns: Sequence[str],
    method: Filling = "median",
    values: Mapping[str, float | str] | None = None,
    flags: bool = False,
) -> Fill:
    """``fit_fill`` of what was counted in parts."""
    constants = dict(values or {})
    learned = [name for name in columns if name not in constants]
    for name, counts in zip(learned, zip(*parts, strict=True), strict=True):
        constants[name] = _filling(name, counts)
    nothing = pa.table(
        {name: pa.array([], pa.string() if isinstance(constants[name], str) else pa.float64()) for name in columns}
    )
    return fit_fill(nothing, columns, method, constants, flags)


def _filling(name: str, counts: Sequence[GapCounts]) -> float | str:
    known = sum(one.known for one in counts)
    if not known:
        raise DataRejected(f"{WHERE}: column {name!r} holds no value to learn from; give values=….", column=name)
    found = added_up([one.found for one in counts])
    if not found.num_rows:
        return sum(one.total for one in counts) / known
    value, _ = min(
        zip(found["value"].to_pylist(), found["rows"].to_pylist(), strict=True), key=lambda pair: (-pair[1], pair[0])
    )
    return value if isinstance(value, str) else float(value)
