"""Gradient boosting with LightGBM for a yes/no target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from stages.columns import Floats, matrix
from stages.features import Features
from stages.metrics import auc, log_losses
from stages.training.model import Fitted, Model, fitted_rows, importance_by_input
from stages.training.target import binary_target

REPORT_EVERY = 10
"""Trees between two points of the reported learning curve."""

_ALWAYS = {
    "objective": "binary",
    "metric": "none",
    "cat_smooth": 50.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@stage(cache="30d", timeout="30m")
def train_boosted(
    table: pa.Table,
    features: Features,
    target: str,
    trees: int = 100,
    learning_rate: float = 0.05,
    leaves: int = 15,
    min_leaf_rows: int = 200,
    feature_share: float = 1.0,
    holdout: float = 0.1,
    seed: int = 0,
    num_threads: int = 1,
) -> Fitted:
    """Train boosted trees on encoded rows; the same data and seed give the same model, byte for byte.

    Args:
        table: Output of ``transform`` with the target kept; rows without a target are left out.
        features: The encoders that made it.
        target: Column of 0 and 1.
        leaves: Most leaves of one tree.
        min_leaf_rows: Fewest rows in a leaf.
        feature_share: Share of the inputs that each tree may use, drawn from the seed.
        holdout: Share of the rows, the last ones, that are only measured on: order the table by time.
        num_threads: Threads of LightGBM; declare ``num_cpus`` to match.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target is not 0 and 1, or one of them does not occur.
    """
    import lightgbm

    table, labels = binary_target(table, target)
    encoded = matrix(table, features.names, "The table given to train_boosted")
    count = fitted_rows(len(labels), holdout)
    fit_set, held_set = _data_sets(encoded, labels, features, count)
    params = {
        "learning_rate": learning_rate,
        "num_leaves": leaves,
        "min_data_in_leaf": min_leaf_rows,
        "feature_fraction": feature_share,
        "seed": seed,
    }
    curve: list[float] = []
    booster = lightgbm.train(
        {**_ALWAYS, **params, "num_threads": num_threads}, fit_set, trees,
        valid_sets=[held_set], feval=_loss, callbacks=[_reporter(curve, trees)],
    )  # fmt: skip
    text = _canonical(booster.model_to_string())
    model = Model("boosted", text, features, target)
    scores = model.predict_encoded(encoded[count:])
    return Fitted(
        model=model,
        auc=auc(labels[count:], scores),
        log_loss=float(log_losses(labels[count:], scores).mean()),
        curve=curve,
        importance=importance_by_input(features, np.asarray(booster.feature_importance("gain"), dtype=np.float64)),
        rows=count,
        params={"trees": trees, **params},
    )


def _data_sets(encoded: Floats, labels: Any, features: Features, count: int) -> tuple[Any, Any]:
    """The first ``count`` rows to fit, and the others to measure on."""
    import lightgbm

    columns = [f"f{i}" for i in range(len(features.names))]  # LightGBM refuses some characters in names
    codes = [features.names.index(name) for name in features.categorical]
    fit_set = lightgbm.Dataset(
        encoded[:count], labels[:count], feature_name=columns, categorical_feature=codes, free_raw_data=True
    )
    return fit_set, lightgbm.Dataset(encoded[count:], labels[count:], reference=fit_set)


def _loss(probabilities: Floats, rows: Any) -> tuple[str, float, bool]:
    """Log loss by our own sum: LightGBM's depends in its last digits on the number of threads."""
    return "log_loss", float(log_losses(rows.get_label().astype(np.float64), probabilities).mean()), False


def _reporter(curve: list[float], trees: int) -> Callable[[Any], None]:
    def report(env: Any) -> None:
        loss = float(env.evaluation_result_list[0][2])
        curve.append(loss)
        done = env.iteration + 1
        if done % REPORT_EVERY == 0 or done == trees:
            step().report(log_loss=loss, tree=done)

    return report


def _canonical(text: str) -> str:
    """The model without the parameters LightGBM appends: they name the number of threads, which decides nothing."""
    return text.partition("\nparameters:")[0] + "\n"
