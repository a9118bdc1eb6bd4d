"""A rule about how values are distributed, against a reference: the population stability index of one column.

The reference is an argument of the stage, or a table or column at hand, of which only the histogram is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import CheckResult
from orchestrator.errors import ConfigError
from stages.columns import floats, is_numeric, require_columns
from stages.errors import DataRejected
from stages.monitoring.drift import PSI_LIMITS, stability_index
from stages.quality.rule import Rule, argument, table_of

BINS = 10
MOST_VALUES = 100
"""Values of a text column that count by themselves; rarer ones count together."""


@dataclass(frozen=True)
class Histogram:
    """How values were distributed.

    Attributes:
        edges: Between bins of numbers; None for other values.
        values: The most frequent values, for what is no number.
        counts: Rows in each bin or with each value, then of all other values, then missing ones.
    """

    edges: tuple[float, ...] | None
    values: tuple[Any, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Distribution(Rule):
    """See ``distribution``."""

    column: str
    reference: str
    histogram: Histogram | None
    most: float
    kind: Literal["drift"] = "drift"

    @property
    def text(self) -> str:
        """See ``Rule``."""
        of = f" against {self.reference}" if self.reference else ""
        return f"distribution({self.column}){of}, PSI at most {self.most:g}"

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        require_columns(table.column_names, [self.column], "The table")
        then = self.histogram
        if then is None:
            known = table_of(argument(arguments, self.reference))
            require_columns(known.column_names, [self.column], f"The table {self.reference!r}")
            then = histogram(known.column(self.column), self.column)
        if not table.num_rows:
            return CheckResult(False, message="there are no rows to compare", column=self.column)
        now = _counts(table.column(self.column), self.column, then)
        index = stability_index(np.array(then.counts, dtype=np.float64), now)
        return CheckResult(index <= self.most, message=f"PSI {index:.3f}", column=self.column)


def histogram(column: Any, name: str) -> Histogram:
    """How a column is distributed: over quantiles, or over its most frequent values.

    Raises:
        DataRejected: it has no values.
    """
    if len(column) == column.null_count:
        raise DataRejected(f"The reference of column {name!r} has no values.", column=name)
    if is_numeric(column.type):
        numbers = floats(column, name)
        numbers = numbers[~np.isnan(numbers)]
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])) if numbers.size else np.array([])
        empty = Histogram(tuple(edges.tolist()), (), ())
    else:
        counted = pc.value_counts(column.drop_null())
        order = pc.select_k_unstable(counted.field("counts"), MOST_VALUES, sort_keys=[("", "descending")])
        empty = Histogram(None, tuple(sorted(counted.field("values").take(order).to_pylist())), ())
    counts = _counts(column, name, empty)
    return Histogram(empty.edges, empty.values, tuple(int(count) for count in counts))


def _counts(column: Any, name: str, like: Histogram) -> Any:
    """Rows of a column in the bins of a histogram, other values and missing ones last."""
    if (like.edges is not None) != is_numeric(column.type):
        raise DataRejected(f"Column {name!r} holds {column.type}, unlike its reference.", column=name)
    if like.edges is not None:
        numbers = floats(column, name)
        present = numbers[~np.isnan(numbers)]
        places = np.searchsorted(np.array(like.edges), present, side="left")
        bins = np.bincount(places, minlength=len(like.edges) + 1)
        return np.array([*bins, 0, len(numbers) - len(present)], dtype=np.float64)
    counted = pc.value_counts(column.drop_null())
    found = dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
    known = [found.pop(value, 0) for value in like.values]
    return np.array([*known, sum(found.values()), column.null_count], dtype=np.float64)


def distribution(
    column: str,
    reference: Any,
    most: float = PSI_LIMITS[1],
    severity: str = "block",
    part: str = "",
) -> Distribution:
    """The column is distributed like the reference's: the population stability index is at most ``most``.

    Args:
        reference: Name of an argument of the stage that is a table, or a table or column at hand.

    Raises:
        ConfigError: ``most`` is not positive.
        NotFound: the reference has no such column.
        DataRejected: the reference has no values.
    """
    if not most > 0:
        raise ConfigError(f"most={most!r}: the largest index that passes is positive")
    if isinstance(reference, str):
        return Distribution(column=column, reference=reference, histogram=None, most=most, severity=severity, part=part)
    if not isinstance(reference, pa.Array | pa.ChunkedArray):
        table = table_of(reference)
        require_columns(table.column_names, [column], "The reference")
        reference = table.column(column)
    found = histogram(reference, column)
    return Distribution(column=column, reference="", histogram=found, most=most, severity=severity, part=part)
