"""What ``--json`` prints: one class per document, from which the published JSON Schemas are made.

``python -m orchestrator.cli.documents DIRECTORY`` writes them. Times are ISO 8601 in UTC, durations seconds, sizes
bytes. Fields may be added in any version; none is removed or changes its meaning without a new schema id.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from orchestrator.cli.ab_documents import ABDocument
from orchestrator.cli.data_documents import (
    CheckedItem,
    CursorItem,
    DifferenceDocument,
    QualityDocument,
    SweepDocument,
    VersionItem,
)
from orchestrator.cli.model_documents import (
    ModelDocument,
    ModelItem,
    PreviewEndedDocument,
    PreviewItem,
    PromoteDocument,
)
from orchestrator.cli.run_documents import (
    ForkDocument,
    InputItem,
    KeyPartItem,
    LogLineItem,
    RunDifferenceDocument,
    TopDocument,
    WaitItem,
)
from orchestrator.cli.signal_documents import AlertItem, CostDocument
from orchestrator.cli.trigger_documents import TriggerDocument, TriggerItem

State = Literal["queued", "running", "waiting", "succeeded", "degraded", "failed", "cancelled"]
StepState = Literal[
    "pending", "running", "waiting", "retrying", "succeeded", "cached", "degraded", "failed", "skipped", "cancelled"
]


class RunItem(Struct, frozen=True):
    """One run. ``driver`` is null when no living process drives it."""

    id: str
    pipeline: str
    state: State
    created_at: str
    started_at: str | None
    finished_at: str | None
    driver: str | None
    tags: dict[str, str]


class FailureItem(Struct, frozen=True):
    """Why an attempt failed; ``frames`` are lines of the user's code, innermost last."""

    item: int
    error: str
    message: str
    frames: list[str]


class StepItem(Struct, frozen=True):
    """One node of a run; a map is one node with one step per item. ``steps`` is null while its width is unknown.

    ``state`` is the one that most needs attention among the steps, and ``counts`` has the number of steps in each.
    """

    address: str
    kind: str
    state: StepState
    steps: int | None
    counts: dict[str, int]
    elapsed_s: float | None
    failures: list[FailureItem]
    checks: list[CheckedItem]


class RunDocument(Struct, frozen=True):
    """Output of ``orc show --json``. ``outcome`` is ``refused`` when a gate said no."""

    run: RunItem
    params: dict[str, str]
    git_commit: str
    reason: str
    outcome: str
    waiting: dict[str, str]
    steps: list[StepItem]


class PlanItem(Struct, frozen=True):
    """What would become of a node; ``steps`` is null while the width of a map is not known."""

    node: str
    kind: str
    action: Literal["reuse", "run", "after", "skip", "wait"]
    steps: int | None
    reason: str


class PlanDocument(Struct, frozen=True):
    """Output of ``orc plan --json``: nodes in the order in which they could run."""

    pipeline: str
    reused: int
    to_run: int
    nodes: list[PlanItem]


class ChangeItem(Struct, frozen=True):
    """What other code means for a node of a run.

    ``finished`` of its ``steps`` have their outcome; ``steps`` is null while the width of a map is not known. ``keep``
    these and go on with the rest, ``drop`` them and run all anew, ``run`` for the first time, run a ``new`` node, or
    ``remove`` one. ``part`` is what decided; ``was`` the node's address in the recorded run, empty if it is new.
    """

    node: str
    action: Literal["keep", "drop", "run", "new", "remove"]
    finished: int
    steps: int | None
    part: Literal["", "code", "inputs", "parameters", "environment"]
    reason: str
    was: str


class ChangesDocument(Struct, frozen=True):
    """Output of ``orc resume --code … --dry-run --json`` and ``orc rerun --code … --dry-run --json``.

    ``acting`` are the steps with effects that began in the recorded run and would begin again.
    """

    run: str
    nodes: list[ChangeItem]
    acting: list[str]


class ChangedFileItem(Struct, frozen=True):
    """A file that is not what it was; versions are digests, etags, or ``missing``."""

    path: str
    recorded: str
    now: str


class DifferenceItem(Struct, frozen=True):
    """A step whose output is not the one on record; both are digests, or what became of the step without an output."""

    address: str
    recorded: str
    now: str
    inputs_equal: bool


class VerificationDocument(Struct, frozen=True):
    """Output of ``orc rerun --verify --json``.

    ``compared`` steps of ``origin`` ran again in ``run``; ``differences`` are in the order of the graph, ``suspect`` is
    the first of them whose inputs were equal. ``taken`` are nodes that did not run again, because they have effects or
    are answers of people.
    """

    run: str
    origin: str
    identical: bool
    compared: int
    differences: list[DifferenceItem]
    suspect: str | None
    taken: list[str]
    files: list[ChangedFileItem]


class Fact(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="fact"):
    """A line of ``orc run --json`` and ``orc resume --json``: a fact of the run. ``start`` and ``stop`` are items."""

    event: str
    run: str
    at: str
    seq: int
    node: str = ""
    start: int | None = None
    stop: int | None = None
    state: str = ""
    message: str = ""


class RunEnded(Struct, frozen=True, tag_field="kind", tag="end"):
    """The last line of ``orc run --json`` and ``orc resume --json``; ``result`` as in ``orc get``."""

    run: str
    state: State
    outcome: str
    message: str
    result: Any


class ReasonItem(Struct, frozen=True):
    """Something that happened to a step, and why."""

    at: str
    what: str
    why: str


class WhyDocument(Struct, frozen=True):
    """Output of ``orc why --json``: what happened to a step, in order.

    ``because`` says why it ran, or did not; ``key_parts`` are what a stored output of the run ``nearest`` lacked to be
    reused; ``failure`` is that of its last failed attempt, with the ``inputs`` that it had.
    """

    run: str
    address: str
    state: str
    needs: list[str]
    reasons: list[ReasonItem]
    because: str = ""
    waits: list[WaitItem] = []
    nearest: str = ""
    key_parts: list[KeyPartItem] = []
    inputs: list[InputItem] = []
    failure: FailureItem | None = None


class ValueDocument(Struct, frozen=True):
    """Output of ``orc get --json``; ``version`` is that of a data set or model, if one was asked for.

    ``value`` has plain data as it is; in the place of anything else stands an object with ``$type``, ``size``,
    ``digest`` and ``preview``. Nothing is unpickled.
    """

    run: str
    address: str
    value: Any
    version: str = ""


class CheckItem(Struct, frozen=True):
    """One check of ``orc doctor``."""

    name: str
    ok: bool
    text: str


class RemovedRunItem(Struct, frozen=True):
    """A run that ``orc gc`` removed; ``held_bytes`` is what the journal held of it."""

    id: str
    pipeline: str
    state: State
    finished_at: str | None
    held_bytes: int


class CollectionDocument(Struct, frozen=True):
    """Output of ``orc gc --json``; with ``dry_run`` nothing was removed.

    ``removed``, ``kept`` and ``freed_bytes`` are artifacts; of those that were kept, ``young`` are needed by nothing,
    but younger than the grace period. ``kept_runs`` counts runs by the reason for which they stay,
    ``versions`` are those of data sets and models that were removed.
    """

    dry_run: bool
    kept: int
    removed: list[str]
    freed_bytes: int
    needed_bytes: int
    young: int
    young_bytes: int
    runs: list[RemovedRunItem]
    kept_runs: dict[str, int]
    versions: list[str] = []


class ProjectDocument(Struct, frozen=True):
    """Output of ``orc init --json``: the pipeline's name and the files that were written."""

    name: str
    files: list[str]


class DatabaseDocument(Struct, frozen=True):
    """Output of ``orc db ... --json``.

    ``found`` is the schema that the database had (null if it was empty), ``rows`` counts by table what was backed up or
    restored, and ``checks`` says what was looked at.
    """

    action: Literal["upgrade", "check", "backup", "restore"]
    store: str
    found: str | None
    schema: str
    file: str | None
    rows: dict[str, int]
    checks: list[CheckItem]


class AnswerDocument(Struct, frozen=True):
    """Output of ``orc approve``, ``signal`` and ``cancel`` with ``--json``.

    Without a ``driver`` the answer waits until somebody resumes the run.
    """

    run: str
    address: str
    driver: str | None


class SubmitDocument(Struct, frozen=True):
    """Output of ``orc submit --detach --json``: a run that goes on at a cluster, and the name of its Ray job there."""

    run: str
    job: str
    address: str


class UpDocument(Struct, frozen=True):
    """Output of ``orc up`` with ``--json``: a local Ray that is up; ``started`` if this command did it.

    It has no dashboard (null). What is in use is null except with ``--status``; ``drivers`` are processes that are
    attached, ``actors`` what lives on it. ``pages`` is where the web pages are. Without ``idle_s`` it stays until it is
    ended.
    """

    address: str
    pid: int
    started: bool
    started_at: str
    idle_s: float | None
    cpus: float
    gpus: float
    memory_bytes: int
    dashboard: str | None
    session: str
    versions: dict[str, str]
    cpus_used: float | None
    gpus_used: float | None
    drivers: int | None
    actors: int | None
    pages: str | None = None


class ServedDocument(Struct, frozen=True):
    """Output of ``orc up --no-ray --json``, once the web pages are there."""

    pages: str


class DownDocument(Struct, frozen=True):
    """Output of ``orc down --json``: whether a Ray was up and has ended, and the process that kept it."""

    ended: bool
    pid: int | None


class FindingItem(Struct, frozen=True):
    """A step that is not safe to repeat; ``step`` is empty if a promise of the engine itself was broken."""

    step: str
    kind: str
    evidence: str
    fix: str


class TortureDocument(Struct, frozen=True):
    """Output of ``orc torture --json``.

    ``state`` is that of the run without faults, ``writes`` how many writes of journal and artifacts it makes; a process
    was killed ``kills`` times at ``points`` crash points, and ``resumes`` processes took over.
    """

    pipeline: str
    state: State
    steps: int
    writes: int
    points: int
    kills: int
    resumes: int
    elapsed_s: float
    findings: list[FindingItem]


DOCUMENTS: Final[dict[str, Any]] = {
    "ab": ABDocument,
    "alerts": list[AlertItem],
    "answer": AnswerDocument,
    "changes": ChangesDocument,
    "cost": CostDocument,
    "cursors": list[CursorItem],
    "diff": DifferenceDocument,
    "diff-of-runs": RunDifferenceDocument,
    "doctor": list[CheckItem],
    "down": DownDocument,
    "event": Fact | RunEnded,
    "fork": ForkDocument,
    "gc": CollectionDocument,
    "db": DatabaseDocument,
    "get": ValueDocument,
    "init": ProjectDocument,
    "log": LogLineItem,
    "ls": list[RunItem],
    "model": ModelDocument,
    "models": list[ModelItem],
    "plan": PlanDocument,
    "preview-ended": PreviewEndedDocument,
    "previews": list[PreviewItem],
    "promote": PromoteDocument,
    "quality": QualityDocument,
    "show": RunDocument,
    "submit": SubmitDocument,
    "top": TopDocument,
    "torture": TortureDocument,
    "sweep": SweepDocument,
    "served": ServedDocument,
    "trigger": TriggerDocument,
    "triggers": list[TriggerItem],
    "up": UpDocument,
    "versions": list[VersionItem],
    "verification": VerificationDocument,
    "why": WhyDocument,
}
"""Documents by the name of their schema."""


def schema(name: str) -> str:
    """The published schema of a document."""
    body = msgspec.json.schema(DOCUMENTS[name])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:ray-orchestrator:schema:{name}:1"}
    return json.dumps({**head, **body}, indent=2) + "\n"


def write_schemas(directory: Path) -> None:
    """Write all schemas as ``NAME.schema.json``."""
    for name in DOCUMENTS:
        (directory / f"{name}.schema.json").write_text(schema(name))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
