"""A model in the file format of its library, with the features it was trained on: stored, compared and served as data.

No format runs code when it is read; ``stages.training.formats`` has a file for each.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator.errors import ConfigError
from stages.columns import Floats, suggestion
from stages.errors import DataRejected
from stages.features import FeaturePlan, Features, encoding_from_document, encoding_to_document
from stages.training.formats import FORMATS, ModelFormat
from stages.training.target import Task

FORMAT = "stages.model_file/1"


@dataclass(frozen=True)
class Calibrator:
    """A curve from what a model says to what comes true; piecewise linear between points for ``isotonic``.

    Attributes:
        inputs, outputs: Points of the curve, ascending; slope and intercept on the log odds for ``sigmoid``.
        rows: Rows it was learned from.
    """

    method: Literal["isotonic", "sigmoid"]
    inputs: list[float]
    outputs: list[float]
    rows: int

    def apply(self, probabilities: Floats) -> Floats:
        """Calibrated probabilities, in the order of the given ones."""
        if self.method == "isotonic":
            return np.interp(probabilities, self.inputs, self.outputs)
        odds = log_odds(probabilities)
        half: Floats = 0.5 * (1.0 + np.tanh(0.5 * (self.inputs[0] * odds + self.outputs[0])))
        return half


def log_odds(probabilities: Floats) -> Floats:
    """Log odds, finite also for probabilities of 0 and 1."""
    safe = np.clip(probabilities, 1e-12, 1 - 1e-12)
    odds: Floats = np.log(safe) - np.log1p(-safe)
    return odds


@dataclass(frozen=True)
class ModelFile:
    """Features and estimator in one: raw rows in, predictions out.

    Attributes:
        format: Which library reads ``data``.
        data: The model in that library's own format.
        features: Turns raw rows into ``features.names``, the estimator's inputs.
        target: Column it predicts.
        task: ``binary`` and ``multiclass`` give probabilities, ``regression`` values.
        classes: Values of the target in the order of the probabilities; empty for a regression.
        estimator: Dotted name of the class that was trained.
        calibrator: Applied to the probabilities of a binary model.
    """

    format: ModelFormat
    data: bytes
    features: FeaturePlan | Features
    target: str
    task: Task
    classes: list[str | float | bool]
    estimator: str
    calibrator: Calibrator | None = None

    def predict(self, table: pa.Table) -> Floats:
        """Predict raw rows: probability of ``classes[1]`` (rows,), of each class (rows, classes), or values (rows,).

        Raises:
            NotFound: an input column is missing.
            DataRejected: an input column is of the wrong type, or the estimator cannot take a missing value.
        """
        return self.predict_encoded(self.features.encode(table, f"The table to predict {self.target!r} for"))

    def predict_encoded(self, encoded: Floats) -> Floats:
        """The same for rows that went through ``features`` already: shape (rows, names)."""
        if not len(encoded):
            return np.empty((0, len(self.classes))) if self.task == "multiclass" else np.empty(0)
        if self.format not in FORMATS:
            raise ConfigError(f"There is no model format {self.format!r}.{suggestion(self.format, FORMATS)}")
        try:
            found = FORMATS[self.format](self.data, encoded, self.task)
        except ValueError as error:
            gaps = [name for i, name in enumerate(self.features.names) if not np.isfinite(encoded[:, i]).all()]
            raise DataRejected(
                f"{self.estimator} cannot predict these rows (not finite: {gaps}): {error}", column=(gaps or [""])[0]
            ) from None
        result = np.asarray(found, dtype=np.float64)
        return self.calibrator.apply(result) if self.calibrator else result

    def answers(self, table: pa.Table) -> list[dict[str, Any]]:
        """Predictions as a server gives them: ``{"probability"}``, ``{"label", "probabilities"}`` or ``{"value"}``."""
        found = self.predict(table)
        if self.task == "binary":
            return [{"probability": float(value)} for value in found]
        if self.task == "regression":
            return [{"value": float(value)} for value in found]
        names = [str(value) for value in self.classes]
        return [
            {"label": self.classes[int(np.argmax(row))], "probabilities": dict(zip(names, row.tolist(), strict=True))}
            for row in found
        ]


def model_file_to_payload(model: ModelFile) -> bytes:
    """The model as JSON; equal models give equal bytes."""
    document = {
        "format": FORMAT,
        "model": {**vars(model), "data": base64.b64encode(model.data).decode(), "features": None, "calibrator": None},
        "features": encoding_to_document(model.features),
        "calibrator": vars(model.calibrator) if model.calibrator else None,
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def model_file_from_payload(payload: bytes) -> ModelFile:
    """The model back from its JSON; building it runs no code of its author.

    Raises:
        ConfigError: these bytes are no such model.
    """
    try:
        document = json.loads(payload)
        if document["format"] != FORMAT:
            raise ConfigError(f"The payload has the format {document['format']!r}; {FORMAT!r} is read here.")
        state = document["model"]
        calibrator = document["calibrator"]
        return ModelFile(
            **{
                **state,
                "data": base64.b64decode(state["data"], validate=True),
                "features": encoding_from_document(document["features"]),
                "calibrator": Calibrator(**calibrator) if calibrator else None,
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"The payload is no model that model_file_to_payload wrote: {error!r}") from error
