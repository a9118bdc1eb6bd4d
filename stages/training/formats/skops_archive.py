"""scikit-learn in skops' format, which builds only the types in ``TRUSTED``, whatever a file says of itself."""

from __future__ import annotations

import io
import json
import zipfile
from functools import lru_cache
from typing import Any

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.training.target import Task

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


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    estimator = loaded(data)
    with thread_pools().limit(limits=1):
        if task == "regression":
            return estimator.predict(encoded)
        probabilities = estimator.predict_proba(encoded)
    return probabilities[:, 1] if task == "binary" else probabilities


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
def loaded(data: bytes) -> Any:
    from skops import io as skops

    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ConfigError("The model's data is no skops file; it was damaged or written by something else.")
    _refuse_untrusted(data)
    return skops.loads(data, trusted=[name for name in TRUSTED if name in skops.get_untrusted_types(data=data)])
