"""Cross-validation of plan and estimator together: every fold fits its features on its own training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from stages.columns import matrix
from stages.features import fit_plan, transform
from stages.features.plan import PlanStep
from stages.metrics import Judged, Metric, metric, metrics_of
from stages.training.estimators import is_classifier, train_estimator
from stages.training.folds import Folding, make_folds
from stages.training.named import build
from stages.training.target import read_labels


@dataclass(frozen=True)
class FoldScores:
    """One fold: the metrics on its test rows; None where one cannot be told."""

    fitted: int
    judged: int
    scores: dict[str, float | None]


@dataclass(frozen=True)
class CrossValidation:
    """What ``cross_validate`` returns.

    Attributes:
        mean, deviation: Of each metric over the folds that have it.
        predictions: The out-of-fold prediction of each row that was judged: ``row``, ``fold`` and ``prediction``, or
            one ``prediction.class`` column for each class.
    """

    folds: list[FoldScores]
    mean: dict[str, float]
    deviation: dict[str, float]
    predictions: pa.Table


@stage(cache="30d", timeout="2h")
def cross_validate(
    table: pa.Table,
    steps: Sequence[PlanStep],
    target: str,
    estimator: str,
    params: Mapping[str, Any] | None = None,
    folding: Folding = "stratified",
    folds: int = 5,
    by: Sequence[str] = (),
    gap: int = 0,
    metrics: Sequence[str] = (),
    seed: int = 0,
    num_threads: int = 1,
) -> CrossValidation:
    """Fit and judge once for each fold, and report its metrics as the folds are done.

    Args:
        table: Raw rows; those without a target are left out.
        steps: The feature plan, see ``fit_plan``.
        estimator, params: As in ``train_estimator``.
        folding, folds, by, gap: As in ``make_folds``; ``stratified`` without ``by`` takes the target, or folds
            at random for a regression.
        metrics: Names of metrics; all of the task when not given.

    Raises:
        NotFound, DataRejected, ConfigError: as ``fit_plan``, ``make_folds`` and ``train_estimator``.
    """
    classifying = is_classifier(build(estimator, params, seed, num_threads))
    rows, labels = read_labels(table, target, classifying)
    if folding == "stratified" and not by:
        folding, by = ("stratified", [target]) if classifying else ("random", [])
    wanted = [metric(name) for name in metrics] or metrics_of(labels.task)
    done, parts = [], []
    for number, (fit_on, judge_by) in enumerate(make_folds(rows, folding, folds, by, gap, seed)):
        planned = fit_plan(rows.take(pa.array(fit_on)), steps, keep=[target])
        fitted = train_estimator(
            planned.table, planned.plan, target, estimator, params, seed=seed, num_threads=num_threads
        )
        test = transform(rows.take(pa.array(judge_by)), planned.plan, keep=[target])
        kept, held = read_labels(test, target, classifying, fitted.model.classes or None)
        predictions = fitted.model.predict_encoded(matrix(kept, planned.plan.names, "The test rows of a fold"))
        scores = _scores(wanted, Judged(held.values, predictions))
        step().report(fold=number + 1, **{name: value for name, value in scores.items() if value is not None})
        done.append(FoldScores(fitted.rows, len(judge_by), scores))
        parts.append(_predicted(judge_by, number, predictions, fitted.model.classes))
    return CrossValidation(done, *_summed_up(done), pa.concat_tables(parts).sort_by("row").combine_chunks())


def _scores(wanted: Sequence[Metric], rows: Judged) -> dict[str, float | None]:
    return {entry.name: entry.function(rows) for entry in wanted}


def _predicted(rows: Any, fold: int, predictions: Any, classes: Sequence[Any]) -> pa.Table:
    columns = {"row": pa.array(rows), "fold": pa.array(np.full(len(rows), fold))}
    if predictions.ndim == 1:
        return pa.table({**columns, "prediction": pa.array(predictions)})
    each = {f"prediction.{name}": pa.array(predictions[:, i]) for i, name in enumerate(classes)}
    return pa.table({**columns, **each})


def _summed_up(folds: Sequence[FoldScores]) -> tuple[dict[str, float], dict[str, float]]:
    known = {name: [fold.scores[name] for fold in folds] for name in folds[0].scores}
    values = {name: np.array([v for v in found if v is not None]) for name, found in known.items()}
    there = {name: found for name, found in values.items() if len(found)}
    return (
        {name: float(found.mean()) for name, found in there.items()},
        {name: float(found.std(ddof=1)) if len(found) > 1 else 0.0 for name, found in there.items()},
    )
