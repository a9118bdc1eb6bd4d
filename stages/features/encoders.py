"""Fitted encoders: what was learned from the training rows, and how it turns any row into numbers.

The state is a dataclass of plain lists and numbers, so it is stored, compared and sent to a server as
data. Training, validation and serving all go through ``Features.encode``: one row encodes exactly as it
would inside a batch, which leaves no room for train/serve skew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.columns import Floats, floats, require_columns
from stages.errors import DataRejected
from stages.transforms import InputKind

UNSEEN = -1
"""Code of a category that training did not see, and of a missing one."""


@dataclass(frozen=True)
class Category:
    """Text to a whole number, the position in ``values``, or to one 0/1 column for each value.

    Attributes:
        values: Categories seen in training, sorted; others get ``UNSEEN``, or only zeros.
        onehot: One column for each value instead of one of codes.
    """

    column: str
    values: list[str]
    onehot: bool = False
    kind: ClassVar[InputKind] = "text"

    @property
    def names(self) -> list[str]:
        """Columns it makes."""
        return [f"{self.column}={value}" for value in self.values] if self.onehot else [self.column]

    def encode(self, column: Any) -> list[Floats]:
        """Encode an Arrow column; one array for each of ``names``."""
        if pa.types.is_dictionary(column.type):
            column = pc.cast(column, column.type.value_type)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise DataRejected(f"Column {self.column!r} holds {column.type}; text is needed here.", column=self.column)
        found = pc.index_in(column, pa.array(self.values, column.type), skip_nulls=True)
        codes = pc.fill_null(found, UNSEEN).to_numpy().astype(np.float64)
        if not self.onehot:
            return [codes]
        return [(codes == position).astype(np.float64) for position in range(len(self.values))]


@dataclass(frozen=True)
class Number:
    """A number, its gaps filled and scaled: ``(value - center) / scale``.

    Attributes:
        fill: Replaces a missing value; None leaves it missing, which trees can use.
    """

    column: str
    fill: float | None = None
    center: float = 0.0
    scale: float = 1.0
    kind: ClassVar[InputKind] = "number"

    @property
    def names(self) -> list[str]:
        """Columns it makes."""
        return [self.column]

    def encode(self, column: Any) -> list[Floats]:
        """Encode an Arrow column; one array for each of ``names``."""
        values = floats(column, self.column)
        if self.fill is not None:
            values = np.where(np.isnan(values), self.fill, values)
        return [(values - self.center) / self.scale]


@dataclass(frozen=True)
class Calendar:
    """Numbers from a timestamp without a zone (local time): ``hour``, ``weekday`` (Monday is 0), and their circles."""

    column: str
    parts: list[str]
    kind: ClassVar[InputKind] = "time"

    @property
    def names(self) -> list[str]:
        """Columns it makes."""
        return [f"{self.column}.{part}" for part in self.parts]

    def encode(self, column: Any) -> list[Floats]:
        """Encode an Arrow column; one array for each of ``names``, NaN where the time is missing."""
        if not pa.types.is_timestamp(column.type) or column.type.tz is not None:
            raise DataRejected(
                f"Column {self.column!r} holds {column.type}; a timestamp without a zone is needed here.",
                column=self.column,
            )
        seconds = floats(pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64()), self.column)
        return [CALENDAR_PARTS[part](seconds) for part in self.parts]


def _yearday(seconds: Floats) -> Floats:
    days = _dates(seconds)
    return _or_missing((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64) + 1, seconds)


def _day(seconds: Floats) -> Floats:
    days = _dates(seconds)
    return _or_missing((days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.float64) + 1, seconds)


def _month(seconds: Floats) -> Floats:
    return _or_missing(_dates(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1.0, seconds)


def _dates(seconds: Floats) -> Any:
    return (np.nan_to_num(seconds) // 86_400).astype(np.int64).astype("datetime64[D]")


def _or_missing(values: Floats, seconds: Floats) -> Floats:
    return np.where(np.isnan(seconds), np.nan, values)


def _weekday(seconds: Floats) -> Floats:
    return (seconds // 86_400 + 3) % 7  # the epoch began on a Thursday


def _circle(of: Callable[[Floats], Floats], period: float, function: Callable[[Floats], Floats]) -> Any:
    return lambda seconds: function(2 * np.pi * of(seconds) / period)


def _hour(seconds: Floats) -> Floats:
    return seconds % 86_400 / 3600


CALENDAR_PARTS: Mapping[str, Callable[[Floats], Floats]] = {
    "minute_of_day": lambda seconds: seconds % 86_400 // 60,
    "hour": _hour,
    "weekday": _weekday,
    "day": _day,
    "yearday": _yearday,
    "month": _month,
    "hour_sin": _circle(_hour, 24, np.sin),
    "hour_cos": _circle(_hour, 24, np.cos),
    "weekday_sin": _circle(_weekday, 7, np.sin),
    "weekday_cos": _circle(_weekday, 7, np.cos),
}
"""What ``Calendar`` can make of seconds since 1970 (NaN where the time is missing)."""

Encoder: TypeAlias = Category | Number | Calendar


@dataclass(frozen=True)
class Features:
    """The fitted state of all encoders, and the order of the columns they make.

    Attributes:
        names: Columns of the encoded table, in the order that models were trained on.
        categorical: Those of them that hold codes, not quantities.
    """

    categories: list[Category]
    numbers: list[Number]
    calendars: list[Calendar]
    names: list[str]
    categorical: list[str]

    @property
    def encoders(self) -> list[Encoder]:
        """All encoders in the order of their columns."""
        return [*self.categories, *self.numbers, *self.calendars]

    @property
    def inputs(self) -> dict[str, InputKind]:
        """Raw columns that a row needs, and what each must hold."""
        return {encoder.column: encoder.kind for encoder in self.encoders}

    def encode(self, table: pa.Table, where: str = "The table to encode") -> Floats:
        """Encode raw rows: shape (rows, len(names)), NaN where a value is missing.

        Raises:
            NotFound: an input column is missing.
            DataRejected: an input column is of the wrong type.
        """
        require_columns(table.column_names, self.inputs, where)
        arrays = [array for encoder in self.encoders for array in encoder.encode(table.column(encoder.column))]
        return np.column_stack(arrays) if arrays else np.empty((table.num_rows, 0))


def assembled(
    categories: Sequence[Category] = (),
    numbers: Sequence[Number] = (),
    calendars: Sequence[Calendar] = (),
) -> Features:
    """Features from encoders fitted elsewhere."""
    encoders: list[Encoder] = [*categories, *numbers, *calendars]
    names = [name for encoder in encoders for name in encoder.names]
    categorical = [category.column for category in categories if not category.onehot]
    return Features(list(categories), list(numbers), list(calendars), names, categorical)
