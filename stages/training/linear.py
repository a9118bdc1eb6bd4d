"""Logistic regression with scikit-learn: the simple model that a better one has to beat."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from orchestrator import stage, step
from stages.columns import matrix
from stages.errors import DataRejected
from stages.features import Features
from stages.metrics import auc, log_losses
from stages.training.model import Fitted, Model, fitted_rows, importance_by_input
from stages.training.target import binary_target


@stage(cache="30d", timeout="30m")
def train_logistic(
    table: pa.Table,
    features: Features,
    target: str,
    inverse_penalty: float = 1.0,
    max_iterations: int = 200,
    holdout: float = 0.1,
) -> Fitted:
    """Train a logistic regression on encoded rows (``onehot``, ``impute`` and ``scale`` set).

    Args:
        inverse_penalty: scikit-learn's ``C``; smaller is smoother.
        holdout: Share of the rows, the last ones, that are only measured on: order the table by time.

    Raises:
        NotFound: a column is missing.
        DataRejected: the target is not 0 and 1, or an encoded value is missing.
    """
    from sklearn.linear_model import LogisticRegression

    table, labels = binary_target(table, target)
    encoded = matrix(table, features.names, "The table given to train_logistic")
    if names := [name for name, gap in zip(features.names, np.isnan(encoded).sum(axis=0), strict=True) if gap]:
        raise DataRejected(f"A logistic regression takes no missing values, but {names} have some; use impute=True.")
    count = fitted_rows(len(labels), holdout)
    estimator = LogisticRegression(C=inverse_penalty, max_iter=max_iterations)
    estimator.fit(encoded[:count], labels[:count])
    weights = np.asarray(estimator.coef_[0], dtype=np.float64)
    text = json.dumps({"coefficients": weights.tolist(), "intercept": float(estimator.intercept_[0])})
    model = Model("logistic", text, features, target)
    scores = model.predict_encoded(encoded[count:])
    loss = float(log_losses(labels[count:], scores).mean())
    step().report(log_loss=loss, iterations=int(estimator.n_iter_[0]))
    return Fitted(
        model=model,
        auc=auc(labels[count:], scores),
        log_loss=loss,
        curve=[loss],
        importance=importance_by_input(features, np.abs(weights) * encoded[:count].std(axis=0)),
        rows=count,
        params={"inverse_penalty": inverse_penalty, "max_iterations": max_iterations},
    )
