"""What a row of the benchmark is: columns that are measured in turn, and targets that are kept or missed.

A column is called with a fresh 60-bit salt that goes through every step, so that nothing can be reused, and returns a
reading. Its answer is compared with the row's own, worked out in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FASTER, OVER = "faster", "over"


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement of one column.

    Attributes:
        value: In the unit of the row.
        answer: What was computed; every column has to come to the same.
        figures: Further numbers by name; the name says the unit.
    """

    value: float
    answer: Any = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the median of a column, or on one of its figures.

    Attributes:
        kind: ``times``: the base is at least ``limit`` times the value. ``share``: the value is at most ``limit`` times
            the base. ``more``: the value is at most the base and ``limit``. ``most`` and ``least``: bounds in the unit
            of the row (or figure).
        base: Column to compare with; for ``most`` and ``least`` none.
        figure: Name of the figure that is meant; empty for the value.
    """

    column: str
    kind: Literal["times", "share", "more", "most", "least"]
    limit: float
    base: str = ""
    figure: str = ""


Column = Callable[[int], Reading]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of targets.

    Attributes:
        key: Short name, for the command line.
        title: What is done, with its size.
        unit: Of the values; ``larger_is_better`` if it is a rate.
        columns: What is measured, in the order in which it is shown.
        expected: The right answer for a salt.
        base: Column that ratios refer to; empty if there is none to compare with.
        ratio: ``faster`` shows how many times faster than the base a column is, ``over`` what it takes beyond it.
        warm: Run right before each measurement of the column of that name, uncounted: the same in small.
        most_repeats: Upper bound on repetitions, for rows that take minutes.
        needs_ray: A Ray has to be up.
        note: What a reader has to know.
        size: What rows of one kind differ in, as a number; 0 if there is nothing to compare.
    """

    key: str
    title: str
    unit: str
    columns: Mapping[str, Column]
    expected: Callable[[int], Any]
    targets: Sequence[Target] = ()
    base: str = ""
    ratio: Literal["faster", "over"] = "faster"
    larger_is_better: bool = False
    warm: Mapping[str, Column] = field(default_factory=dict)
    most_repeats: int = 1000
    needs_ray: bool = True
    note: str = ""
    size: int = 0
