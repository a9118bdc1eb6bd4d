"""What ``--json`` prints about runs beside each other, and about what goes on: differences, forks, logs, waits."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class DifferingItem(Struct, frozen=True):
    """One thing that differs, and what it is in each run; null where a run has no such thing."""

    name: str
    before: str | None
    after: str | None


class StepDifferenceItem(Struct, frozen=True):
    """One node in both runs.

    ``before`` and ``after`` are digests of its outputs, or what became of it; ``differing`` of its ``steps`` differ,
    null if they are too many to look at. ``own`` means that it differs although none of its inputs does. ``busy_s``
    is the wall time of its bodies, ``cpu_s`` that times the CPUs they held; null where nothing ran.
    ``reused_from_history`` is how many of its steps the second run took over from an earlier one.
    """

    address: str
    before: str | None
    after: str | None
    steps: int
    differing: int | None
    causes: list[str]
    own: bool
    busy_s_before: float | None
    busy_s_after: float | None
    cpu_s_before: float | None
    cpu_s_after: float | None
    reused_from_history: int


class RunDifferenceDocument(Struct, frozen=True, tag_field="kind", tag="difference"):
    """Output of ``orc diff A B --json``, and the last line of ``orc fork --json``.

    Lists of rows hold what differs only; ``steps`` holds all steps. ``first`` is the first step, in the order of the
    graph, that differs by itself. ``forked_from`` is the step at which the second run left the history of the first.
    """

    before: str
    after: str
    identical: bool
    first: str | None
    forked_from: str | None
    summary: list[DifferingItem]
    params: list[DifferingItem]
    code: list[DifferingItem]
    data: list[DifferingItem]
    environment: list[DifferingItem]
    metrics: list[DifferingItem]
    steps: list[StepDifferenceItem]


class ForkItem(Struct, frozen=True):
    """What a fork does with a node: ``history`` of ``finished`` steps is taken over, the others run.

    ``action`` is ``keep``, ``drop`` (it is finished and runs again), ``run``, ``new`` or ``remove``.
    """

    node: str
    action: Literal["keep", "drop", "run", "new", "remove"]
    finished: int
    steps: int | None
    part: Literal["", "code", "inputs", "parameters", "environment"]
    reason: str
    was: str


class ForkDocument(Struct, frozen=True):
    """Output of ``orc fork --dry-run --json``.

    ``calls`` of ``@dynamic`` bodies are taken over; ``acting`` are steps with effects that would act again and have to
    be named with ``--repeat``.
    """

    run: str
    step: str
    nodes: list[ForkItem]
    calls: list[str]
    acting: list[str]


class LogLineItem(Struct, frozen=True):
    """A line of ``orc logs --json``: ``line`` counts within the attempt; ``at`` is null while the step runs."""

    step: str
    attempt: int
    line: int
    text: str
    worker: str
    at: str | None


class ActiveRunItem(Struct, frozen=True):
    """A run that has not ended; ``driver`` is null if nobody drives it. ``slots`` are those of its driver."""

    run: str
    pipeline: str
    state: str
    driver: str | None
    done: int
    running: int
    queued: int
    elapsed_s: float
    slots: int


class WorkingItem(Struct, frozen=True):
    """Steps of one node that a worker has, and for how long."""

    run: str
    worker: str
    host: str
    step: str
    steps: int
    since: str
    busy_s: float


class QueuedItem(Struct, frozen=True):
    """Steps of one node that could run and that no worker has yet; ``why`` says which resource they wait for."""

    run: str
    step: str
    steps: int
    why: str


class TopDocument(Struct, frozen=True):
    """Output of ``orc top --json``: what goes on at one moment."""

    at: str
    runs: list[ActiveRunItem]
    workers: list[WorkingItem]
    queue: list[QueuedItem]


class WaitItem(Struct, frozen=True):
    """A time in which a step could not go on; ``until`` is null while it goes on."""

    what: Literal["input", "worker", "retry", "answer"]
    since: str
    until: str | None
    waited_s: float
    why: str


class KeyPartItem(Struct, frozen=True):
    """A part of a cache key that was another: how it looked, or the beginning of its digest."""

    name: str
    before: str
    now: str


class InputItem(Struct, frozen=True):
    """An argument of a step: where it came from (empty for a constant), and how it looks."""

    name: str
    source: str
    preview: str
