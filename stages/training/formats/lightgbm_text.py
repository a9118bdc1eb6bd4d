"""LightGBM's own text format."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from stages.columns import Floats
from stages.training.booster import Booster
from stages.training.target import Task


def predict(data: bytes, encoded: Floats, task: Task) -> Any:
    """Predictions of encoded rows; see ``FORMATS``."""
    return _booster(data).predict(encoded)


@lru_cache(maxsize=8)
def _booster(data: bytes) -> Booster:
    return Booster(data)
