"""What a server asks for and must not do itself, because it takes authors' code: in a process of its own.

Tracing imports the project's modules, so runs are started, released, rolled back and planned by a short-lived process
that stands in the project's directory. It answers through a pipe with plain data. Where a run comes of it, that process
drives the run, and does not end with the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from orchestrator import errors
from orchestrator.app.promoting import Promote
from orchestrator.app.releasing import SendBack, SendOut
from orchestrator.errors import OrchestratorError, RunError

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

START_S = 60.0
"""Longest time until a run has begun, or a plan is made."""

PROMOTION_S = 600.0
"""Longest time for a promotion with its checks."""

_LOG = "launched.log"
_TAIL = 600
_MOST_BYTES = 64 * 2**20
_ROOT = str(Path(__file__).resolve().parents[2])
_DO = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.app.launched import main; sys.exit(main(int(sys.argv[2])))"
)

A = TypeVar("A")


class Start(Struct, frozen=True, kw_only=True):
    """Run a pipeline.

    Attributes:
        what: As ``orc run`` takes it.
        values: Parameters as they are written on a command line.
        params: Parameters as they stand in a pipeline file; they come first.
        key: One key, one run.
    """

    what: str
    values: Mapping[str, str] = {}
    params: Mapping[str, Any] = {}
    tags: Mapping[str, str]
    on: str | None
    key: str


class Inspect(Struct, frozen=True, kw_only=True):
    """Say what parameters a pipeline has, and what a run of it would do."""

    what: str
    values: Mapping[str, str]


class Fork(Struct, frozen=True, kw_only=True):
    """Begin a run with the history of another up to a step, then with the code of the project.

    Attributes:
        what: As ``orc run`` takes it; empty for the pipeline that the run recorded, as it is now.
        values: Parameters that are other ones, as they are written on a command line.
        repeat: Steps with effects that may act again; ``*`` for all of them.
        key: One key, one run.
    """

    run: str
    step: str
    what: str
    values: Mapping[str, str]
    repeat: list[str]
    key: str


class Declare(Struct, frozen=True, kw_only=True):
    """Say what pipeline files declare about running by themselves."""

    files: list[str]


class Release(Struct, frozen=True, kw_only=True):
    """Begin a release."""

    asked: SendOut
    key: str


class Rollback(Struct, frozen=True, kw_only=True):
    """Begin a rollback."""

    asked: SendBack
    key: str


class Order(Struct, frozen=True, kw_only=True):
    """What a process is to do: one of these."""

    start: Start | None = None
    inspect: Inspect | None = None
    fork: Fork | None = None
    release: Release | None = None
    rollback: Rollback | None = None
    promote: Promote | None = None
    declare: Declare | None = None


class Parameter(Struct, frozen=True):
    """A parameter of a pipeline; ``default`` is its text, None where a value has to be given."""

    name: str
    type: str
    default: str | None


class Node(Struct, frozen=True):
    """A node of a plan, as in ``engine.plan.PlannedNode``."""

    node: str
    kind: str
    action: str
    steps: int | None
    reason: str


class Inspected(Struct, frozen=True, kw_only=True):
    """A pipeline and what a run of it would do.

    Attributes:
        graph: As ``graph_to_json`` gives it; None if there is no plan, and ``why`` says why.
    """

    pipeline: str
    about: str
    parameters: list[Parameter]
    graph: Any = None
    nodes: list[Node] = []
    code: str = ""
    why: str = ""


class Taken(Struct, frozen=True):
    """A parameter that a triggered run takes: the JSON Schema of its values, and whether one has to be given."""

    name: str
    accepts: dict[str, Any]
    needed: bool


class Declaration(Struct, frozen=True, kw_only=True):
    """What the code of a pipeline declares; ``problem`` says why that cannot be known."""

    file: str
    on: list[dict[str, Any]] = []
    concurrency: int | None = None
    takes: list[Taken] = []
    problem: str = ""


class Declarations(Struct, frozen=True):
    """What the code of several pipelines declares."""

    items: list[Declaration]


class Begun(Struct, frozen=True):
    """A run that was begun."""

    run: str


class Promoted(Struct, frozen=True, kw_only=True):
    """A version that was promoted; ``run`` is that of its checks, empty if none were needed."""

    address: str
    before: str
    to: str
    run: str


class Refusal(Struct, frozen=True):
    """Why nothing came of it: the class and message of an error."""

    error: str
    message: str


def launch(
    here: Installation, order: Order, answer: type[A], folder: Path, limit_s: float = START_S, ended: bool = False
) -> A:
    """Let a process of its own do something, and return what it answers.

    Args:
        answer: What is expected.
        folder: The project's directory.
        limit_s: How long to wait.
        ended: After that the process is ended, also if a run could still come of it.

    Raises:
        OrchestratorError: what it was refused with, or why it could not be done.
    """
    settings = here.settings
    environ = {
        "ORC_HOME": str(settings.home), "ORC_STORE": settings.journal_url, "ORC_ARTIFACTS": settings.artifacts_url
    }  # fmt: skip
    log = settings.logs_dir / _LOG
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as told:
        try:
            with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as said:
                place = said.tell()
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _DO, _ROOT, str(writing)],
                    stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=folder, start_new_session=True,
                    env=os.environ | environ, pass_fds=(writing,),
                )  # fmt: skip
        finally:
            os.close(writing)
        threading.Thread(target=process.wait, name="end of a launched process", daemon=True).start()  # no zombies
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:  # it may have ended at once
            process.stdin.write(msgspec.json.encode(order))
        content = _read(told.fileno(), limit_s)
    if content is None:
        raise RunError(f"{_unanswered(process, order, ended)} within {limit_s:g} s; see {log}")
    if not content:
        raise RunError(f"the process that was to do it ended without an answer: {_tail(log, place) or f'see {log}'}")
    return _answer(content, answer)


def _unanswered(process: subprocess.Popen[bytes], order: Order, ended: bool) -> str:
    """What did not come in time. A process of which no run can come is ended; else the run still may."""
    looks = order.inspect is not None or order.declare is not None
    if not (looks or ended):
        return "ask again with the same key: there was no answer"
    process.kill()
    if not looks:
        return "no run has begun"
    return "there was no plan" if order.inspect is not None else "the project's code did not say what it declares"


def _read(pipe: int, limit_s: float) -> bytes | None:
    """All that comes until the other side closes; None if that takes too long."""
    deadline, found = time.monotonic() + limit_s, bytearray()
    while len(found) <= _MOST_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select([pipe], [], [], left)[0]:
            return None
        part = os.read(pipe, 1 << 16)
        if not part:
            break
        found += part
    return bytes(found)


def _answer(content: bytes, wanted: type[A]) -> A:
    try:
        return msgspec.json.decode(content, type=wanted)
    except msgspec.ValidationError:
        refusal = msgspec.json.decode(content, type=Refusal)
    kind = getattr(errors, refusal.error, None)
    if not (isinstance(kind, type) and issubclass(kind, OrchestratorError)):
        kind = RunError
    raise kind(refusal.message)


def _tail(log: Path, place: int) -> str:
    with log.open("rb") as file:
        file.seek(place)
        return file.read().decode(errors="replace").strip()[-_TAIL:]
