"""Quality checks at the boundary of a stage: declared as data, with a severity, failing rows kept.

``assess`` looks and records; ``enforce`` lets the table pass or stops the run. They are two steps on
purpose: when a blocking check fails, the report with the failing rows is already an output of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import require_columns
from stages.errors import DataRejected

Severity = Literal["block", "warn"]
Rule = Literal["not_null", "in_range", "unique", "allowed", "row_count"]

ROW = "__row__"
"""Name of the column that keeps a failing row's position in its table."""


@dataclass(frozen=True)
class Check:
    """One rule about a table; built by ``not_null``, ``in_range``, ``unique``, ``allowed`` and ``row_count``.

    Attributes:
        share: Least share of the rows that must pass, from 0 to 1.
    """

    rule: Rule
    columns: list[str]
    low: float | None = None
    high: float | None = None
    values: list[Any] | None = None
    share: float = 1.0
    severity: Severity = "block"

    @property
    def text(self) -> str:
        """The check in words, also its name in reports."""
        of = f"({', '.join(self.columns)})" if self.columns else ""
        bounds = "" if self.low is None and self.high is None else f" [{_bound(self.low)}, {_bound(self.high)}]"
        values = f" {self.values}" if self.values is not None else ""
        share = f" for {self.share:.4g} of the rows" if self.share < 1 else ""
        return f"{self.rule}{of}{bounds}{values}{share}"


def _bound(value: float | None) -> str:
    return "…" if value is None else f"{value:g}"


def not_null(column: str, share: float = 1.0, severity: Severity = "block") -> Check:
    """The column is null in at most ``1 - share`` of the rows."""
    return Check("not_null", [column], share=_share(share), severity=severity)


def in_range(
    column: str,
    low: float | None = None,
    high: float | None = None,
    share: float = 1.0,
    severity: Severity = "block",
) -> Check:
    """Values lie between the bounds, both included; nulls pass."""
    return Check("in_range", [column], low=low, high=high, share=_share(share), severity=severity)


def unique(*columns: str, share: float = 1.0, severity: Severity = "block") -> Check:
    """No two rows agree in all these columns; every row of a repeated key fails."""
    if not columns:
        raise ConfigError("unique needs at least one column")
    return Check("unique", list(columns), share=_share(share), severity=severity)


def allowed(column: str, values: Sequence[Any], share: float = 1.0, severity: Severity = "block") -> Check:
    """Values are among these; nulls pass."""
    return Check("allowed", [column], values=list(values), share=_share(share), severity=severity)


def row_count(low: int | None = None, high: int | None = None, severity: Severity = "block") -> Check:
    """The number of rows lies between the bounds, both included."""
    return Check("row_count", [], low=low, high=high, severity=severity)


def _share(share: float) -> float:
    if not 0 <= share <= 1:
        raise ConfigError(f"The share of rows that must pass a check lies between 0 and 1, not {share!r}")
    return share


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        failing: Number of failing rows; 0 for a row count, which concerns the whole table.
        sample: The first failing rows with all columns, and their position in ``__row__``.
    """

    check: str
    severity: Severity
    passed: bool
    rows: int
    failing: int
    sample: pa.Table

    def __str__(self) -> str:
        mark = "ok" if self.passed else self.severity
        return f"{mark:5} {self.check}: {self.failing} of {self.rows} rows fail"


@dataclass(frozen=True)
class QualityReport:
    """All results; ``passed`` if no blocking check failed, ``warnings`` counts failed ones that only warn."""

    name: str
    passed: bool
    warnings: int
    rows: int
    results: list[CheckResult]

    def __str__(self) -> str:
        told = [result for result in self.results if not result.passed or result.failing]
        clean = len(self.results) - len(told)
        return "\n".join(
            [
                f"{self.name}: {self.rows} rows, {clean} checks without a failing row",
                *(f"  {result}" for result in told),
            ]
        )


@stage(cache="30d", timeout="10m")
def assess(table: pa.Table, checks: Sequence[Check], name: str = "table", sample: int = 20) -> QualityReport:
    """Run all checks on a table; a failure is a result, not an error.

    Args:
        name: What the table is called in the report.
        sample: Most failing rows kept for each check.

    Raises:
        NotFound: a check names a missing column.
        DataRejected: a check does not suit the type of its column.
    """
    results = []
    for check in checks:
        require_columns(table.column_names, check.columns, name)
        failing = _failing(table, check)
        if check.rule == "row_count":
            passed = not failing.size
            count = 0
        else:
            count = len(failing)
            passed = count <= (1 - check.share) * table.num_rows + 1e-9
        kept = np.array([], dtype=np.int64) if check.rule == "row_count" else failing[:sample]
        rows = table.take(pa.array(kept)).append_column(ROW, pa.array(kept, pa.int64()))
        results.append(CheckResult(check.text, check.severity, passed, table.num_rows, count, rows))
    blocked = any(not result.passed and result.severity == "block" for result in results)
    warnings = sum(not result.passed and result.severity == "warn" for result in results)
    return QualityReport(name, not blocked, warnings, table.num_rows, results)


def _failing(table: pa.Table, check: Check) -> Any:
    """Positions of the failing rows, ascending; for a row count, one number if it failed."""
    if check.rule == "row_count":
        wrong = _outside(table.num_rows, check)
        return np.array([0] if wrong else [], dtype=np.int64)
    if check.rule == "unique":
        return _repeated(table, check.columns)
    column = table.column(check.columns[0])
    try:
        if check.rule == "not_null":
            bad = pc.is_null(column, nan_is_null=True)
        elif check.rule == "allowed":
            bad = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, pa.array(check.values, column.type))))
        else:
            bounds = [(pc.less, check.low), (pc.greater, check.high)]
            masks = [compare(column, pa.scalar(bound)) for compare, bound in bounds if bound is not None]
            bad = reduce(pc.or_, masks, pa.array(np.zeros(len(column), dtype=bool)))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise DataRejected(
            f"The check {check.text!r} does not suit column {check.columns[0]!r}, which holds {column.type}.",
            column=check.columns[0],
        ) from None
    return np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False))


def _outside(count: int, check: Check) -> bool:
    return (check.low is not None and count < check.low) or (check.high is not None and count > check.high)


def _repeated(table: pa.Table, columns: Sequence[str]) -> Any:
    keys = table.select(list(columns)).append_column(ROW, pa.array(np.arange(table.num_rows)))
    grouped = keys.group_by(list(columns)).aggregate([(ROW, "list")])
    lists = grouped.column(f"{ROW}_list").combine_chunks()
    repeated = lists.filter(pc.greater(pc.list_value_length(lists), 1))
    return np.sort(pc.list_flatten(repeated).to_numpy(zero_copy_only=False).astype(np.int64))


@stage(cache="30d", timeout="10m")
def enforce(table: pa.Table, report: QualityReport) -> pa.Table:
    """Let the table pass if no blocking check failed.

    Raises:
        DataRejected: a blocking check failed; says which, with how many rows and the first of them.
    """
    if report.passed:
        return table
    failed = [result for result in report.results if not result.passed and result.severity == "block"]
    lines = [f"  {result}{_first_row(result)}" for result in failed]
    raise DataRejected(
        f"{report.name}: {len(failed)} blocking check(s) failed, so nothing after them ran.\n"
        + "\n".join(lines)
        + "\nThe report before this step keeps the failing rows.",
        checks=[result.check for result in failed],
    )


def _first_row(result: CheckResult) -> str:
    return f"; the first: {result.sample.slice(0, 1).to_pylist()[0]}" if result.sample.num_rows else ""
