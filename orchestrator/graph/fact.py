"""Facts: what happened in a run, in the past tense.

A run is a fold over these. They carry ranges, so that a map of a million items is a few thousand facts; exceptions to a
range are sparse facts of their own. Times are wall-clock seconds, given by the journal when a fact is appended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from orchestrator.graph.durations import part_of, total_us
from orchestrator.graph.failure import Failure as Failure
from orchestrator.graph.handover import TagMove
from orchestrator.graph.quality import CheckOutcome

RunState = Literal["queued", "running", "waiting", "succeeded", "degraded", "failed", "cancelled"]
FINISHED: frozenset[str] = frozenset({"succeeded", "degraded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Position:
    """Where a cursor stands: its value as JSON, and how often it was moved (0: it was never there)."""

    value: str
    version: int


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run exists: its graph and code are stored under these digests.

    Attributes:
        files: Version of each file that a constant argument names, when the run was made.
        origin: The run whose record this one repeats; empty for a run of its own.
        verifies: It compares itself with ``origin``: nothing comes from the cache, and steps with effects do not run.
        cursors: Where the pipeline's cursors stood when the run was made; its steps read from there, whatever happens.
        repeats: ``origin`` succeeded, so this run reads what that one read and moves no cursor.
        versions: What each named version that the pipeline asked for was then: ``data:flights@v3``.
        forked: The step of ``origin`` from which this run went its own way; empty if it is no fork.
    """

    pipeline: str
    graph: str
    capsule: str
    params: Mapping[str, str]
    on: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    seed: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    verifies: bool = False
    cursors: Mapping[str, Position] = field(default_factory=dict)
    repeats: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    forked: str = ""


@dataclass(frozen=True, slots=True)
class DriverStarted:
    """A driver took the run over under a new epoch; unfinished steps are pending again."""

    epoch: int
    driver: str
    host: str
    pid: int
    backend: str
    slots: int = 0


@dataclass(frozen=True, slots=True)
class CodeChanged:
    """The run goes on with other code: from here on its graph is ``document``, stored under ``graph``.

    Attributes:
        document: JSON form of the sealed graph: the state of a run follows from its facts alone.
        kept: Nodes of the new graph that have what the run knew of a node before: the id of that one.
        dropped: Nodes whose finished steps do not count any more.
        files: As in ``RunCreated``, for the new graph.
    """

    graph: str
    capsule: str
    document: Mapping[str, Any]
    kept: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    git_commit: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeAdded:
    """A ``@dynamic`` body called a stage: ``node`` is the JSON form of the new node, its arguments sealed.

    Attributes:
        parent: Node and item of the ``@dynamic`` step; ``ordinal`` counts its calls from 0.
        key: Digest of stage fingerprint and input digests; a replay must come to the same.
    """

    parent: str
    index: int
    ordinal: int
    key: str
    node: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MapExpanded:
    """The width of a map became known."""

    node: str
    width: int


@dataclass(frozen=True, slots=True)
class StepsStarted:
    """Steps went to a worker in one bundle; ``bundle`` is random and is the attempt's id."""

    node: str
    start: int
    stop: int
    bundle: str
    worker: str


@dataclass(frozen=True, slots=True)
class BundleStarted:
    """Steps of several nodes went to a worker in one bundle: ranges (node, start, stop); else as ``StepsStarted``."""

    steps: tuple[tuple[str, int, int], ...]
    bundle: str
    worker: str


@dataclass(frozen=True, slots=True)
class StepsCompleted:
    """Steps ``start..stop`` have outputs: cells ``at, at+1, …`` of a chunk.

    Attributes:
        chunk: Digest of the chunk that holds the outputs.
        elapsed_us: Wall time of each body in microseconds, little-endian uint32 each; empty when not measured.
        truth: ``bool(output)`` if a branch waits for it (single steps of kind ``branch`` only).
        length: ``len(output)`` if the output is a list (single steps only): the width of maps over it.
        cached: Run whose output was reused; empty if the steps ran.
        degraded: A fallback took the place of the output.
        cpu_us, peak_bytes: CPU time of all of them, and the most memory that their worker held; 0 if not measured.
    """

    node: str
    start: int
    stop: int
    chunk: str
    at: int = 0
    elapsed_us: bytes = b""
    truth: bool | None = None
    length: int | None = None
    cached: str = ""
    degraded: bool = False
    worker: str = ""
    cpu_us: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NodesCompleted:
    """The only steps of several nodes have outputs: cells ``at, at+1, …`` of a chunk; else as ``StepsCompleted``.

    Attributes:
        truths, lengths: By place in ``nodes``, where there is one.
    """

    nodes: tuple[str, ...]
    chunk: str
    at: int = 0
    elapsed_us: bytes = b""
    truths: Mapping[int, bool] = field(default_factory=dict)
    lengths: Mapping[int, int] = field(default_factory=dict)
    worker: str = ""
    cpu_us: int = 0
    peak_bytes: int = 0

    def one(self, place: int, whole_us: int | None = None) -> StepsCompleted:
        """What this says of one of the nodes; ``whole_us`` is the time of all bodies."""
        elapsed_us = self.elapsed_us[4 * place : 4 * place + 4]
        cpu_us = part_of(self.cpu_us, self.elapsed_us, place, whole_us)
        return StepsCompleted(
            self.nodes[place], 0, 1, self.chunk, self.at + place, elapsed_us,
            self.truths.get(place), self.lengths.get(place), worker=self.worker, cpu_us=cpu_us,
            peak_bytes=self.peak_bytes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatchesProduced:
    """A streaming step produced batches ``start..stop``: cells ``at, …`` of a chunk."""

    node: str
    start: int
    stop: int
    chunk: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class CacheMissed:
    """Cached steps have to run; ``reason`` names the part of the key that decided.

    The stored output that comes closest is of the run ``nearest``; ``changed`` parts of its key were and are such.
    """

    node: str
    start: int
    stop: int
    reason: str
    nearest: str = ""
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt failed and will be repeated at ``retry_at`` (wall-clock seconds)."""

    node: str
    index: int
    failure: Failure
    retry_at: float
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed for good; ``action`` says what that means for the run."""

    node: str
    index: int
    failure: Failure
    action: Literal["fail", "drop", "keep", "fallback"] = "fail"
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class StepsSkipped:
    """Steps will not run: a branch went the other way, or an item they depend on was dropped."""

    node: str
    start: int
    stop: int
    reason: Literal["branch", "dropped", "cancelled", "upstream_failed"]


@dataclass(frozen=True, slots=True)
class MetricsReported:
    """``step().report(...)`` inside a stage."""

    node: str
    index: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ChecksReported:
    """What an attempt made was checked; of a stream, all of its batches as one. ``chunk`` is empty if no row failed."""

    node: str
    index: int
    results: tuple[CheckOutcome, ...]
    chunk: str = ""
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class TableProfiled:
    """A table that an attempt made is described in a cell of a chunk."""

    node: str
    index: int
    chunk: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """``step().checkpoint(...)`` inside a stage: kept for the step's next attempt, in place of the one before."""

    node: str
    index: int
    chunk: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class CursorsRead:
    """A step that has just completed read cursors, and proposes where they stand next (JSON by name, may be empty).

    What is proposed counts when the run succeeds. The output depends on where the cursors stood: it is not reused.
    """

    node: str
    index: int
    proposed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """The run is about to succeed: its cursor moves, in the transaction of ``RunFinished``.

    Attributes:
        value: JSON.
        version: That the cursor had when the run was made; the fact is refused if it has another by now.
    """

    pipeline: str
    name: str
    value: str
    version: int


@dataclass(frozen=True, slots=True)
class TagsMoved:
    """A step that has just completed returned a ``Handover``: these tags move in the transaction of its outcome.

    A tag that is not where its move says it is stays where it is, and so does one whose version is gone. The stage of
    a model moves only back to a version that has been there.
    """

    node: str
    moves: tuple[TagMove, ...]


@dataclass(frozen=True, slots=True)
class VersionPublished:
    """The output of a step that has just completed is a version of a named data set or model.

    The journal counts the versions of a name; what equals the newest one makes no new one.

    Attributes:
        digest: Of the content.
        cell: The output as chunks hold it, so that the version outlives its run.
    """

    name: str
    digest: str
    cell: bytes
    node: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class LogsWritten:
    """Where the output of steps ``start..stop`` stands: two byte offsets per step in the log ``file`` of a worker."""

    node: str
    start: int
    stop: int
    file: str
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """A worker process came up."""

    worker: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker process or node died; the steps it held and had not delivered run again."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """An ``approve`` or ``signal`` step waits; ``deadline`` in wall-clock seconds, None for ever."""

    node: str
    text: str
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked for the run to end."""

    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SupervisionEnded:
    """Whoever started a new driver for the run whenever one died has given up; the run can be resumed."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run has ended. ``outcome`` is ``refused`` when a gate said no."""

    state: RunState
    reason: str = ""
    outcome: str = ""


Fact: TypeAlias = (
    RunCreated | DriverStarted | CodeChanged | NodeAdded | MapExpanded | StepsStarted | BundleStarted | StepsCompleted
    | NodesCompleted | BatchesProduced | CacheMissed | AttemptFailed | StepFailed | StepsSkipped | MetricsReported
    | ChecksReported | TableProfiled | CheckpointSaved | CursorsRead | CursorMoved | VersionPublished | TagsMoved
    | LogsWritten | WorkerStarted | WorkerLost | ApprovalRequested | CancelRequested | SupervisionEnded | RunFinished
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact with its place in the journal: gap-free ``seq`` from 1, and wall-clock seconds."""

    seq: int
    at: float
    fact: Fact


def apart(fact: Fact) -> Iterator[Fact]:
    """A fact about several nodes as facts about one each; any other as it is."""
    if isinstance(fact, NodesCompleted):
        whole_us = total_us(fact.elapsed_us)
        yield from (fact.one(place, whole_us) for place in range(len(fact.nodes)))
    elif isinstance(fact, BundleStarted):
        for node, start, stop in fact.steps:
            yield StepsStarted(node, start, stop, fact.bundle, fact.worker)
    else:
        yield fact
