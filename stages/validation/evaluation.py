"""Metrics with intervals, of all rows and of given slices, against limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator import stage
from stages.columns import require_columns
from stages.metrics import Judged, Metric, metrics_of
from stages.rows import group_codes, rows_digest
from stages.validation.judging import RESAMPLES, AnyModel, Measured, judged, measured, metric_for, task_of
from stages.validation.record import Finding, Relation, found


@dataclass(frozen=True)
class Slice:
    """Some of the rows and how the model does on them.

    Attributes:
        where: What the rows share, as text by column.
    """

    where: dict[str, str]
    measured: Measured

    @property
    def name(self) -> str:
        """``carrier UA, origin JFK``."""
        return ", ".join(f"{column} {value}" for column, value in self.where.items())


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` returns; its findings go to ``gate``."""

    overall: list[Measured]
    slices: list[Slice]
    findings: list[Finding]
    digest: str


@stage(cache="30d", timeout="30m")
def evaluate(
    model: AnyModel,
    table: pa.Table,
    limits: Mapping[str, float] | None = None,
    by: Sequence[str] = (),
    slice_limit: float | None = None,
    slice_metric: str | None = None,
    min_slice_rows: int = 100,
    cluster: Sequence[str] = (),
    sure: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on raw rows that it has not seen.

    Args:
        limits: Threshold by name of a metric: a least value where more is better, else a greatest one.
        by: Columns; each of their values is a slice.
        slice_limit: Threshold of the metric of each slice.
        slice_metric: Metric of the slices; the main one of the task when not given.
        min_slice_rows: Smaller slices are measured but not judged.
        cluster: Columns of rows that belong together (a day, a customer), for honest intervals.
        sure: Judge by the worse end of the interval instead of the value.
        resamples: Bootstrap resamples behind each interval.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
        ConfigError: a metric is not known or is for another task.
    """
    require_columns(table.column_names, [*by, *cluster], "The table given to evaluate")
    rows, outcome = judged(model, table, cluster)
    digest = rows_digest(rows)
    wanted = dict.fromkeys([*(limits or {}), *(entry.name for entry in metrics_of(task_of(model)))])
    chosen = [metric_for(model, name) for name in wanted]
    overall = [measured(entry, outcome, resamples, seed) for entry in chosen]
    findings = [
        _finding(entry.name, result, entry, (limits or {}).get(entry.name), sure, digest)
        for entry, result in zip(chosen, overall, strict=True)
        if entry.name in (limits or {})
    ]
    sliced = metric_for(model, slice_metric)
    slices = [piece for column in by for piece in _slices(rows, outcome, column, sliced, resamples, seed)]
    for piece in slices:
        if slice_limit is not None and piece.measured.rows >= min_slice_rows:
            name = f"{sliced.name} of {piece.name}"
            findings.append(_finding(name, piece.measured, sliced, slice_limit, sure, digest))
    return Evaluation(overall, slices, findings, digest)


def _finding(name: str, result: Measured, of: Metric, limit: float | None, sure: bool, digest: str) -> Finding:
    worse = result.low if of.greater_better else result.high
    value = worse if sure and worse is not None else result.value
    relation: Relation = ">=" if of.greater_better else "<="
    return found(name, value, relation, limit, result.rows, digest, result.low, result.high)


def _slices(rows: pa.Table, outcome: Judged, column: str, of: Metric, resamples: int, seed: int) -> list[Slice]:
    codes = group_codes(rows, [column], "The table given to evaluate")
    first = np.unique(codes, return_index=True)[1]
    names = rows.column(column).take(pa.array(first)).to_pylist()
    slices = [
        Slice({column: str(name)}, measured(of, part_of(outcome, codes == code), resamples, seed))
        for code, name in enumerate(names)
    ]
    return sorted(slices, key=lambda piece: (-piece.measured.rows, piece.name))


def part_of(outcome: Judged, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Judged:
    """The rows where a mask is true."""
    groups = None if outcome.groups is None else outcome.groups[mask]
    return Judged(outcome.labels[mask], outcome.predictions[mask], groups)
