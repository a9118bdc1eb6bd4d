"""Judging a model on later rows: scores, slices, calibration, a comparison with another model, and a gate.

A failed gate is a result, not an error: the report is recorded and the pipeline decides what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from stages.columns import Floats, require_columns
from stages.metrics import CalibrationBin, RankedScores, auc, brier, calibration, calibration_error, log_losses
from stages.rows import rows_digest
from stages.training import Model
from stages.training.target import binary_target
from stages.validation.record import Finding, GateRecord, found, gate

RESAMPLES = 500
"""Bootstrap resamples behind the interval of a comparison."""


@dataclass(frozen=True)
class Scores:
    """How a model does on some rows.

    Attributes:
        name: ``all``, or the value that the rows share.
        auc: None where only one outcome occurs.
        predicted: Mean predicted probability, to be compared with ``actual``, the share that came true.
    """

    name: str
    rows: int
    auc: float | None
    log_loss: float
    brier: float
    predicted: float
    actual: float

    def __str__(self) -> str:
        curve = " none" if self.auc is None else f"{self.auc:.3f}"
        return (
            f"{self.name:>8} {self.rows:>7} rows  AUC {curve}  log loss {self.log_loss:.3f}  "
            f"predicted {self.predicted:.3f}  actual {self.actual:.3f}"
        )


@dataclass(frozen=True)
class Comparison:
    """A model against another on the same rows.

    Attributes:
        other_auc, other_log_loss: The other model's.
        auc_gain: AUC of this model minus that of the other; above 0 this one ranks better.
        low, high: 95 % interval of the gain, bootstrapped over clusters of rows where a cluster column is given.
    """

    other_auc: float | None
    other_log_loss: float
    auc_gain: float
    low: float
    high: float


@dataclass(frozen=True)
class ValidationReport:
    """Everything the gate looked at; ``reasons`` says why it did not pass, and is empty if it did.

    Attributes:
        record: The same as findings, as every gate of this package keeps them.
    """

    passed: bool
    reasons: list[str]
    overall: Scores
    slices: list[Scores]
    calibration: list[CalibrationBin]
    calibration_error: float
    comparison: Comparison | None
    record: GateRecord

    def __str__(self) -> str:
        lines = ["gate passed" if self.passed else "gate refused: " + "; ".join(self.reasons), f"  {self.overall}"]
        lines += [f"  {entry}" for entry in self.slices]
        lines.append(f"  calibration error {self.calibration_error:.3f}")
        if self.comparison:
            found = self.comparison
            lines.append(
                f"  against the champion (AUC {_shown(found.other_auc)}, log loss {found.other_log_loss:.3f}): "
                f"AUC gain {found.auc_gain:.3f} [{found.low:.3f}, {found.high:.3f}]"
            )
        return "\n".join(lines)


@stage(cache="30d", timeout="10m")
def validate(
    model: Model,
    table: pa.Table,
    min_auc: float = 0.5,
    max_calibration_error: float = 1.0,
    by: str | None = None,
    min_slice_rows: int = 500,
    min_slice_auc: float = 0.0,
    champion: Model | None = None,
    cluster: str | None = None,
) -> ValidationReport:
    """Judge a model on raw rows it has not seen, and decide whether it may be released.

    Args:
        table: Raw rows with the target; rows without a target are left out.
        by: Column whose values make the slices, largest slice first.
        min_slice_rows: Smaller slices are reported but not judged.
        champion: A model to beat: the gate wants the whole interval of the AUC gain above 0.
        cluster: Column of rows that belong together (a day, a customer), for an honest interval.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target is not 0 and 1, or an input is of the wrong type.
    """
    table, labels = binary_target(table, model.target)
    require_columns(table.column_names, [name for name in (by, cluster) if name], "The table given to validate")
    probabilities = model.predict(table)
    overall = _scores("all", labels, probabilities)
    slices = _slices(table, by, labels, probabilities) if by else []
    bins = calibration(labels, probabilities)
    error = calibration_error(bins)
    rows, digest = table.num_rows, rows_digest(table)
    shown = f"AUC {_shown(overall.auc)} is below {min_auc:g}"
    findings = [
        found("AUC", overall.auc, ">=", min_auc, rows, digest, why=shown),
        found("calibration error", error, "<=", max_calibration_error, rows, digest),
    ]
    for entry in slices:
        if entry.rows >= min_slice_rows and entry.auc is not None:
            name = f"{by} {entry.name}"
            why = f"AUC {entry.auc:.3f} of {name} is below {min_slice_auc:g}"
            findings.append(found(f"AUC of {name}", entry.auc, ">=", min_slice_auc, entry.rows, digest, why=why))
    comparison = None
    if champion is not None:
        comparison = _compare(champion.predict(table), probabilities, labels, table, cluster)
        findings.append(_beaten(comparison, rows, digest))
    record = gate(findings)
    return ValidationReport(record.passed, record.reasons, overall, slices, bins, error, comparison, record)


def _beaten(comparison: Comparison, rows: int, digest: str) -> Finding:
    low, high = comparison.low, comparison.high
    why = (
        f"AUC is not surely better than the champion's: gain {comparison.auc_gain:.3f}, "
        f"95 % interval [{low:.3f}, {high:.3f}]"
    )
    return found("AUC gain over the champion, surely", low, ">", 0.0, rows, digest, low, high, why)


def _shown(value: float | None) -> str:
    return "(one outcome only)" if value is None else f"{value:.3f}"


def _scores(name: str, labels: Floats, probabilities: Floats) -> Scores:
    return Scores(
        name=name,
        rows=len(labels),
        auc=auc(labels, probabilities),
        log_loss=float(log_losses(labels, probabilities).mean()),
        brier=brier(labels, probabilities),
        predicted=float(probabilities.mean()),
        actual=float(labels.mean()),
    )


def _slices(table: pa.Table, by: str, labels: Floats, probabilities: Floats) -> list[Scores]:
    codes, names = _codes(table, by)
    found = [_scores(str(name), labels[codes == i], probabilities[codes == i]) for i, name in enumerate(names)]
    return sorted(found, key=lambda entry: (-entry.rows, entry.name))


def _compare(other: Floats, mine: Floats, labels: Floats, table: pa.Table, cluster: str | None) -> Comparison:
    """Both models on the same resampled clusters: the interval is that of the difference, not of each AUC."""
    ranked, ranked_other = RankedScores(labels, mine), RankedScores(labels, other)
    codes = _codes(table, cluster)[0] if cluster else np.arange(len(labels))
    clusters = int(codes.max()) + 1
    random = np.random.default_rng(0)
    gains = []
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.integers(clusters, size=clusters), minlength=clusters).astype(np.float64)
        gain = _difference(ranked.auc(drawn[codes]), ranked_other.auc(drawn[codes]))
        gains.append(gain)
    low, high = np.percentile(gains, [2.5, 97.5])
    other_auc = ranked_other.auc()
    return Comparison(
        other_auc=other_auc,
        other_log_loss=float(log_losses(labels, other).mean()),
        auc_gain=_difference(ranked.auc(), other_auc),
        low=float(low),
        high=float(high),
    )


def _difference(mine: float | None, other: float | None) -> float:
    """0 where a resample holds one outcome only, which says nothing for either side."""
    return 0.0 if mine is None or other is None else mine - other


def _codes(table: pa.Table, column: str) -> tuple[Any, list[Any]]:
    """Each row's value of a column as a position in the list of its values; null is a value like any other."""
    encoded = pc.dictionary_encode(table.column(column).combine_chunks(), null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
