"""Reading the column that a model is to predict."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import Floats, column_floats
from stages.errors import DataRejected


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
