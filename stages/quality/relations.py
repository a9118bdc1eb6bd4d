"""Rules about what belongs together: columns of a row, and tables by their keys and sizes.

The other table is an argument of the stage, by its parameter's name, or another part of the output (``.name``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import CheckResult
from orchestrator.errors import ConfigError
from stages.columns import require_columns
from stages.quality.rows import positions
from stages.quality.rule import ROW, RowRule, Rule, argument, part_of, table_of

_COMPARED = {
    "<": pc.less,
    "<=": pc.less_equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    ">=": pc.greater_equal,
    ">": pc.greater,
}


@dataclass(frozen=True, kw_only=True)
class Compares(RowRule):
    """See ``compares``."""

    left: str
    sign: str
    right: str

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"{self.left} {self.sign} {self.right}"

    @property
    def of(self) -> Sequence[str]:
        """See ``RowRule``."""
        return (self.left, self.right)

    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """See ``RowRule``."""
        left, right = table.column(self.left), table.column(self.right)
        bad = pc.invert(_COMPARED[self.sign](left, right))
        for column in (left, right):
            if pa.types.is_floating(column.type):
                bad = pc.and_(bad, pc.invert(pc.is_nan(column)))
        return positions(bad)


@dataclass(frozen=True, kw_only=True)
class References(RowRule):
    """See ``references``."""

    key: tuple[str, ...]
    to: str
    its: tuple[str, ...]

    @property
    def text(self) -> str:
        """See ``Rule``."""
        its = f"({', '.join(self.its)})" if self.its != self.key else ""
        return f"references({', '.join(self.key)}) {self.to}{its}"

    @property
    def of(self) -> Sequence[str]:
        """See ``RowRule``."""
        return self.key

    def failing(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> Any:
        """See ``RowRule``."""
        other = _other(self.to, output, arguments)
        require_columns(other.column_names, self.its, f"The table {self.to!r}")
        keys = table.select(list(self.key)).append_column(ROW, pa.array(np.arange(table.num_rows)))
        for name in self.key:
            keys = keys.filter(pc.is_valid(keys.column(name)))
        known = other.select(list(self.its)).rename_columns(list(self.key))
        known = known.cast(pa.schema([keys.schema.field(name) for name in self.key]))
        lost = keys.join(known, list(self.key), join_type="left anti").column(ROW)
        return np.sort(lost.to_numpy())


@dataclass(frozen=True, kw_only=True)
class KeepsRows(Rule):
    """See ``keeps_rows``."""

    of: str
    low: float
    high: float

    @property
    def text(self) -> str:
        """See ``Rule``."""
        return f"keeps_rows({self.of}) [{self.low:g}, {self.high:g}]"

    def look(self, table: pa.Table, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``Rule``."""
        before = _other(self.of, output, arguments).num_rows
        share = table.num_rows / before if before else 1.0
        message = f"{table.num_rows:,} rows of {before:,} ({share:.4g})"
        return CheckResult(self.low <= share <= self.high, message=message)


def _other(name: str, output: Any, arguments: Mapping[str, Any]) -> pa.Table:
    return table_of(part_of(output, name[1:]) if name.startswith(".") else argument(arguments, name))


def compares(left: str, sign: str, right: str, share: float = 1.0, severity: str = "block", part: str = "") -> Compares:
    """Two columns of each row compare as said, ``compares("start", "<=", "end")``; a null passes, and so does NaN."""
    if sign not in _COMPARED:
        raise ConfigError(f"compares: {sign!r} is none of {', '.join(_COMPARED)}")
    return Compares(left=left, sign=sign, right=right, share=share, severity=severity, part=part)


def references(
    *key: str,
    to: str,
    its: Sequence[str] = (),
    share: float = 1.0,
    severity: str = "block",
    part: str = "",
) -> References:
    """Each key is in another table; keys with a null pass.

    Args:
        to: An argument of the stage that is the other table, or ``.name`` of a part of the output.
        its: The other table's columns, if they are called otherwise.
    """
    if not key or (its and len(its) != len(key)):
        raise ConfigError("references needs at least one column, and as many of the other table's")
    other = tuple(its) or key
    return References(key=key, to=to, its=other, share=share, severity=severity, part=part)


def keeps_rows(of: str, low: float = 1.0, high: float = 1.0, severity: str = "block", part: str = "") -> KeepsRows:
    """The table has between ``low`` and ``high`` times the rows of another: an argument, or ``.name`` of a part."""
    return KeepsRows(of=of, low=low, high=high, severity=severity, part=part)
