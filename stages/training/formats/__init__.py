"""Model formats: one file each with a ``predict`` that reads the bytes and runs none of them as code.

``predict(data, encoded, task)`` answers encoded rows, shape (rows, inputs), with the probability of the second class
(rows,), of each class (rows, classes), or with values (rows,); it raises ValueError for rows that it cannot take and
``ConfigError`` for bytes that are not of its format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from stages.columns import Floats
from stages.training.formats import lightgbm_text, onnx_graph, safetensors_weights, skops_archive, xgboost_ubj
from stages.training.target import Task

ModelFormat = Literal["skops", "lightgbm", "xgboost", "safetensors", "onnx"]

FORMATS: Mapping[str, Callable[[bytes, Floats, Task], Any]] = {
    "lightgbm": lightgbm_text.predict,
    "onnx": onnx_graph.predict,
    "safetensors": safetensors_weights.predict,
    "skops": skops_archive.predict,
    "xgboost": xgboost_ubj.predict,
}
"""What reads a model, by format."""

__all__ = ["FORMATS", "ModelFormat"]
