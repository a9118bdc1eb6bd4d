"""Rules that single rows break: nulls, ranges, sets of values, patterns, repeated keys, anything in Arrow's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.errors import DataRejected
from stages.quality.rule import ROW, RowRule


@dataclass(frozen=True, kw_only=True)
class ColumnRule(RowRule):
    """A rule about one column, said by an Arrow expression."""

    column: str

    @property
    def of(self) -> Sequence[str]:
        """See ``RowRule``."""
        return (self.column,)

    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """See ``RowRule``."""
        column = table.column(self.column)
        try:
            return positions(self.bad(column))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            raise DataRejected(f"It does not suit column {self.column!r}, which holds {column.type}.") from None

    def bad(self, column: Any) -> Any:
        """A mask of the failing rows; null where a row cannot be judged, which passes."""
        raise DataRejected(f"{type(self).__name__} says nothing about rows")


class NotNull(ColumnRule):
    """See ``not_null``."""

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"not_null({self.column})"

    def bad(self, column: Any) -> Any:
        """See ``ColumnRule``."""
        return pc.is_null(column, nan_is_null=True)


@dataclass(frozen=True, kw_only=True)
class InRange(ColumnRule):
    """See ``in_range``."""

    low: Any = None
    high: Any = None

    @property
    def text(self) -> str:
        """See ``Rule``."""
        low, high = ("…" if bound is None else str(bound) for bound in (self.low, self.high))
        return f"in_range({self.column}) [{low}, {high}]"

    def bad(self, column: Any) -> Any:
        """See ``ColumnRule``."""
        bounds = [(pc.less, self.low), (pc.greater, self.high)]
        masks = [compare(column, pa.scalar(bound)) for compare, bound in bounds if bound is not None]
        return reduce(pc.or_, masks, pa.array(np.zeros(len(column), dtype=bool)))


@dataclass(frozen=True, kw_only=True)
class Allowed(ColumnRule):
    """See ``allowed``."""

    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """See ``Rule``."""
        shown = ", ".join(map(repr, self.values[:6])) + (", …" if len(self.values) > 6 else "")
        return f"allowed({self.column}) [{shown}]"

    def bad(self, column: Any) -> Any:
        """See ``ColumnRule``."""
        return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, pa.array(self.values, column.type))))


@dataclass(frozen=True, kw_only=True)
class Matches(ColumnRule):
    """See ``matches``."""

    pattern: str

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"matches({self.column}) {self.pattern}"

    def bad(self, column: Any) -> Any:
        """See ``ColumnRule``."""
        return pc.invert(pc.match_substring_regex(column, f"^(?:{self.pattern})$"))


@dataclass(frozen=True, kw_only=True)
class Unique(RowRule):
    """See ``unique``."""

    key: tuple[str, ...]

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"unique({', '.join(self.key)})"

    @property
    def of(self) -> Sequence[str]:
        """See ``RowRule``."""
        return self.key

    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """See ``RowRule``. Counted first, because tables without a repeated key are the rule."""
        keys = table.select(list(self.key))
        counted = keys.append_column(ROW, pa.array(np.arange(table.num_rows))).group_by(list(self.key))
        if counted.aggregate([]).num_rows == table.num_rows:
            return np.array([], dtype=np.int64)
        lists = counted.aggregate([(ROW, "list")]).column(f"{ROW}_list").combine_chunks()
        repeated = lists.filter(pc.greater(pc.list_value_length(lists), 1))
        return np.sort(pc.list_flatten(repeated).to_numpy(zero_copy_only=False).astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Holds(RowRule):
    """See ``holds``."""

    words: str
    function: Callable[[pa.Table], Any]

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return self.words

    @property
    def of(self) -> Sequence[str]:
        """See ``RowRule``."""
        return ()

    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """See ``RowRule``."""
        told = self.function(table)
        mask = np.asarray(
            pc.fill_null(told, True) if isinstance(told, pa.Array | pa.ChunkedArray) else told, dtype=bool
        )
        if mask.shape != (table.num_rows,):
            raise DataRejected(
                f"Its function gave {mask.shape} answers for {table.num_rows} rows; one a row is needed."
            )
        return np.flatnonzero(~mask)


def positions(bad: Any) -> Any:
    """Positions where a mask is true, ascending."""
    return np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False))


def not_null(column: str, share: float = 1.0, severity: str = "block", part: str = "") -> NotNull:
    """The column is null, or not a number, in at most ``1 - share`` of the rows."""
    return NotNull(column=column, share=share, severity=severity, part=part)


def in_range(
    column: str, low: Any = None, high: Any = None, share: float = 1.0, severity: str = "block", part: str = ""
) -> InRange:
    """Values, numbers or times, lie between the bounds, both included; nulls pass."""
    return InRange(column=column, low=low, high=high, share=share, severity=severity, part=part)


def allowed(column: str, values: Sequence[Any], share: float = 1.0, severity: str = "block", part: str = "") -> Allowed:
    """Values are among these; nulls pass."""
    return Allowed(column=column, values=tuple(values), share=share, severity=severity, part=part)


def matches(column: str, pattern: str, share: float = 1.0, severity: str = "block", part: str = "") -> Matches:
    """Texts match the whole regular expression (RE2); nulls pass."""
    return Matches(column=column, pattern=pattern, share=share, severity=severity, part=part)


def unique(*columns: str, share: float = 1.0, severity: str = "block", part: str = "") -> Unique:
    """No two rows agree in all these columns; every row of a repeated key fails."""
    if not columns:
        raise ConfigError("unique needs at least one column")
    return Unique(key=columns, share=share, severity=severity, part=part)


def holds(
    words: str,
    function: Callable[[pa.Table], Any],
    share: float = 1.0,
    severity: str = "block",
    part: str = "",
) -> Holds:
    """A function of the table says of each row whether it is right: a mask of Arrow or NumPy; null is right."""
    return Holds(words=words, function=function, share=share, severity=severity, part=part)
