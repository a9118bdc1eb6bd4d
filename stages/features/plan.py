"""A feature plan: fitted transforms in order, as one artifact that training and serving both apply.

Steps are written as data, ``[{"fill": {"columns": ["income"]}}, {"onehot": {"columns": ["purpose"]}}]``, so that a
pipeline file can hold them; each names a fitting function that may also be called alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import Floats, is_numeric, matrix, require_columns, suggestion
from stages.errors import DataRejected
from stages.features.categories import fit_frequency, fit_hashed, fit_onehot, fit_ordinal
from stages.features.dates import fit_dates
from stages.features.embeddings import fit_embedding
from stages.features.keys import fit_key_statistics
from stages.features.scaling import fit_scale
from stages.features.selection import fit_selection
from stages.features.target_means import fit_target_means
from stages.features.vectors import fit_vector
from stages.features.words import fit_tfidf
from stages.preprocessing.missing import fit_fill
from stages.preprocessing.outliers import fit_bounds
from stages.preprocessing.wording import fit_wording
from stages.transforms import InputKind, Transform, fit_numbers

Fitter = Callable[..., Transform]

FITTERS: Mapping[str, Fitter] = {
    "bounds": fit_bounds,
    "dates": fit_dates,
    "embedding": fit_embedding,
    "fill": fit_fill,
    "frequency": fit_frequency,
    "hashed": fit_hashed,
    "key_statistics": fit_key_statistics,
    "numbers": fit_numbers,
    "onehot": fit_onehot,
    "ordinal": fit_ordinal,
    "scale": fit_scale,
    "select": fit_selection,
    "target_means": fit_target_means,
    "tfidf": fit_tfidf,
    "vector": fit_vector,
    "wording": fit_wording,
}
"""What a plan's steps may be called."""

PlanStep = Mapping[str, Mapping[str, Any]]
"""``{"scale": {"columns": ["income"], "method": "robust"}}``: one fitter and its parameters."""


@dataclass(frozen=True)
class FeaturePlan:
    """Fitted transforms in their order.

    Attributes:
        names: Columns of the encoded rows, in the order that models were trained on.
        inputs: Raw columns that a row needs, and what each must hold.
    """

    steps: list[Transform]
    names: list[str]
    inputs: dict[str, InputKind]

    def apply(self, table: pa.Table) -> pa.Table:
        """Run all transforms on raw rows; the columns they do not touch stay."""
        for step in self.steps:
            table = step.apply(table)
        return table

    def encode(self, table: pa.Table, where: str = "The table to encode") -> Floats:
        """Encode raw rows: shape (rows, len(names)), NaN where a value is missing.

        Raises:
            NotFound: an input column is missing.
            DataRejected: an input column is of the wrong type.
        """
        require_columns(table.column_names, self.inputs, where)
        return matrix(self.apply(table.select(list(self.inputs))), self.names, where)


@dataclass(frozen=True)
class Planned:
    """A fitted plan with the training rows as it encodes them.

    Attributes:
        table: ``plan.names`` and the kept columns; target means are out of fold here, so train on this table.
    """

    plan: FeaturePlan
    table: pa.Table


@stage(cache="30d", timeout="10m")
def fit_plan(table: pa.Table, steps: Sequence[PlanStep], keep: Sequence[str] = ()) -> Planned:
    """Fit each step on the training rows as those before it left them.

    Args:
        table: Training rows; never rows to be judged or served.
        steps: One fitter with its parameters each, see ``FITTERS``.
        keep: Raw columns to carry along in the table, such as the target.

    Raises:
        ConfigError: a fitter or a parameter is not known; offers the closest.
        NotFound, DataRejected: as the fitters; or no step makes a numeric column.
    """
    where = "The table given to fit_plan"
    require_columns(table.column_names, keep, where)
    fitted: list[Transform] = []
    inputs: dict[str, InputKind] = {}
    made: dict[str, None] = {}
    rows = table
    for position, step in enumerate(steps):
        transform = _fit(step, position, rows)
        inputs |= {name: kind for name, kind in transform.inputs.items() if name not in made and name not in inputs}
        rows = transform.training(rows)
        made |= dict.fromkeys(transform.makes)
        fitted.append(transform)
    kinds = {field.name: field.type for field in rows.schema}
    names = [name for name in made if name in kinds and is_numeric(kinds[name])]
    if not names:
        raise DataRejected("The plan makes no numeric column to train on; add a step such as onehot or numbers.")
    if clash := [name for name in keep if name in names]:
        raise DataRejected(f"fit_plan cannot keep {clash}: the plan's own columns have these names.", column=clash[0])
    encoded = matrix(rows, names, where)
    columns = [pa.array(encoded[:, i], from_pandas=True) for i in range(len(names))]
    kept = [table.column(name) for name in keep]
    return Planned(FeaturePlan(fitted, names, inputs), pa.table([*columns, *kept], names=[*names, *keep]))


def _fit(step: PlanStep, position: int, rows: pa.Table) -> Transform:
    name, parameters = read_step(step, f"Step {position} of the plan")
    return FITTERS[name](rows, **parameters)


def read_step(step: PlanStep, where: str = "The step") -> tuple[str, Mapping[str, Any]]:
    """The name of a fitter and its parameters.

    Raises:
        ConfigError: it is no such step; offers the closest name.
    """
    if not isinstance(step, Mapping) or len(step) != 1:
        raise ConfigError(f"{where} must be one fitter with its parameters, not {step!r}")
    ((name, parameters),) = step.items()
    if name not in FITTERS:
        raise ConfigError(
            f"{where}: there is no fitter {name!r}.{suggestion(name, FITTERS)} There are: {', '.join(FITTERS)}."
        )
    signature = inspect.signature(FITTERS[name])
    known = list(signature.parameters)[1:]
    for parameter in parameters:
        if parameter not in known:
            raise ConfigError(
                f"{where}: {name} takes no {parameter!r}.{suggestion(parameter, known)} It takes: {', '.join(known)}."
            )
    columns = parameters.get("columns", [])
    if not isinstance(columns, list | tuple) or not all(isinstance(column, str) for column in columns):
        raise ConfigError(f"{where}: the columns of {name} are a list of names, not {columns!r}")
    try:
        signature.bind(None, **parameters)
    except TypeError as error:
        raise ConfigError(f"{where}: {name}: {error}") from None
    return name, parameters
