"""Quality checks as stages of their own, for tables that no stage of yours makes.

``assess`` looks and records; ``enforce`` lets the table pass or stops the run. They are two steps on
purpose: when a blocking check fails, the report with the failing rows is already an output of the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import NotFound
from stages.errors import DataRejected
from stages.quality.rule import Rule, rows_at

Check = Rule
"""What ``assess`` runs; made by ``stages.quality``."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        failing: Number of failing rows; 0 for a row count, which concerns the whole table.
        sample: The first failing rows with all columns, and their position in ``__row__``.
    """

    check: str
    severity: str
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
        try:
            found = check.look(table, table, {})
        except (NotFound, DataRejected) as error:
            raise type(error)(f"{name}: {check.name}: {error.message}", **error.details) from None
        rows = rows_at(table, []) if found.rows is None else found.rows.slice(0, sample)
        results.append(CheckResult(check.name, check.severity, found.passed, table.num_rows, found.failed, rows))
    blocked = any(not result.passed and result.severity == "block" for result in results)
    warnings = sum(not result.passed and result.severity == "warn" for result in results)
    return QualityReport(name, not blocked, warnings, table.num_rows, results)


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
