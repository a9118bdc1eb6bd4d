"""A trained model as plain text with the features it was trained on: stored, compared and served as data.

LightGBM and scikit-learn are imported where they are used, in the training stages: they are optional, and take seconds
to import in every process that only plans, looks or predicts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import pyarrow as pa

from stages.columns import Floats
from stages.features import Features
from stages.training.booster import Booster

ModelKind = Literal["boosted", "logistic"]


@dataclass(frozen=True)
class Model:
    """Encoders and estimator in one: raw rows in, probabilities out.

    Attributes:
        kind: ``boosted`` (LightGBM trees) or ``logistic`` (scikit-learn's logistic regression).
        text: LightGBM's own text format, or JSON ``{"coefficients": […], "intercept": …}``.
        features: Fitted encoders; the estimator's inputs are ``features.names``.
        target: Column it predicts.
    """

    kind: ModelKind
    text: str
    features: Features
    target: str

    def predict(self, table: pa.Table) -> Floats:
        """Probability of the target for each raw row: shape (rows,).

        Raises:
            NotFound: an input column is missing.
            DataRejected: an input column is of the wrong type.
        """
        return self.predict_encoded(self.features.encode(table, f"The table to predict {self.target!r} for"))

    def predict_encoded(self, encoded: Floats) -> Floats:
        """Probability for rows that went through ``features`` already: (rows, names) to (rows,)."""
        if self.kind == "boosted":
            return _booster(self.text).predict(encoded)
        parameters = json.loads(self.text)
        return logistic(encoded @ np.asarray(parameters["coefficients"]) + parameters["intercept"])


def logistic(scores: Floats) -> Floats:
    """The logistic function, without overflow."""
    half: Floats = 0.5 * (1.0 + np.tanh(0.5 * scores))
    return half


@lru_cache(maxsize=8)
def _booster(text: str) -> Booster:
    return Booster(text.encode())


@dataclass(frozen=True)
class Fitted:
    """What a training stage returns. Holds no times and no paths: equal data and seed give equal digests.

    Attributes:
        auc: Area under the ROC curve on the rows held out of the training table; None if they hold one outcome only.
        log_loss: Mean log loss on the same rows.
        curve: Log loss on the held-out rows after each tree; one number for a model that is fitted in one go.
        importance: Share of each raw input in the model's decisions, largest first; sums to 1.
        rows: Rows fitted on, without the held-out ones.
    """

    model: Model
    auc: float | None
    log_loss: float
    curve: list[float]
    importance: dict[str, float]
    rows: int
    params: dict[str, float | int]


def fitted_rows(rows: int, holdout: float) -> int:
    """How many rows to fit on when the last share of them is held out; at least one row on either side.

    The last rows, not random ones: in a table ordered by time neighbours share the day, the weather, the customer,
    and a model measured on the neighbours of its training rows looks better than it is.
    """
    return rows - min(max(round(rows * holdout), 1), rows - 1)


def importance_by_input(features: Features, weights: Floats) -> dict[str, float]:
    """Sum the weights of encoded columns over the raw inputs they come from, as shares, largest first."""
    shares: dict[str, float] = {}
    position = 0
    for encoder in features.encoders:
        width = len(encoder.names)
        shares[encoder.column] = shares.get(encoder.column, 0.0) + float(weights[position : position + width].sum())
        position += width
    total = sum(shares.values()) or 1.0
    return dict(sorted(((name, share / total) for name, share in shares.items()), key=lambda pair: (-pair[1], pair[0])))
