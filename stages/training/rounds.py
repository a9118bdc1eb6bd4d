"""Boosting round by round: LightGBM and XGBoost report each one, stop early and keep the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator import step
from stages.columns import Floats
from stages.training.target import Labels


@dataclass(frozen=True)
class Curve:
    """The loss after each round, and how many rounds the model kept (None: it does not work in rounds)."""

    losses: list[float]
    kept: int | None


Held = tuple[Floats, Floats]
"""Encoded rows and labels that are only measured on."""


def fit_lightgbm(
    estimator: Any, encoded: Floats, labels: Labels, weights: Floats | None, held: Held | None, patience: int | None
) -> tuple[bytes, Curve]:
    """Fit one of LightGBM's estimators; its own text format, without the parameters that decide nothing."""
    import lightgbm

    losses: list[float] = []

    def report(env: Any) -> None:
        for _, name, value, _ in env.evaluation_result_list[:1]:
            losses.append(float(value))
            step().report(**{name: float(value), "round": env.iteration + 1})

    callbacks = [report]
    if patience is not None:
        callbacks.append(lightgbm.early_stopping(patience, first_metric_only=True, verbose=False))
    watched: dict[str, Any] = {}
    if held:
        newer = _takes(estimator, "eval_X")
        watched = {"eval_X": (held[0],), "eval_y": (held[1],)} if newer else {"eval_set": [held]}
    estimator.fit(encoded, labels.values, sample_weight=weights, callbacks=callbacks, **watched)
    booster = estimator.booster_
    kept = int(estimator.best_iteration_ or booster.current_iteration())
    text = booster.model_to_string(num_iteration=kept).partition("\nparameters:")[0] + "\n"
    return text.encode(), Curve(losses, kept)


def _takes(estimator: Any, parameter: str) -> bool:
    from sklearn.utils.validation import has_fit_parameter

    return bool(has_fit_parameter(estimator, parameter))


def fit_xgboost(
    estimator: Any, encoded: Floats, labels: Labels, weights: Floats | None, held: Held | None, patience: int | None
) -> tuple[bytes, Curve]:
    """Fit one of XGBoost's estimators; UBJ with the rounds up to the best one."""
    import xgboost

    losses: list[float] = []

    class Reporting(xgboost.callback.TrainingCallback):
        """Reports each round; never ends the training."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            for metrics in evals_log.values():
                name, values = list(metrics.items())[-1]
                losses.append(float(values[-1]))
                step().report(**{name.replace("@", "_"): losses[-1], "round": epoch + 1})
            return False

    estimator.set_params(callbacks=[Reporting()], early_stopping_rounds=patience)
    watched = {"eval_set": [held]} if held else {}
    estimator.fit(encoded, labels.values, sample_weight=weights, verbose=False, **watched)
    booster = estimator.get_booster()
    rounds = booster.num_boosted_rounds()
    if patience is not None:
        rounds = int(booster.best_iteration) + 1
        booster = booster[:rounds]
    booster.set_attr(best_iteration=None, best_score=None)
    return bytes(booster.save_raw("ubj")), Curve(losses, rounds)


def sklearn_curve(estimator: Any) -> Curve:
    """The losses that some of scikit-learn's estimators keep, reported after the fact; empty for the others."""
    for name in ("validation_score_", "train_score_", "loss_curve_"):
        kept = getattr(estimator, name, None)
        if kept is not None and np.ndim(kept) == 1 and len(kept):
            losses = [float(value) for value in kept]
            for number, loss in enumerate(losses, 1):
                step().report(loss=loss, round=number)
            return Curve(losses, len(losses))
    return Curve([], None)
