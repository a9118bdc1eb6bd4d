"""LightGBM's own text format."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from orchestrator.errors import ConfigError
from stages.columns import Floats
from stages.training.target import Task


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    return _booster(data).predict(encoded, num_threads=1)


@lru_cache(maxsize=8)
def _booster(data: bytes) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_str=data.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise ConfigError(f"The model's data is no LightGBM text: {error}") from None
