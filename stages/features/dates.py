"""Numbers from times: calendar parts and the circles of hour and weekday."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from stages.columns import require_choice, require_columns, set_numbers
from stages.features.encoders import CALENDAR_PARTS, Calendar
from stages.transforms import InputKind, Transform


@dataclass(frozen=True)
class DateParts(Transform):
    """Calendar parts and their circles from local timestamps, as ``time.hour`` and so on; see ``CALENDAR_PARTS``."""

    parts: list[str]

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Timestamps without a zone."""
        return dict.fromkeys(self.columns, "time")

    @property
    def makes(self) -> list[str]:
        """One column for each part."""
        return [f"{column}.{part}" for column in self.columns for part in self.parts]

    def apply(self, table: pa.Table) -> pa.Table:
        """Add the parts."""
        require_columns(table.column_names, self.columns, self.place)
        for column in self.columns:
            calendar = Calendar(column, self.parts)
            for name, values in zip(calendar.names, calendar.encode(table.column(column)), strict=True):
                table = set_numbers(table, name, values)
        return table


def fit_dates(table: pa.Table, columns: Sequence[str], parts: Sequence[str] = ("hour", "weekday")) -> DateParts:
    """Calendar parts of timestamp columns.

    Args:
        parts: From ``CALENDAR_PARTS``; those ending in ``_sin`` and ``_cos`` put hour and weekday on a circle.

    Raises:
        NotFound: a column is missing.
        DataRejected: a column holds no timestamps without a zone.
        ConfigError: a part is not known.
    """
    for part in parts:
        require_choice(part, CALENDAR_PARTS, "A calendar part")
    dates = DateParts(list(columns), list(parts))
    dates.apply(table.slice(0, 0))
    return dates
