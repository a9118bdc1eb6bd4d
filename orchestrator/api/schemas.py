"""What the API answers: one class per document, from which the published OpenAPI document is made.

Times are ISO 8601 in UTC, durations seconds, sizes bytes. Documents change only with the facts of a run, so their ETags
do too: what is under way has a beginning and no end.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

RunStateName = Literal["queued", "running", "waiting", "succeeded", "degraded", "failed", "cancelled"]
StepStateName = Literal[
    "pending", "running", "waiting", "retrying", "succeeded", "cached", "degraded", "dropped", "failed", "skipped",
    "cancelled",
]  # fmt: skip


class Document(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(Document):
    """Why a request was refused or failed (RFC 9457); ``code`` is that of the error in the reference."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class Run(Document):
    """One run. ``driver`` is null when no living process drives it; ``seq`` numbers its last fact."""

    id: str
    pipeline: str
    state: RunStateName
    driver: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    tags: dict[str, str]
    seq: int


class RunPage(Document):
    """Runs, newest first; ``next`` is the cursor of what follows, null at the end."""

    items: list[Run]
    next: str | None


class Waiting(Document):
    """A step that waits for an answer: an ``approval`` by a person, or a ``signal``."""

    step: str
    kind: str
    text: str
    deadline: str | None


class Used(Document):
    """What steps used of what was reserved for them, and what that costs by the table of prices.

    ``idle_share`` is the part of ``amount`` for what was reserved and not used; GPUs are reserved, not measured.
    """

    wall_s: float
    cpu_s: float
    reserved_cpu_s: float
    gpu_s: float
    peak_bytes: int
    amount: float
    idle_share: float
    currency: str


class RunDetail(Document):
    """A run with what it was started with and how it ended.

    ``counts`` has the number of steps in each state, over all nodes; ``critical`` is the chain of nodes that the end of
    the run waited for; ``actions`` are those that make sense now; ``forked`` is the step from which it left the history
    of ``origin``, if it is a fork.
    """

    run: Run
    params: dict[str, str]
    backend: str
    git_commit: str
    origin: str
    forked: str = ""
    reason: str
    outcome: str
    nodes: int
    counts: dict[str, int]
    waiting: list[Waiting]
    critical: list[str]
    used: Used | None
    actions: list[Literal["cancel", "resume", "answer"]]


class Failure(Document):
    """Why an attempt failed; ``frames`` are lines of the user's code, innermost last."""

    error: str
    message: str
    frames: list[str]


class Node(Document):
    """One node of a run; a map is one node, whatever its width, and ``steps`` is null while that is not known.

    It waited for a worker between ``ready_at`` and ``started_at``. ``reason`` says what the cache decided, and why.
    """

    address: str
    kind: str
    stage: str
    is_map: bool
    state: StepStateName
    steps: int | None
    counts: dict[str, int]
    ready_at: str | None
    started_at: str | None
    ended_at: str | None
    needs: list[str]
    reason: str
    checks: str
    error: Failure | None
    source: str


class NodePage(Document):
    """Nodes in the order of the graph."""

    items: list[Node]
    next: str | None


class Item(Document):
    """One step of a node: the last of its attempts, and what its output looks like; ``error`` if it has none."""

    index: int
    state: StepStateName
    attempts: int
    started_at: str | None
    elapsed_s: float | None
    worker: str
    error: Failure | None
    preview: str


class ItemPage(Document):
    """Steps of a node by index; ``total`` is how many it has, in any state."""

    items: list[Item]
    next: str | None
    total: int


class Attempt(Document):
    """One attempt of a step; without an end it is under way or was lost with its driver."""

    number: int
    started_at: str | None
    ended_at: str | None
    worker: str
    error: Failure | None
    retry_at: str | None


class Input(Document):
    """An argument of a step: a constant in a few characters, or the ``step`` whose output it takes.

    ``preview`` is what that looks like, if it is one output and there.
    """

    name: str
    value: str
    step: str | None
    preview: str


class Reason(Document):
    """Something that happened to a step, and why."""

    at: str | None
    what: str
    why: str


class Check(Document):
    """What one check found in the output of a node."""

    name: str
    severity: str
    state: str
    message: str


class StepWait(Document):
    """What steps of a node wait for: an ``input``, a ``worker``, an ``answer``, a ``retry`` or a ``driver``.

    ``on`` are the nodes whose outputs are missing; ``needs`` is what each step asks for.
    """

    node: str
    steps: int | None
    kind: Literal["input", "worker", "answer", "retry", "driver"]
    text: str
    on: list[str]
    needs: str
    since: str | None
    until: str | None


class TimeWaited(Document):
    """A time in which a step could not go on; ``until`` is null while it goes on."""

    what: Literal["input", "worker", "retry", "answer"]
    since: str
    until: str | None
    waited_s: float
    why: str


class KeyPart(Document):
    """A part of a cache key that was another: how it looked, or the beginning of its digest."""

    name: str
    before: str
    now: str


class Explanation(Document):
    """Why a step ran or did not, and what it waited for.

    ``key_parts`` are what a stored output of the run ``nearest`` lacked to be reused.
    """

    because: str
    waited: list[TimeWaited]
    nearest: str
    key_parts: list[KeyPart]


class StepResources(Document):
    """What a step asked for (``requested`` in words) and what its body took; null where nothing was measured.

    ``memory`` is what it asked for in bytes, 0 for nothing; ``cpu_s`` and ``peak_bytes`` are of its worker process.
    """

    requested: str
    cpus: float
    memory: int
    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None


class StepDetail(Document):
    """One step, or all steps of a map if no item was named (then without attempts)."""

    run: str
    address: str
    node: Node
    item: Item | None
    attempts: list[Attempt]
    inputs: list[Input]
    checks: list[Check]
    metrics: list[dict[str, float]]
    has_output: bool
    used: Used | None = None
    waits: list[StepWait] = Field(default_factory=list)
    explanation: Explanation | None = None
    resources: StepResources | None = None


class ReasonPage(Document):
    """Why a step ran, waited, was reused, repeated or failed, in order; the last of them if there are very many."""

    run: str
    address: str
    items: list[Reason]


class Column(Document):
    """A column of a table."""

    name: str
    type: str


class Table(Document):
    """The first rows of a table, as text."""

    columns: list[Column]
    rows: list[list[str]]
    rows_total: int
    columns_total: int


class Part(Document):
    """A part of a list, tuple, dict or dataclass; ``path`` leads to its own preview."""

    name: str
    type: str
    size: int
    preview: str
    path: str


class Output(Document):
    """What a step gave, as far as it can be shown without running code.

    ``kind``: ``data`` (``value``), ``table``, ``image`` (its bytes under ``image_url``), ``parts``, or ``described``:
    then ``note`` says why there is no more. ``digest`` is null for plain scalars.
    """

    kind: Literal["data", "table", "image", "parts", "described"]
    type: str
    size: int
    length: int | None
    digest: str | None
    preview: str
    value: Any = None
    table: Table | None = None
    image_url: str | None = None
    parts: list[Part] = Field(default_factory=list)
    note: str = ""


class Fact(Document):
    """A fact of a run, as the event stream tells it; ``start`` and ``stop`` are items."""

    event: str
    at: str
    seq: int
    node: str = ""
    start: int | None = None
    stop: int | None = None
    state: str = ""
    message: str = ""


class ModelVersion(Document):
    """A version of a model: where it stands, and the step that made it."""

    name: str
    version: int
    stage: Literal["dev", "staging", "production"]
    tags: list[str]
    digest: str
    run: str
    step: str
    at: str


class ModelPage(Document):
    """Versions of models by name, newest first."""

    items: list[ModelVersion]


class Cancel(Document):
    """Ask for a run to end."""

    reason: str = Field(default="", max_length=500)


class Resume(Document):
    """Ask for a run that nobody drives to go on."""


class Fork(Document):
    """Ask for a new run: from a step on everything again, the rest from the history of this one.

    ``repeat`` names steps with effects that began already and may act again in the new run; ``*`` names them all.
    ``code`` is the one on record, or the pipeline as the project has it ``now``; that is the default if there are
    ``params``, which take the place of those on record: values, or texts as on a command line. ``pipeline`` names the
    file to take the code from, with its options of stages; by default it is found by what the run recorded.
    """

    step: str = Field(min_length=1, max_length=500)
    repeat: list[str] = Field(default=[], max_length=100)
    params: dict[str, Any] = Field(default={}, max_length=200)
    code: Literal["recorded", "now"] | None = None
    pipeline: str = Field(default="", max_length=100, description="a name of /pipelines")


class Answer(Document):
    """Answer a step that waits: ``approved`` for an approval, ``value`` for a signal."""

    step: str = Field(min_length=1, max_length=500)
    approved: bool | None = None
    value: Any = None
    by: str = Field(default="", max_length=100)


class Accepted(Document):
    """A request was taken. Without a ``driver`` it waits until somebody resumes the run.

    Of a promotion, ``step`` is the version and ``run`` that of its checks, empty if it took none. Of a fork, ``run`` is
    the new one and ``step`` where it left the history of the other. What was asked of a trigger has its id as ``step``
    and no ``run``: that begins when it is its turn.
    """

    run: str
    action: Literal["cancel", "resume", "answer", "start", "fork", "release", "rollback", "promote", "fire", "pause"]
    step: str
    driver: str | None


class About(Document):
    """The server."""

    name: str
    version: str
    home: str
    store: str
    artifacts: str
