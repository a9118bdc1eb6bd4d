"""Leaks: test rows that training saw, shared keys, training rows from the future, features that know the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from stages.columns import Floats, floats, is_numeric, require_columns, require_rows
from stages.errors import DataRejected
from stages.metrics import Judged, auc, metric
from stages.rows import row_hashes, rows_digest, value_codes
from stages.training.target import read_labels
from stages.validation.record import Finding, found

BINS = 32
"""Quantile bins by which a single number predicts."""


@dataclass(frozen=True)
class Leakage:
    """What ``check_leakage`` returns; its findings go to ``gate``.

    Attributes:
        overlap: Share of the test rows that are also in the training table.
        shared_keys: Share of the test rows whose key is in the training table; None without keys.
        alone: How well each column predicts the target on its own, best first: AUC, or R² for a number.
    """

    overlap: float
    shared_keys: float | None
    alone: dict[str, float]
    findings: list[Finding]


@stage(cache="30d", timeout="30m")
def check_leakage(
    train: pa.Table,
    test: pa.Table,
    target: str,
    columns: Sequence[str],
    keys: Sequence[str] = (),
    time: str | None = None,
    max_overlap: float = 0.0,
    max_alone: float = 0.95,
    classifying: bool = True,
) -> Leakage:
    """Look for leaks between training and test rows.

    Args:
        columns: Inputs of the model: compared as rows, and each tried as the only feature.
        keys: Columns that must not have the same values on both sides, such as the customer.
        time: Column by which every training row must come before every test row.
        max_overlap: Share of the test rows that may be in the training table, or have a key from there.
        max_alone: AUC, or R² of a regression, from which on a single column predicts too well to be true.
        classifying: Whether the target says a class.

    Raises:
        NotFound: a column is missing.
        DataRejected: a table is empty, the target cannot be predicted, or the time column has gaps.
    """
    for side, table in (("training", train), ("test", test)):
        require_rows(table, f"The {side} table of check_leakage")
        wanted = [target, *columns, *keys, *([time] if time else [])]
        require_columns(table.column_names, wanted, f"The {side} table of check_leakage")
    digest, rows = rows_digest(test), test.num_rows
    overlap = _shared(train, test, [*columns, target])
    findings = [found("share of test rows also in training", overlap, "<=", max_overlap, rows, digest)]
    shared_keys = None
    if keys:
        shared_keys = _shared(train, test, keys)
        name = f"share of test rows with {', '.join(keys)} also in training"
        findings.append(found(name, shared_keys, "<=", max_overlap, rows, digest))
    if time:
        findings.append(_in_time(train, test, time, digest))
    known, labels = read_labels(train, target, classifying)
    alone = {name: alone_score(known.column(name), name, labels.values, classifying) for name in columns}
    alone = dict(sorted(alone.items(), key=lambda pair: -pair[1]))
    seen = rows_digest(known)
    measure = "AUC" if classifying else "R²"
    for position, (name, score) in enumerate(alone.items()):
        if position == 0 or score > max_alone:
            check = f"{measure} of {name} alone"
            why = f"{name} alone predicts {target} with {measure} {score:.3f}; is it known before the outcome?"
            findings.append(found(check, score, "<=", max_alone, known.num_rows, seen, why=why))
    return Leakage(overlap, shared_keys, alone, findings)


def _shared(train: pa.Table, test: pa.Table, columns: Sequence[str]) -> float:
    return float(np.isin(row_hashes(test, columns), row_hashes(train, columns)).mean())


def _in_time(train: pa.Table, test: pa.Table, time: str, digest: str) -> Finding:
    gaps = train.column(time).null_count + test.column(time).null_count
    if gaps:
        raise DataRejected(f"{time!r} is missing in {gaps} rows, so the order in time cannot be told.", column=time)
    first = pc.min(test.column(time))
    late = pc.sum(pc.greater_equal(train.column(time), first)).as_py() or 0
    last = pc.max(train.column(time)).as_py()
    why = f"{late} training rows are not before the first test row ({time}: {last} against {first.as_py()})"
    return found(
        f"training rows not before all test rows in {time}", float(late), "<=", 0.0, test.num_rows, digest, why=why
    )


def alone_score(column: Any, name: str, labels: Floats, classifying: bool) -> float:
    """How well one column predicts: by the mean target of its bins or values, learned on half of the rows.

    Returns:
        On the other half, AUC of the most frequent class against the others, at least 0.5; or R², at least 0.
    """
    codes = _codes(column, name)
    outcome = (labels == np.bincount(labels.astype(np.int64)).argmax()).astype(np.float64) if classifying else labels
    half = np.random.default_rng(0).permutation(len(labels)) % 2 == 0
    sums = np.bincount(codes[half], weights=outcome[half], minlength=int(codes.max()) + 1)
    counts = np.bincount(codes[half], minlength=int(codes.max()) + 1)
    overall = float(outcome[half].mean()) if half.any() else 0.0
    means = (sums + overall) / (counts + 1)
    predicted, true = means[codes[~half]], outcome[~half]
    if classifying:
        return max(auc(true, predicted) or 0.5, 0.5)
    return max(metric("r2").function(Judged(true, predicted)) or 0.0, 0.0)


def _codes(column: Any, name: str) -> Any:
    if is_numeric(column.type):
        values = floats(column, name)
        present = values[~np.isnan(values)]
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if present.size else np.array([])
        return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return value_codes(column).indices.to_numpy(zero_copy_only=False).astype(np.int64)
