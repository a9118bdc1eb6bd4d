"""Estimators by dotted name: ``sklearn.linear_model.Ridge``, ``lightgbm.LGBMClassifier``, ``xgboost.XGBRegressor``.

Only classes of these three libraries can be named, and only with parameters that they have.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import ConfigError
from stages.columns import suggestion

LIBRARIES = ("sklearn", "lightgbm", "xgboost")
"""Top-level packages whose estimators may be named."""

LIGHTGBM_NATIVE = (
    "bagging_fraction", "bagging_freq", "cat_l2", "cat_smooth", "deterministic", "extra_trees", "feature_fraction",
    "force_col_wise", "force_row_wise", "lambda_l1", "lambda_l2", "linear_tree", "max_bin", "max_cat_threshold",
    "max_delta_step", "metric", "min_data_in_bin", "min_data_in_leaf", "min_gain_to_split", "monotone_constraints",
    "path_smooth", "scale_pos_weight", "seed", "verbose",
)  # fmt: skip
"""Parameters of LightGBM itself that its scikit-learn classes pass on."""


def library_of(name: str) -> str:
    """The library of a dotted name, one of ``LIBRARIES``.

    Raises:
        ConfigError: it is of no library whose estimators may be named.
    """
    library, dot, _ = name.partition(".")
    if library not in LIBRARIES or not dot:
        allowed = ", ".join(f"{known}.…" for known in LIBRARIES)
        raise ConfigError(f"{name!r} is not the dotted name of an estimator that may be trained: {allowed}")
    return library


def estimator_class(name: str) -> Any:
    """The class behind a dotted name.

    Raises:
        ConfigError: there is none, it is no estimator that can be fitted and predict, or the library is missing.
    """
    library_of(name)
    module_name, _, class_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{name!r} cannot be imported ({error}); check its spelling, or install: "
            "pip install 'ray-orchestrator[training]'"
        ) from None
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not all(hasattr(found, method) for method in ("fit", "predict", "get_params")):
        public = [other for other in dir(module) if not other.startswith("_")]
        raise ConfigError(f"{module_name} has no estimator {class_name!r}.{suggestion(class_name, public)}")
    return found


def build(name: str, params: Mapping[str, Any] | None = None, seed: int = 0, num_threads: int = 1) -> Any:
    """An unfitted estimator.

    A parameter that is itself an estimator is written ``{"estimator": "sklearn…", "params": {…}}``.

    Args:
        seed: Its ``random_state``, where it has one and none is given.
        num_threads: Its ``n_jobs``, where it has one and none is given.

    Raises:
        ConfigError: as ``estimator_class``; or a parameter is not known, or the class refuses it.
    """
    kind = estimator_class(name)
    try:
        known = kind().get_params(deep=False)
    except TypeError:  # what has an obligatory parameter, such as another estimator
        known = dict.fromkeys(kind._get_param_names())
    given = {key: _value(value, seed, num_threads) for key, value in (params or {}).items()}
    accepted = [*known, *(LIGHTGBM_NATIVE if library_of(name) == "lightgbm" else ())]
    for key in given:
        if key not in accepted:
            raise ConfigError(
                f"{name} has no parameter {key!r}.{suggestion(key, accepted)} It has: {', '.join(sorted(known))}."
            )
    ours = {"random_state": seed, "n_jobs": num_threads}
    if library_of(name) == "sklearn" and num_threads == 1:  # what it does anyway; some of its classes warn if told so
        del ours["n_jobs"]
    if library_of(name) == "lightgbm":
        ours |= {"deterministic": True, "force_row_wise": True, "verbose": -1}
    defaults = {key: value for key, value in ours.items() if key in accepted}
    try:
        return kind(**{**defaults, **given})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} cannot be made with {given!r}: {error}") from None


def _value(value: Any, seed: int, num_threads: int) -> Any:
    if isinstance(value, Mapping) and "estimator" in value:
        if unknown := set(value) - {"estimator", "params"}:
            raise ConfigError(f"An estimator inside another has 'estimator' and 'params', not {sorted(unknown)}")
        return build(value["estimator"], value.get("params"), seed, num_threads)
    return value
