"""Learning the state of encoders from training rows, and applying it to any rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.columns import column_floats, require_columns, suggestion
from stages.errors import DataRejected
from stages.features.encoders import CALENDAR_PARTS, Calendar, Category, Features, Number, assembled
from stages.features.plan import FeaturePlan


@stage(cache="30d", timeout="10m")
def fit_features(
    table: pa.Table,
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    calendars: Mapping[str, Sequence[str]] | None = None,
    onehot: bool = False,
    impute: bool = False,
    scale: bool = False,
    min_rows: int = 1,
) -> Features:
    """Fit encoders on training rows; nothing is ever fitted on rows to be judged or served.

    Args:
        categories: Text columns.
        numbers: Numeric columns.
        calendars: Calendar parts by timestamp column, see ``CALENDAR_PARTS``.
        onehot: Make 0/1 columns of categories instead of codes.
        impute: Fill missing numbers with the training median instead of leaving them missing.
        scale: Bring numbers to mean 0 and standard deviation 1 of the training rows.
        min_rows: Categories rarer than this count as unseen.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is of the wrong type, or a numeric one holds no value to learn from.
        ConfigError: a calendar part is not known, or a column is named twice.
    """
    where = "The table given to fit_features"
    calendars = calendars or {}
    named = [*categories, *numbers, *calendars]
    require_columns(table.column_names, named, where)
    if len(set(named)) < len(named):
        raise ConfigError(f"fit_features takes each column once, not {sorted(named)}")
    for part in (part for parts in calendars.values() for part in parts):
        if part not in CALENDAR_PARTS:
            raise ConfigError(f"There is no calendar part {part!r}.{suggestion(part, CALENDAR_PARTS)}")
    return assembled(
        [_fit_category(table, name, onehot, min_rows) for name in categories],
        [_fit_number(table, name, impute, scale) for name in numbers],
        [Calendar(name, list(parts)) for name, parts in calendars.items()],
    )


def _fit_category(table: pa.Table, name: str, onehot: bool, min_rows: int) -> Category:
    kind = table.schema.field(name).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataRejected(f"Column {name!r} holds {kind}; a category must be text.", column=name)
    counts = pc.value_counts(table.column(name)).to_pylist()
    return Category(
        name,
        sorted(entry["values"] for entry in counts if entry["values"] is not None and entry["counts"] >= min_rows),
        onehot,
    )


def _fit_number(table: pa.Table, name: str, impute: bool, scale: bool) -> Number:
    values = column_floats(table, name, "The table given to fit_features")
    present = values[~np.isnan(values)]
    if not present.size and (impute or scale):
        raise DataRejected(f"Column {name!r} holds no value to learn from.", column=name)
    fill = float(np.median(present)) if impute else None
    if not scale:
        return Number(name, fill)
    filled = present if fill is None else np.where(np.isnan(values), fill, values)
    return Number(name, fill, center=float(filled.mean()), scale=float(filled.std()) or 1.0)


@stage(scope="rows", cache="30d", timeout="10m")
def transform(table: pa.Table, features: Features | FeaturePlan, keep: Sequence[str] = ()) -> pa.Table:
    """Encode raw rows into a table of float64 columns, with some raw columns kept beside them.

    Args:
        keep: Raw columns to carry along, such as the target.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is of the wrong type, or a kept one has the name of an encoded one.
    """
    where = "The table given to transform"
    require_columns(table.column_names, keep, where)
    if clash := [name for name in keep if name in features.names]:
        raise DataRejected(f"transform cannot keep {clash}: the encoded columns have these names.")
    encoded = features.encode(table, where)
    columns = [pa.array(encoded[:, i], from_pandas=True) for i in range(encoded.shape[1])]
    return pa.table([*columns, *(table.column(name) for name in keep)], names=[*features.names, *keep])
