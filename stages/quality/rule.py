"""What all rules about tables share: finding the table, its columns, and saying which rows fail.

A rule never raises because of the data: a missing column, a type that does not suit or an output that is no table is a
failure of the rule, told in words, so that the run's record names it like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import CheckResult
from orchestrator.errors import ConfigError, NotFound
from stages.columns import listed, require_columns, suggestion
from stages.errors import DataRejected

ROW = "__row__"
"""Name of the column that keeps a failing row's position in its table."""

KEPT_ROWS = 1_000
"""Most failing rows that are kept of one rule."""

_SHOWN_CHARS = 300

_UNSUITABLE = (NotFound, DataRejected, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A rule about a table that a stage returns.

    Attributes:
        severity: ``block`` fails the step, ``warn`` lets it pass.
        part: Field, key or index of the output that the table is; empty if the output is the table.
    """

    severity: str = "block"
    part: str = ""

    def __post_init__(self) -> None:
        if self.severity not in ("block", "warn"):
            raise ConfigError(f"severity={self.severity!r} is neither 'block' nor 'warn'")

    @property
    def name(self) -> str:
        """The rule in words."""
        return f"{self.part}: {self.text}" if self.part else self.text

    @property
    @abstractmethod
    def text(self) -> str:
        """The rule in words, without the part."""

    def check(self, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``orchestrator.Check``."""
        try:
            return self.look(table_of(part_of(output, self.part)), output, arguments)
        except _UNSUITABLE as error:
            return CheckResult(False, message=getattr(error, "message", str(error)))

    @abstractmethod
    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """What the rule finds in the table; raises NotFound or DataRejected for a table that it does not suit."""


@dataclass(frozen=True, kw_only=True)
class RowRule(Rule):
    """A rule that single rows break.

    Attributes:
        share: Least share of the rows that must pass, from 0 to 1.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ConfigError(f"The share of rows that must pass a check lies between 0 and 1, not {self.share!r}")

    @property
    def name(self) -> str:
        """The rule in words."""
        return super().name + (f" for {self.share:.4g} of the rows" if self.share < 1 else "")

    @property
    @abstractmethod
    def of(self) -> Sequence[str]:
        """Columns that it looks at."""

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        require_columns(table.column_names, self.of, "The table")
        rows = self.failing(table, output, arguments)
        passed = len(rows) <= (1 - self.share) * table.num_rows + 1e-9
        column = self.of[0] if len(self.of) == 1 else ""
        if not len(rows):
            return CheckResult(passed, table.num_rows, 0, column=column)
        kept = rows_at(table, rows[:KEPT_ROWS])
        first = str(table.select(list(self.of) or table.column_names).slice(int(rows[0]), 1).to_pylist()[0])
        shown = first if len(first) <= _SHOWN_CHARS else first[:_SHOWN_CHARS] + " …"
        message = f"{len(rows)} of {table.num_rows} rows fail; the first is row {rows[0]}: {shown}"
        return CheckResult(passed, table.num_rows, len(rows), message, column, kept)

    @abstractmethod
    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """Positions of the failing rows, ascending, as a NumPy array."""


def rows_at(table: pa.Table, positions: Any) -> pa.Table:
    """Rows of a table with their positions as a further column."""
    places = pa.array(np.asarray(positions, dtype=np.int64))
    return table.take(places).append_column(ROW, places)


def part_of(output: Any, part: str) -> Any:
    """A part of an output by its name; raises NotFound."""
    if not part:
        return output
    if isinstance(output, Mapping) and part in output:
        return output[part]
    if isinstance(output, tuple | list) and part.isdigit() and int(part) < len(output):
        return output[int(part)]
    if hasattr(output, part):
        return getattr(output, part)
    known = list(output) if isinstance(output, Mapping) else list(getattr(output, "__dataclass_fields__", ()))
    raise NotFound(f"The {type(output).__name__} has no part {part!r}.{suggestion(part, known)}")


def table_of(value: Any) -> pa.Table:
    """A value as an Arrow table.

    Raises:
        DataRejected: it is no table.
    """
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if hasattr(value, "__dataframe__") or hasattr(value, "__arrow_c_stream__"):
        return pa.table(value)
    raise DataRejected(f"The output is a {type(value).__name__}, not a table; name the part of it that is one (part=).")


def argument(arguments: Mapping[str, Any], name: str) -> Any:
    """An argument of the stage by its name; raises NotFound."""
    if name not in arguments:
        raise NotFound(f"The stage has no argument {name!r}.{suggestion(name, arguments)} It has: {listed(arguments)}.")
    return arguments[name]
