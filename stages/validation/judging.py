"""A model's predictions beside what came true, and intervals for any metric of them by the bootstrap.

All resampling is drawn from a seed, keeps the number of rows of each class where the metric asks for it, and draws
whole groups where rows belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.metrics import MAIN_METRIC, Judged, Metric, metric
from stages.rows import Codes, group_codes
from stages.training import ColumnModel, Model, ModelFile
from stages.training.target import binary_target, read_labels

AnyModel: TypeAlias = Model | ModelFile | ColumnModel

RESAMPLES = 300
"""Resamples behind an interval where nothing else is asked for."""


def task_of(model: AnyModel) -> str:
    """``binary``, ``multiclass`` or ``regression``."""
    return "binary" if isinstance(model, Model) else model.task


def judged(model: AnyModel, table: pa.Table, cluster: Sequence[str] = ()) -> tuple[pa.Table, Judged]:
    """The rows with a target, and the model's predictions for them.

    Args:
        cluster: Columns of rows that belong together.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
    """
    if not isinstance(model, Model):
        rows, labels = read_labels(table, model.target, model.task != "regression", model.classes or None)
        values = labels.values
    else:
        rows, values = binary_target(table, model.target)
    groups = group_codes(rows, cluster, "The table to judge by") if cluster else None
    return rows, Judged(values, model.predict(rows), groups)


def metric_for(model: AnyModel, which: str | None) -> Metric:
    """The metric of that name, or the main one of the model's task.

    Raises:
        ConfigError: there is none of that name, or it is for another task.
    """
    task = task_of(model)
    chosen = metric(which or MAIN_METRIC[task])
    if chosen.task not in (task, "ranking"):
        raise ConfigError(f"The metric {chosen.name!r} is for {chosen.task} models; this one is {task}")
    return chosen


def draws(rows: Judged, stratified: bool, resamples: int, seed: int) -> Iterator[Judged]:
    """Resamples of the rows, with replacement; the same for the same seed, so that models can be compared on them."""
    for index, groups in draw_indexes(rows.labels, rows.groups, stratified, resamples, seed):
        yield Judged(rows.labels[index], rows.predictions[index], groups)


def draw_indexes(
    labels: Floats, groups: Codes | None, stratified: bool, resamples: int, seed: int
) -> Iterator[tuple[Any, Codes | None]]:
    """Positions of resampled rows, and the groups these form: a group that is drawn twice becomes two."""
    random = np.random.default_rng(seed)
    if groups is not None:
        order = np.argsort(groups, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
        for _ in range(resamples):
            chosen = [members[i] for i in random.integers(len(members), size=len(members))]
            yield np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(part) for part in chosen])
        return
    strata = (
        [np.flatnonzero(labels == value) for value in np.unique(labels)] if stratified else [np.arange(len(labels))]
    )
    for _ in range(resamples):
        yield np.concatenate([part[random.integers(len(part), size=len(part))] for part in strata]), None


@dataclass(frozen=True)
class Measured:
    """A metric of some rows with its interval; None where it cannot be told."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    rows: int


def measured(
    which: str | Metric, rows: Judged, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Measured:
    """A metric with its bootstrap interval.

    Args:
        resamples: 0 for no interval.
        level: How sure the interval is, from 0 to 1.

    Raises:
        ConfigError: the metric is not known, or the level makes no sense.
    """
    chosen = metric(which)
    value = chosen.function(rows) if len(rows.labels) else None
    values = (
        [] if value is None else [chosen.function(part) for part in draws(rows, chosen.stratified, resamples, seed)]
    )
    low, high = percentiles([entry for entry in values if entry is not None], level)
    return Measured(chosen.name, value, low, high, len(rows.labels))


def percentiles(values: Sequence[float], level: float = 0.95) -> tuple[float | None, float | None]:
    """The middle ``level`` of some values; None for none.

    Raises:
        ConfigError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"How sure an interval is lies between 0 and 1, not {level!r}")
    if not values:
        return None, None
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
