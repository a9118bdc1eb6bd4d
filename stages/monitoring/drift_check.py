"""Drift as a check of a run: columns that have moved clearly and far, recorded like any other check, for alerts.

A column has drifted if the difference is no accident (Kolmogorov-Smirnov for numbers, chi-square for categories, and
for how many values are missing; corrected for all columns) and is large (PSI or KS). The first alone would flag every
large table, the second every small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator import CheckResult, stage
from orchestrator.errors import ConfigError
from stages.columns import floats, is_numeric, require_columns
from stages.errors import DataRejected
from stages.monitoring.drift import PSI_LIMITS, ColumnDrift, category_counts, column_drift
from stages.significance import holm, homogeneity_tail, kolmogorov_tail

LEAST_KS = 0.1
"""From where on the distance of two distributions counts as large."""

_SHOWN = 5


@dataclass(frozen=True)
class DriftFinding:
    """What was found of one column.

    Attributes:
        size: How far it moved.
        p_value: How likely that is an accident, corrected for all columns of the table.
    """

    size: ColumnDrift
    p_value: float
    drifted: bool

    def __str__(self) -> str:
        return f"{'DRIFTED' if self.drifted else '':8}{self.size}  p {self.p_value:.2g}"


@dataclass(frozen=True)
class DriftCheck:
    """Rows against a reference; findings with what drifted first, then by size.

    Attributes:
        name: What the current rows are called.
    """

    name: str
    rows: int
    reference_rows: int
    drifted: bool
    findings: list[DriftFinding]

    @property
    def moved(self) -> list[DriftFinding]:
        """Columns that drifted."""
        return [finding for finding in self.findings if finding.drifted]

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.rows} rows against {self.reference_rows}, {len(self.moved)} columns drifted"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


@dataclass(frozen=True)
class NoDrift:
    """A check of what ``check_drift`` returns; its failure is an alert of the kind ``drift``."""

    severity: Literal["block", "warn"] = "warn"
    kind: Literal["drift"] = "drift"

    @property
    def name(self) -> str:
        """See ``orchestrator.Check``."""
        return "no drift"

    def check(self, output: Any, arguments: Mapping[str, Any]) -> CheckResult:
        """See ``orchestrator.Check``."""
        if not isinstance(output, DriftCheck):
            return CheckResult(False, message=f"the output is a {type(output).__name__}, not one of check_drift")
        moved = output.moved
        if not moved:
            return CheckResult(True, len(output.findings))
        told = "; ".join(_told(finding) for finding in moved[:_SHOWN])
        more = f"; and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        return CheckResult(
            False, len(output.findings), len(moved),
            f"{output.name}: {len(moved)} of {len(output.findings)} columns drifted: {told}{more}",
            moved[0].size.column if len(moved) == 1 else "", _table(moved),
        )  # fmt: skip


def _told(finding: DriftFinding) -> str:
    size = finding.size
    ks = "" if size.ks is None else f", KS {size.ks:.2f}"
    then, now = size.mean_reference, size.mean_current
    moved = "" if then is None or now is None else f", mean {then:.4g} → {now:.4g}"
    return f"{size.column} (PSI {size.psi:.2f}{ks}{moved})"


def _table(findings: Sequence[DriftFinding]) -> pa.Table:
    return pa.Table.from_pylist([{**vars(finding.size), "p_value": finding.p_value} for finding in findings])


@stage(timeout="10m", checks=[NoDrift()])
def check_drift(
    current: pa.Table,
    reference: pa.Table,
    columns: Sequence[str] | None = None,
    name: str = "current",
    certainty: float = 0.99,
    least_psi: float = PSI_LIMITS[0],
    least_ks: float = LEAST_KS,
    bins: int = 10,
) -> DriftCheck:
    """Say which columns have drifted from a reference; what drifted is a failed check of the step, and an alert.

    Args:
        reference: The rows that a model was trained on, or any others that are as they should be.
        columns: What to compare; all numbers and texts of the reference if not given.
        name: What the current rows are called.
        certainty: Rows of the same distribution pass at least so often, whatever the number of columns.
        least_psi, least_ks: What moved by less than both has not drifted, however certain that is.
        bins: Quantile bins of a number for its PSI; a number with no more values is compared as categories.

    Raises:
        NotFound: a column is missing from one of the tables.
        DataRejected: a table is empty, a column is numeric on one side only, infinite somewhere or of lists.
        ConfigError: ``certainty`` is no probability.
    """
    if not 0 < certainty < 1:
        raise ConfigError(f"check_drift: certainty={certainty!r} lies between 0 and 1")
    wanted = list(columns) if columns is not None else _comparable(reference)
    require_columns(reference.column_names, wanted, "The reference of check_drift")
    require_columns(current.column_names, wanted, f"The table {name!r} of check_drift")
    if not current.num_rows or not reference.num_rows or not wanted:
        raise DataRejected(
            f"There is nothing to compare: {reference.num_rows} rows of reference, {current.num_rows} now, "
            f"{len(wanted)} columns of numbers or text."
        )
    pairs = [(key, reference.column(key), current.column(key)) for key in wanted]
    sizes = [column_drift(then, now, key, bins) for key, then, now in pairs]
    chances = holm([_chance(then, now, size, bins) for (_, then, now), size in zip(pairs, sizes, strict=True)])
    findings = [
        DriftFinding(size, chance, chance <= 1 - certainty and _is_large(size, least_psi, least_ks))
        for size, chance in zip(sizes, chances, strict=True)
    ]
    findings.sort(key=lambda one: (not one.drifted, -one.size.psi, one.size.column))
    return DriftCheck(name, current.num_rows, reference.num_rows, any(one.drifted for one in findings), findings)


def _comparable(table: pa.Table) -> list[str]:
    """Columns of numbers and of text."""
    found = []
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if is_numeric(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            found.append(field.name)
    return found


def _is_large(size: ColumnDrift, least_psi: float, least_ks: float) -> bool:
    return size.psi >= least_psi or (size.ks or 0.0) >= least_ks


def _chance(reference: Any, current: Any, size: ColumnDrift, bins: int) -> float:
    """How likely a difference as large is between rows of one distribution."""
    if not is_numeric(reference.type):
        return homogeneity_tail(*category_counts(reference, current))
    sides = [floats(column, size.column) for column in (reference, current)]
    then, now = (values[~np.isnan(values)] for values in sides)
    missing = [float(len(values) - len(present)) for values, present in zip(sides, (then, now), strict=True)]
    known = np.unique(np.concatenate([then, now]))
    if len(known) <= bins:
        counts = (np.bincount(np.searchsorted(known, values), minlength=len(known)) for values in (then, now))
        return homogeneity_tail(*(np.append(one, gaps) for one, gaps in zip(counts, missing, strict=True)))
    gaps = homogeneity_tail(np.array([len(then), missing[0]]), np.array([len(now), missing[1]]))
    if size.ks is None:
        return gaps
    return min(1.0, 2 * min(gaps, kolmogorov_tail(size.ks, len(then), len(now))))
