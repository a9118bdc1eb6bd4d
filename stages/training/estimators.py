"""Training any estimator by its dotted name: early stopping, class weights, learning curves, a file without code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from orchestrator.errors import ConfigError
from stages.columns import Floats, column_floats, matrix, rows_named
from stages.errors import DataRejected
from stages.features import FeaturePlan, Features
from stages.metrics import MAIN_METRIC, Judged, metric
from stages.training.formats import ModelFormat
from stages.training.formats.skops_archive import sklearn_bytes, thread_pools
from stages.training.model_file import ModelFile
from stages.training.named import build, library_of
from stages.training.rounds import fit_lightgbm, fit_xgboost, sklearn_curve
from stages.training.target import Labels, class_weights, read_labels


@dataclass(frozen=True)
class Trained:
    """What ``train_estimator`` returns. Holds no times and no paths: equal data and seed give equal digests.

    Attributes:
        metric: Name of the metric in ``score``: AUC, log loss or RMSE by task.
        score: On the validation rows; None without them, or where it cannot be told.
        curve: The loss after each round, on the validation rows where there are some; empty if the estimator has none.
        rounds: Rounds kept, where the estimator works in rounds.
        rows: Rows fitted on.
    """

    model: ModelFile
    metric: str
    score: float | None
    curve: list[float]
    rounds: int | None
    rows: int
    params: dict[str, Any]


@stage(cache="30d", timeout="1h")
def train_estimator(
    table: pa.Table,
    features: FeaturePlan | Features,
    target: str,
    estimator: str,
    params: Mapping[str, Any] | None = None,
    validation: pa.Table | None = None,
    early_stopping_rounds: int | None = None,
    class_weight: Literal["balanced"] | Mapping[str, float] | None = None,
    weight: str | None = None,
    seed: int = 0,
    num_threads: int = 1,
) -> Trained:
    """Train an estimator on encoded rows; rows without a target are left out.

    Args:
        table: ``fit_plan(…).table``, or the output of ``transform``; with the target kept.
        features: What encoded it.
        estimator: Dotted name of a class of scikit-learn, LightGBM or XGBoost.
        params: Its parameters; one that it does not have is an error.
        validation: Encoded rows that are only measured on: for the score, the curve and early stopping.
        early_stopping_rounds: Stop after so many rounds without a better loss on ``validation``, and keep the best
            round; LightGBM and XGBoost only (scikit-learn's own way is a parameter of its estimators).
        class_weight: Weight of a row by its class; ``balanced`` gives each class the same weight in sum.
        weight: Column of row weights, multiplied with the class weights.
        num_threads: Threads; declare ``num_cpus`` to match.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target has a single class or values that are not finite, or an input does where the
            estimator cannot take it; names columns and rows.
        ConfigError: the estimator or a parameter is not known, or does not do what is asked.
    """
    library = library_of(estimator)
    unfitted = build(estimator, params, seed, num_threads)
    classifying = _asked_for(unfitted, estimator, early_stopping_rounds, validation is not None)
    rows, labels = read_labels(table, target, classifying)
    encoded = matrix(rows, features.names, "The table given to train_estimator")
    weights = row_weights(rows, labels, class_weight, weight)
    held = _held_out(validation, features, target, labels)
    if library == "sklearn":
        refuse_gaps(encoded, features.names, estimator, takes_missing(unfitted))
        fitted = _fit_sklearn(unfitted, encoded, labels.values, weights, estimator, num_threads)
        data, curve = sklearn_bytes(fitted), sklearn_curve(fitted)
    else:
        fit = fit_lightgbm if library == "lightgbm" else fit_xgboost
        try:
            data, curve = fit(unfitted, encoded, labels, weights, held, early_stopping_rounds)
        except _refusals(library) as error:
            raise ConfigError(f"{estimator} refuses its parameters or rows: {error}") from None
    kind: ModelFormat = "skops" if library == "sklearn" else "lightgbm" if library == "lightgbm" else "xgboost"
    model = ModelFile(kind, data, features, target, labels.task, labels.classes, estimator)
    name = MAIN_METRIC[labels.task]
    score = metric(name).function(Judged(held[1], model.predict_encoded(held[0]))) if held else None
    if score is not None:
        step().report(**{name: score})
    return Trained(model, name, score, curve.losses, curve.kept, len(encoded), dict(params or {}))


def _asked_for(estimator: Any, dotted: str, patience: int | None, held_out: bool) -> bool:
    """Whether it predicts classes; raises ConfigError if it cannot do what is asked of it."""
    if patience is not None and library_of(dotted) == "sklearn":
        raise ConfigError(f"Early stopping of {dotted} needs its own parameters (such as early_stopping=True).")
    if patience is not None and not held_out:
        raise ConfigError(f"Early stopping of {dotted} needs a validation table.")
    classifying = is_classifier(estimator)
    if not classifying and not is_regressor(estimator):
        raise ConfigError(f"{dotted} predicts neither classes nor numbers, so it cannot learn a target.")
    return classifying


def is_classifier(estimator: Any) -> bool:
    """Whether an estimator predicts classes."""
    from sklearn.base import is_classifier as asks

    return bool(asks(estimator))


def is_regressor(estimator: Any) -> bool:
    """Whether an estimator predicts numbers."""
    from sklearn.base import is_regressor as asks

    return bool(asks(estimator))


def takes_missing(estimator: Any) -> bool:
    """Whether an estimator of scikit-learn takes NaN."""
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def _refusals(library: str) -> tuple[type[Exception], ...]:
    if library == "lightgbm":
        import lightgbm

        return (TypeError, ValueError, lightgbm.basic.LightGBMError)
    import xgboost

    return (TypeError, ValueError, xgboost.core.XGBoostError)


def _held_out(
    validation: pa.Table | None, features: FeaturePlan | Features, target: str, labels: Labels
) -> tuple[Floats, Floats] | None:
    if validation is None:
        return None
    rows, held = read_labels(validation, target, labels.task != "regression", labels.classes or None)
    return matrix(rows, features.names, "The validation table of train_estimator"), held.values


def row_weights(
    rows: pa.Table, labels: Labels, class_weight: Literal["balanced"] | Mapping[str, float] | None, weight: str | None
) -> Floats | None:
    """The weight of each row, None where all count the same.

    Raises:
        NotFound: the weight column is missing.
        DataRejected: a weight is missing, negative or infinite; names the rows.
        ConfigError: as ``class_weights``.
    """
    weights = None if class_weight is None else class_weights(labels, class_weight)
    if weight is None:
        return weights
    own = column_floats(rows, weight, "The table to train on")
    wrong = ~(own >= 0) | np.isinf(own)
    if wrong.any():
        raise DataRejected(f"Weight column {weight!r} is missing or negative in {rows_named(wrong)}.", column=weight)
    return own if weights is None else own * weights


def refuse_gaps(encoded: Floats, names: list[str], dotted: str, takes_missing: bool = False) -> None:
    """Check what an estimator is to learn from.

    Raises:
        DataRejected: a value is infinite, or missing where the estimator does not take that; names column and rows.
    """
    wrong = ~np.isfinite(encoded)
    if takes_missing:
        wrong &= ~np.isnan(encoded)
    if wrong.any():
        place = int(np.argmax(wrong.any(axis=0)))
        raise DataRejected(
            f"{dotted} takes no missing or infinite values, but {names[place]!r} has some in "
            f"{rows_named(wrong[:, place])}; add the steps 'fill' or 'bounds' to the plan.",
            column=names[place],
            rows=np.flatnonzero(wrong[:, place])[:5].tolist(),
        )


def _fit_sklearn(
    estimator: Any, encoded: Floats, labels: Floats, weights: Floats | None, dotted: str, num_threads: int
) -> Any:
    from sklearn.utils.validation import has_fit_parameter

    if weights is not None and not has_fit_parameter(estimator, "sample_weight"):
        raise ConfigError(f"{dotted} takes no row weights; leave class_weight and weight out.")
    if is_classifier(estimator) and not hasattr(estimator, "predict_proba"):
        raise ConfigError(f"{dotted} gives no probabilities with these parameters; choose one that does.")
    try:
        with thread_pools().limit(limits=num_threads):
            return estimator.fit(encoded, labels, **({} if weights is None else {"sample_weight": weights}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{dotted} refuses its parameters or rows: {error}") from None
