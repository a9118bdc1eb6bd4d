"""How often each text of a column occurs, counted in parts and added up: what encoders of text are made of.

Counts and sums of whole numbers add up exactly, so an encoder fitted on parts is the one fitted on the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import require_columns, texts
from stages.errors import DataRejected

WHERE = "The table to encode"


@dataclass(frozen=True)
class TextCounts:
    """What some text columns held.

    Attributes:
        rows: Rows looked at.
        found: By column a table of ``value`` and ``rows``; missing values are not in it.
    """

    columns: list[str]
    rows: int
    found: list[pa.Table]

    def by_frequency(self) -> list[dict[str, int]]:
        """Rows by value for each column, the most frequent first, equals in alphabetical order.

        Raises:
            DataRejected: there were no rows, or a column held no value.
        """
        if not self.rows:
            raise DataRejected(f"{WHERE} has no rows; look at what was read or filtered before it.")
        counted = []
        for name, found in zip(self.columns, self.found, strict=True):
            if not found.num_rows:
                raise DataRejected(
                    f"Column {name!r} holds no value to learn from in {self.rows} rows; leave it out.", column=name
                )
            pairs = zip(found["value"].to_pylist(), found["rows"].to_pylist(), strict=True)
            counted.append(dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))))
        return counted


def count_texts(table: pa.Table, columns: Sequence[str]) -> TextCounts:
    """Look at one table, or a part of one; no rows are fine.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column is not text.
    """
    require_columns(table.column_names, columns, WHERE)
    found = []
    for name in columns:
        counts = pc.value_counts(texts(table.column(name), name).drop_null())
        found.append(pa.table({"value": counts.field("values"), "rows": counts.field("counts")}))
    return TextCounts(list(columns), table.num_rows, found)


def added_counts(parts: Sequence[TextCounts]) -> TextCounts:
    """What all parts held together."""
    found = [added_up(tables) for tables in zip(*(part.found for part in parts), strict=True)]
    return TextCounts(parts[0].columns, sum(part.rows for part in parts), found)


def added_up(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of ``value`` and numbers as one, in which each value occurs once and its numbers are added in order."""
    if len(tables) == 1:
        return tables[0]
    names = [name for name in tables[0].column_names if name != "value"]
    grouped = pa.concat_tables(tables).group_by("value", use_threads=False)
    summed = grouped.aggregate([(name, "sum") for name in names])
    return summed.select(["value", *(f"{name}_sum" for name in names)]).rename_columns(["value", *names])
