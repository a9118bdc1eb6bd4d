"""A model in the file format of its library, with the features it was trained on: stored, compared and served as data.

No format runs code when it is read: LightGBM's text, XGBoost's UBJ, and skops for scikit-learn, which builds only
types that are named in ``TRUSTED``. What a file says about itself is never trusted.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.errors import DataRejected
from stages.features import FeaturePlan, Features, encoding_from_document, encoding_to_document

Task = Literal["binary", "multiclass", "regression"]

ModelFormat = Literal["skops", "lightgbm", "xgboost"]

FORMAT = "stages.model_file/1"

TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types of scikit-learn that skops asks about and that a model may hold; all others are refused."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


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
        if self.format == "lightgbm":
            found = _lightgbm(self.data).predict(encoded, num_threads=1)
        elif self.format == "xgboost":
            found = _xgboost(self.data).inplace_predict(encoded, missing=np.nan)
        else:
            found = self._ask_sklearn(encoded)
        result = np.asarray(found, dtype=np.float64)
        return self.calibrator.apply(result) if self.calibrator else result

    def _ask_sklearn(self, encoded: Floats) -> Any:
        estimator = _sklearn(self.data)
        try:
            with thread_pools().limit(limits=1):
                if self.task == "regression":
                    return estimator.predict(encoded)
                probabilities = estimator.predict_proba(encoded)
        except ValueError as error:
            gaps = [name for i, name in enumerate(self.features.names) if not np.isfinite(encoded[:, i]).all()]
            raise DataRejected(f"{self.estimator} cannot predict these rows (not finite: {gaps}): {error}") from None
        return probabilities[:, 1] if self.task == "binary" else probabilities

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


def sklearn_bytes(estimator: Any) -> bytes:
    """A fitted scikit-learn estimator in skops' format; equal estimators give equal bytes.

    Raises:
        ConfigError: it holds a type that is not among ``TRUSTED``, so it could not be read again.
    """
    from skops import io as skops

    data = skops.dumps(estimator)
    _refuse_untrusted(data)
    return _canonical(data)


def _refuse_untrusted(data: bytes) -> None:
    from skops import io as skops

    if strange := sorted(set(skops.get_untrusted_types(data=data)) - set(TRUSTED)):
        raise ConfigError(f"The model holds types that are not trusted to be loaded: {', '.join(strange)}.")


def _canonical(data: bytes) -> bytes:
    """The archive with numbers in place of addresses in memory and moments of writing."""
    numbers: dict[int, int] = {}
    names: dict[str, str] = {}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(item) for item in node]
        if not isinstance(node, dict):
            return node
        result = {key: renamed(value) for key, value in node.items()}
        if "__id__" in node:
            result["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if isinstance(node.get("file"), str):
            name = node["file"]
            result["file"] = names.setdefault(name, f"{len(names)}.{name.rpartition('.')[2]}")
        return result

    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
        schema = renamed(json.loads(old.read("schema.json")))
        content = {names[name]: old.read(name) for name in old.namelist() if name in names}
        content["schema.json"] = json.dumps(schema, indent=1).encode()
        for name in sorted(content):
            new.writestr(zipfile.ZipInfo(name, _LONG_AGO), content[name])
    return target.getvalue()


@lru_cache(maxsize=1)
def thread_pools() -> Any:
    """The threads of BLAS and OpenMP, which scikit-learn would else start for every core whatever a step was given."""
    import sklearn.utils  # noqa: F401 (loads the libraries that are to be limited)
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


@lru_cache(maxsize=8)
def _sklearn(data: bytes) -> Any:
    from skops import io as skops

    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ConfigError("The model's data is no skops file; it was damaged or written by something else.")
    _refuse_untrusted(data)
    return skops.loads(data, trusted=[name for name in TRUSTED if name in skops.get_untrusted_types(data=data)])


@lru_cache(maxsize=8)
def _lightgbm(data: bytes) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=data.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise ConfigError(f"The model's data is no LightGBM text: {error}") from None


@lru_cache(maxsize=8)
def _xgboost(data: bytes) -> Any:
    import xgboost

    try:
        booster = xgboost.Booster(model_file=bytearray(data))
    except xgboost.core.XGBoostError as error:
        raise ConfigError(f"The model's data is no XGBoost UBJ: {str(error).splitlines()[0]}") from None
    booster.set_param({"nthread": 1})
    return booster
