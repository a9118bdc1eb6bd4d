"""Reading the column that a model is to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import ConfigError
from stages.columns import Floats, column_floats, is_numeric, listed, require_columns, require_rows, rows_named, texts
from stages.errors import DataRejected

Task = Literal["binary", "multiclass", "regression"]
"""What a target is: one of two classes, of several, or a number."""

Class = str | float | bool
"""A value of a target that says which class a row is of."""


def binary_target(table: pa.Table, target: str) -> tuple[pa.Table, Floats]:
    """The rows that have a target, and the target as 0.0 and 1.0.

    Raises:
        NotFound: there is no such column.
        DataRejected: it holds something else than 0 and 1, or only one of them.
    """
    labels = column_floats(table, target, "The table with the target")
    known = ~np.isnan(labels)
    if not known.all():
        table = table.filter(pc.is_valid(table.column(target)))
        labels = labels[known]
    found = np.unique(labels)
    if found.tolist() != [0.0, 1.0]:
        raise DataRejected(
            f"The target {target!r} must hold both 0 and 1 and nothing else; it holds {found[:5].tolist()}"
            f"{' …' if len(found) > 5 else ''} in {len(labels)} rows.",
            column=target,
        )
    return table, labels


@dataclass(frozen=True)
class Labels:
    """A target as numbers.

    Attributes:
        values: Positions in ``classes``, or the numbers themselves for a regression.
        classes: Sorted; empty for a regression.
    """

    task: Task
    values: Floats
    classes: list[Class]


def read_labels(
    table: pa.Table, target: str, classifying: bool, classes: Sequence[Class] | None = None
) -> tuple[pa.Table, Labels]:
    """The rows that have a target, and the target as numbers.

    Args:
        classifying: Whether the target says a class.
        classes: The classes training saw; all that occur when not given.

    Raises:
        NotFound: there is no such column.
        DataRejected: it is of a type that cannot be predicted, infinite somewhere, of a single class, or holds a class
            that training did not see; names the rows.
    """
    where = "The table with the target"
    require_columns(table.column_names, [target], where)
    require_rows(table, where)
    known = pc.is_valid(table.column(target)).to_numpy()
    column = table.column(target)
    if is_numeric(column.type):
        known &= ~np.isnan(column_floats(table, target, where))
    if not known.all():
        table = table.filter(pa.array(known))
    if not table.num_rows:
        raise DataRejected(f"The target {target!r} is missing in all {len(known)} rows.", column=target)
    if not classifying:
        values = column_floats(table, target, where)
        if np.isinf(values).any():
            raise DataRejected(f"The target {target!r} is infinite in {rows_named(np.isinf(values))}.", column=target)
        return table, Labels("regression", values, [])
    found = _class_values(table.column(target), target)
    seen = list(classes) if classes is not None else sorted(set(found))
    if len(seen) < 2:
        raise DataRejected(
            f"The target {target!r} holds a single class, {seen[0]!r}, in all {len(found)} rows; there is nothing to "
            "learn. Look at how rows were filtered or split.",
            column=target,
        )
    positions = {value: position for position, value in enumerate(seen)}
    strange = np.array([value not in positions for value in found])
    if strange.any():
        others = sorted({str(value) for value in found if value not in positions})
        raise DataRejected(
            f"The target {target!r} holds {listed(others)} in {rows_named(strange)}, which training did not see.",
            column=target,
        )
    values = np.array([positions[value] for value in found], dtype=np.float64)
    return table, Labels("binary" if len(seen) == 2 else "multiclass", values, seen)


def _class_values(column: Any, target: str) -> list[Class]:
    if pa.types.is_boolean(column.type):
        return list(column.to_pylist())
    if is_numeric(column.type):
        return [float(value) for value in column.to_pylist()]
    return list(texts(column, target).to_pylist())


def class_weights(labels: Labels, weights: Literal["balanced"] | Mapping[str, float]) -> Floats:
    """The weight of each row by its class.

    Args:
        weights: By class, written as text; ``balanced`` gives each class the same weight in sum, 1 a row on average.

    Raises:
        ConfigError: this is a regression, or a class has no weight or a negative one.
    """
    if labels.task == "regression":
        raise ConfigError("Class weights need classes; this target is a number.")
    codes = labels.values.astype(np.int64)
    if weights == "balanced":
        counts = np.bincount(codes, minlength=len(labels.classes))
        return np.asarray(len(codes) / (len(labels.classes) * np.maximum(counts, 1)), dtype=np.float64)[codes]
    if isinstance(weights, str):
        raise ConfigError(f"Class weights are 'balanced' or given by class, not {weights!r}")
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in labels.classes]
    if missing := [name for name in names if name not in weights or not weights[name] >= 0]:
        raise ConfigError(f"The classes {missing} have no weight of 0 or more; give one for each of {names}.")
    return np.array([float(weights[name]) for name in names])[codes]
