"""XGBoost's own binary JSON."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.training.target import Task


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    return _booster(data).inplace_predict(encoded, missing=np.nan)


@lru_cache(maxsize=8)
def _booster(data: bytes) -> Any:
    import xgboost

    try:
        booster = xgboost.Booster(model_file=bytearray(data))
    except xgboost.core.XGBoostError as error:
        raise ConfigError(f"The model's data is no XGBoost UBJ: {str(error).splitlines()[0]}") from None
    booster.set_param({"nthread": 1})
    return booster
