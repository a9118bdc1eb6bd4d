"""What ``--json`` prints about data: its versions, their differences, cursors, quality, and the trials of sweeps."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class VersionItem(Struct, frozen=True):
    """A version of a data set or model; ``run`` and ``step`` published it first."""

    address: str
    name: str
    number: int
    digest: str
    type: str
    size_bytes: int
    length: int | None
    preview: str
    run: str
    step: str
    published_at: str
    tags: list[str]


class CursorItem(Struct, frozen=True):
    """Where a cursor stands: its value, how often it was moved, and the run that moved it last."""

    pipeline: str
    name: str
    value: Any
    moved: int
    run: str
    at: str


class ColumnItem(Struct, frozen=True):
    """A column in numbers; ``quantiles`` are those of 25, 50 and 75 %."""

    type: str
    nulls: int
    minimum: Any
    maximum: Any
    mean: float | None
    quantiles: list[float]
    distinct: int | None


class ColumnDifferenceItem(Struct, frozen=True):
    """A column in both versions, null where one lacks it; ``distance`` of the distributions is 0 (the same) to 1."""

    name: str
    before: ColumnItem | None
    after: ColumnItem | None
    distance: float | None


class PartItem(Struct, frozen=True):
    """A part that differs; previews, null where a version lacks it."""

    name: str
    before: str | None
    after: str | None


class DifferenceDocument(Struct, frozen=True):
    """Output of ``orc diff --json``. ``rows`` is null unless both are tables; ``metrics`` are before and after."""

    before: VersionItem
    after: VersionItem
    equal: bool
    rows: tuple[int, int] | None
    columns: list[ColumnDifferenceItem]
    parts: list[PartItem]
    metrics: dict[str, tuple[float | None, float | None]]


class TrialItem(Struct, frozen=True):
    """One trial of a sweep. ``value`` is null if it never had one; ``reports`` are the metrics of each report."""

    params: dict[str, Any]
    state: Literal["running", "finished", "stopped", "failed"]
    value: float | None
    reports: list[dict[str, float]]
    error: str


class SweepDocument(Struct, frozen=True):
    """Output of ``orc show RUN STEP --json`` for a sweep; ``best`` is a place in ``trials``, counted from 0."""

    run: str
    address: str
    metric: str
    mode: Literal["max", "min"]
    best: int
    trials: list[TrialItem]


class CheckedItem(Struct, frozen=True):
    """What one check found in the output of a step, or of all steps of a map.

    ``checked`` and ``failed`` count rows, ``items`` the steps that did not pass; ``message`` is of the first of them.
    """

    name: str
    severity: str
    state: str
    checked: int
    failed: int
    items: int
    message: str
    column: str


class ProfileItem(Struct, frozen=True):
    """A table that a step made: itself, or a ``part`` of its output.

    ``rows`` and the ``nulls`` of ``columns`` are exact; the rest is of the ``sampled`` rows. ``problem`` says why there
    is nothing but the number of rows.
    """

    item: int
    part: str
    rows: int
    sampled: int
    columns: list[dict[str, Any]]
    problem: str


class QualityItem(Struct, frozen=True):
    """One node of a run that has checks or tables."""

    address: str
    checks: list[CheckedItem]
    profiles: list[ProfileItem]


class QualityDocument(Struct, frozen=True):
    """Output of ``orc quality --json``."""

    run: str
    steps: list[QualityItem]
