"""The model card of a trained model: measured on rows that it has not seen, with the author's words about its use."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from orchestrator.serving import CardBin, CardData, CardScore, CardSlice, ModelCard
from stages.columns import Floats, require_columns
from stages.metrics import Judged, Metric, calibration, metric
from stages.rows import rows_digest
from stages.training import Model, ModelFile
from stages.validation import Measured, evaluate, judged
from stages.validation.evaluation import Slice
from stages.validation.judging import AnyModel, metric_for, task_of

IMPORTANCE_ROWS = 2_000
"""Rows that inputs are shuffled on; evenly spread."""

_PACKAGES = ("numpy", "pyarrow", "lightgbm", "scikit-learn", "xgboost-cpu", "torch", "onnxruntime")
_MODULES = {"scikit-learn": "sklearn", "xgboost-cpu": "xgboost"}
_ALWAYS = ("numpy", "pyarrow")


@stage(cache="30d", timeout="15m")
def model_card(
    model: Model | ModelFile,
    test: pa.Table,
    train: pa.Table | None = None,
    baseline: AnyModel | None = None,
    by: Sequence[str] = (),
    title: str = "",
    purpose: str = "",
    limits: str = "",
    author: str = "",
    time: str | None = None,
    cluster: Sequence[str] = (),
    most_slices: int = 12,
    resamples: int = 200,
    seed: int = 0,
) -> ModelCard:
    """Measure a model on rows that it has not seen, and put that beside what its author says about its use.

    ``orc models NAME@VERSION --card FILE.html`` writes the page of a version from the card that its run made last.

    Args:
        test, train: Raw rows to judge by; those that were learned from, to say how many and of when.
        baseline: A model to put the scores beside, such as the champion or a ``ColumnModel``.
        by: Columns; each of their values is a slice.
        title, purpose, limits, author: What it is called (after its target by default), is for, is not for; by whom.
        time: Column of the rows that says when, for the window of the data.
        cluster: Columns of rows that belong together, for honest intervals.
        most_slices, resamples: How many, the largest, are shown; bootstrap resamples behind each interval.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target cannot be judged by, or an input is of the wrong type.
    """
    require_columns(test.column_names, [time] if time else [], "The table given to model_card")
    rows, outcome = judged(model, test, cluster)
    other = None if baseline is None else judged(baseline, test, cluster)[1]
    if other is not None and len(other.labels) != len(outcome.labels):
        raise ConfigError("model_card: the baseline judges other rows than the model; they must have one target")
    found = evaluate(model, test, by=by, cluster=cluster, resamples=resamples, seed=seed)
    main = metric_for(model, None)
    tables = [("learned from", train), ("judged by", rows)]
    return ModelCard(
        title=title or f"Model of {model.target}",
        task=task_of(model),
        target=model.target,
        estimator=model.kind if isinstance(model, Model) else model.estimator,
        purpose=purpose,
        limits=limits,
        author=author,
        inputs=dict(model.features.inputs),
        data=[_data(role, table, time) for role, table in tables if table is not None],
        scores=[_score(one, other) for one in found.overall],
        bins=_bins(task_of(model), outcome),
        residuals=_residuals(outcome) if task_of(model) == "regression" else [],
        importance=_importance(model, rows, main, seed),
        slices=_slices(found.slices, most_slices),
        metric=main.name,
        environment=_environment(model),
    )


def _slices(found: Sequence[Slice], most: int) -> list[CardSlice]:
    """The largest ones."""
    largest = sorted(found, key=lambda piece: -piece.measured.rows)[:most]
    return [CardSlice(one.name, one.measured.rows, one.measured.value, one.measured.low, one.measured.high)
            for one in largest]  # fmt: skip


def _data(role: str, table: pa.Table, time: str | None) -> CardData:
    if time is None or time not in table.column_names:
        return CardData(role, table.num_rows, rows_digest(table))
    ends = pc.min_max(table.column(time))
    begin, end = ("" if ends[side].as_py() is None else str(ends[side].as_py()) for side in ("min", "max"))
    return CardData(role, table.num_rows, rows_digest(table), time, begin, end)


def _score(one: Measured, other: Judged | None) -> CardScore:
    chosen = metric(one.metric)
    beside = None if other is None or not len(other.labels) else chosen.function(other)
    return CardScore(one.metric, one.value, one.low, one.high, beside, chosen.greater_better)


def _bins(task: str, rows: Judged) -> list[CardBin]:
    if task == "multiclass":
        sure = rows.predictions.max(axis=1)
        right = (np.argmax(rows.predictions, axis=1) == rows.labels).astype(np.float64)
        return [CardBin(one.rows, one.predicted, one.actual) for one in calibration(right, sure)]
    return [CardBin(one.rows, one.predicted, one.actual) for one in calibration(rows.labels, rows.predictions)]


def _residuals(rows: Judged, bins: int = 15) -> list[tuple[float, float, int]]:
    """A histogram around zero that leaves out the outer half percent on either side."""
    left = rows.labels - rows.predictions
    if not len(left):
        return []
    low, high = (float(end) for end in np.percentile(left, [0.5, 99.5]))
    if not low < high:
        return [(low, low, len(left))]
    counts, edges = np.histogram(left, bins=bins, range=(low, high))
    return [(float(edges[i]), float(edges[i + 1]), int(count)) for i, count in enumerate(counts)]


def _importance(model: Model | ModelFile, rows: pa.Table, main: Metric, seed: int) -> dict[str, float]:
    if not rows.num_rows:
        return {}
    places = np.linspace(0, rows.num_rows - 1, min(rows.num_rows, IMPORTANCE_ROWS)).astype(np.int64)
    some = rows.take(pa.array(np.unique(places)))
    labels = judged(model, some)[1].labels
    whole = _value(main, labels, model.predict(some))
    if whole is None:
        return {}
    random, lost = np.random.default_rng(seed), {}
    for name in model.features.inputs:
        shuffled = some.column(name).take(pa.array(random.permutation(some.num_rows)))
        table = some.set_column(some.column_names.index(name), name, shuffled)
        value = _value(main, labels, model.predict(table))
        lost[name] = 0.0 if value is None else (whole - value if main.greater_better else value - whole)
    return dict(sorted(lost.items(), key=lambda pair: (-pair[1], pair[0])))


def _value(of: Metric, labels: Floats, predictions: Floats) -> float | None:
    return of.function(Judged(labels, predictions))


def _environment(model: Model | ModelFile) -> dict[str, str]:
    """Versions of Python and of the libraries that the model needs, as far as they are installed."""
    estimator = "lightgbm" if isinstance(model, Model) and model.kind == "boosted" else ""
    estimator = estimator or ("sklearn" if isinstance(model, Model) else model.estimator)
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        if package in _ALWAYS or estimator.startswith(_MODULES.get(package, package)):
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                continue  # it is not from a distribution of that name; nothing is claimed about it
    return found
