"""What the API answers about runs that are compared."""

from __future__ import annotations

from orchestrator.api.schemas import Document


class ComparedRow(Document):
    """One thing and what it is in each run; null where a run has no such thing."""

    name: str
    values: list[str | None]
    equal: bool


class ComparedStep(Document):
    """One node and what came of it in each run.

    ``outcomes`` are digests of its outputs, or what became of it; ``differing`` counts those of its ``steps`` that
    differ, null if they are too many to look at. ``own`` says that no input from another step differs.
    """

    address: str
    outcomes: list[str | None]
    steps: int
    differing: int | None
    equal: bool
    causes: list[str]
    own: bool
    previews: list[str]
    busy_s: list[float | None]


class ComparedSeries(Document):
    """A metric as it was reported in each run, in order; null stands for what is no finite number."""

    name: str
    values: list[list[float | None]]


class ChangedSource(Document):
    """A file of the project that differs between the first run and ``run``: lines of a unified diff."""

    file: str
    run: str
    lines: list[str]


class RunComparison(Document):
    """What differs between runs; the first is the one that others are compared with.

    ``first`` is the step, in the order of the graph, where it began; null if all steps gave the same.
    """

    runs: list[str]
    identical: bool
    first: ComparedStep | None
    summary: list[ComparedRow]
    params: list[ComparedRow]
    data: list[ComparedRow]
    code: list[ComparedRow]
    environment: list[ComparedRow]
    metrics: list[ComparedRow]
    steps: list[ComparedStep]
    series: list[ComparedSeries]
    sources: list[ChangedSource]
