"""Rows to ask a model with where no real ones are at hand, made from its inputs and what it learned of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from stages.features import FeaturePlan, Features
from stages.training import Model, ModelFile
from stages.transforms import InputKind

_FIRST_DAY = datetime(2020, 1, 1, 6)
_FEW = 24


def example_rows(model: Model | ModelFile, rows: int = _FEW) -> pa.Table:
    """Rows of the model's inputs: texts that training saw, small numbers, hours one after the other."""
    inputs, known = model.features.inputs, _known(model.features)
    return pa.table({name: _column(kind, rows, known.get(name)) for name, kind in inputs.items()})


def _column(kind: InputKind, rows: int, known: Any) -> pa.Array:
    if kind == "text":
        texts = known or ["some text"]
        return pa.array([texts[i % len(texts)] for i in range(rows)], pa.string())
    if kind == "number":
        return pa.array([float(i) for i in range(rows)], pa.float64())
    if kind == "time":
        return pa.array([_FIRST_DAY + timedelta(hours=7 * i) for i in range(rows)], pa.timestamp("s"))
    width = known or 1
    return pa.array([[(i + j) % 2 / 2 for j in range(width)] for i in range(rows)], pa.list_(pa.float64()))


def _known(features: FeaturePlan | Features) -> dict[str, Any]:
    """Texts that training saw, or how long a list of numbers has to be, by input."""
    if isinstance(features, Features):
        return {category.column: category.values for category in features.categories}
    found: dict[str, Any] = {}
    for step in features.steps:
        values, width = getattr(step, "values", None), getattr(step, "width", None)
        if width is not None:
            found |= {name: width for name in step.columns if features.inputs.get(name) != "text"}
        elif isinstance(values, list) and len(values) == len(step.columns):
            learned = zip(step.columns, values, strict=True)
            found |= {name: texts for name, texts in learned if isinstance(texts, list) and name not in found}
    return found
