"""Rules about a table as a whole: its columns and their types, how many rows it has, how old it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import CheckResult, step
from orchestrator.errors import ConfigError
from stages.columns import require_columns, suggestion, type_named
from stages.errors import DataRejected
from stages.quality.rule import Rule

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, kw_only=True)
class Columns(Rule):
    """See ``columns``."""

    types: tuple[tuple[str, str], ...]
    extra: bool

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"columns({', '.join(name for name, _ in self.types)}{', …' if self.extra else ''})"

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        wrong = []
        for name, kind in self.types:
            found = table.schema.get_all_field_indices(name)
            if not found:
                wrong.append(f"no column {name!r}.{suggestion(name, table.column_names)}".rstrip("."))
            elif len(found) > 1:
                wrong.append(f"{len(found)} columns {name!r}")
            elif kind and table.schema.field(found[0]).type != type_named(kind):
                wrong.append(f"{name!r} holds {table.schema.field(found[0]).type}, not {kind}")
        if not self.extra:
            known = {name for name, _ in self.types}
            wrong += [f"{name!r} is not expected" for name in table.column_names if name not in known]
        return CheckResult(not wrong, message="; ".join(wrong))


@dataclass(frozen=True, kw_only=True)
class RowCount(Rule):
    """See ``row_count``."""

    low: int | None
    high: int | None

    @property
    def text(self) -> str:
        """See ``Rule``."""
        low, high = ("…" if bound is None else f"{bound:,}" for bound in (self.low, self.high))
        return f"row_count [{low}, {high}]"

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        rows = table.num_rows
        few, many = self.low is not None and rows < self.low, self.high is not None and rows > self.high
        return CheckResult(not few and not many, message=f"{rows:,} rows")


@dataclass(frozen=True, kw_only=True)
class Fresh(Rule):
    """See ``fresh``."""

    column: str
    within_s: float
    words: str

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"fresh({self.column}) within {self.words}"

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        require_columns(table.column_names, [self.column], "The table")
        column = table.column(self.column)
        if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            raise DataRejected(f"Column {self.column!r} holds {column.type}; times are needed here.")
        newest = pc.max(column).as_py()
        if newest is None:
            return CheckResult(False, message="there is no time in it", column=self.column)
        if not isinstance(newest, datetime):
            assert isinstance(newest, date)
            newest = datetime.combine(newest, time(23, 59, 59))
        newest = newest if newest.tzinfo else newest.replace(tzinfo=UTC)
        age = datetime.fromtimestamp(step().now(), UTC) - newest
        message = f"the newest is {newest.isoformat()}, {age} ago"
        return CheckResult(age <= timedelta(seconds=self.within_s), message=message, column=self.column)


def columns(
    types: Mapping[str, str | None] | pa.Schema | None = None,
    *,
    extra: bool = True,
    severity: str = "block",
    part: str = "",
    **named: str | None,
) -> Columns:
    """The table has these columns with these Arrow types (None for any); ``extra=False`` allows no others.

    Raises:
        ConfigError: a type has no such name.
    """
    if isinstance(types, pa.Schema):
        types = {field.name: str(field.type) for field in types}
    wanted = {**(types or {}), **named}
    for kind in filter(None, wanted.values()):
        type_named(kind)
    if not wanted:
        raise ConfigError("columns needs at least one column")
    pairs = tuple((name, kind or "") for name, kind in wanted.items())
    return Columns(types=pairs, extra=extra, severity=severity, part=part)


def row_count(low: int | None = None, high: int | None = None, severity: str = "block", part: str = "") -> RowCount:
    """The number of rows lies between the bounds, both included."""
    return RowCount(low=low, high=high, severity=severity, part=part)


def fresh(column: str, within: str | float, severity: str = "block", part: str = "") -> Fresh:
    """The newest time in the column is at most so old: ``"2h"``, ``"3d"`` or seconds. Times without a zone are UTC.

    Raises:
        ConfigError: the duration cannot be read.
    """
    text = str(within)
    try:
        unit = _UNITS.get(text[-1:], "")
        age = timedelta(**{unit: float(text[:-1])}) if unit else timedelta(seconds=float(text))
    except ValueError:
        raise ConfigError(f"within={within!r} is no duration; write '30m', '2h', '3d' or seconds") from None
    return Fresh(column=column, within_s=age.total_seconds(), words=text, severity=severity, part=part)
