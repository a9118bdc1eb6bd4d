"""What the driver and its workers say to each other; the same bytes over pipes and Ray actors.

``Define`` teaches a worker nodes once; ``Run`` then names only ranges. Outcomes stream back in
frames of up to 256 or every ~20 ms, each with the chunk that holds the outputs.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from orchestrator.graph.quality import CheckOutcome
from orchestrator.types import Digest

CHECKPOINTS = "checkpoints of earlier attempts"


class Span(msgspec.Struct, array_like=True, frozen=True):
    """Outputs of items ``start..stop`` of a node: cells ``at…`` of a chunk.

    An empty chunk means that they are made earlier in the same bundle.
    """

    start: int
    stop: int
    chunk: Digest
    at: int


class Input(msgspec.Struct, array_like=True, frozen=True):
    """Where the output of a node is.

    For a node with many items: the spans that are needed here, in order, dropped items left out.
    """

    node: str
    many: bool
    spans: list[Span]


class Segment(msgspec.Struct, array_like=True, frozen=True):
    """Steps ``start..stop`` of a node; ``attempts`` holds the attempt's number where it is not 1.

    ``calls`` counts those that the journal holds of a ``@dynamic`` step.

    Two inputs name no other node: the one called like the node itself holds the batches that a streaming step delivered
    in an earlier attempt, the one called ``CHECKPOINTS`` what steps kept with ``step().checkpoint``.
    """

    node: str
    start: int
    stop: int
    inputs: list[Input]
    attempts: dict[int, int] = {}
    calls: int = 0


# ---- to a worker


class Define(msgspec.Struct, tag="define", frozen=True):
    """Nodes of a run, in JSON form (``graph.json``), arguments sealed; and the capsule that holds their code.

    The nodes are in ``body``, or in the artifact ``graph``.
    """

    run: str
    capsule: Digest
    body: bytes
    graph: Digest = ""


class Run(msgspec.Struct, tag="run", frozen=True):
    """One bundle: segments run in order; a later one may use outputs of an earlier one.

    ``chunks`` brings inline chunks this worker has not been sent lately, ``cursors`` where those of the pipeline stand
    (JSON by name).
    """

    run: str
    bundle: str
    epoch: int
    seed: int
    segments: list[Segment]
    chunks: dict[Digest, bytes] = {}
    cursors: dict[str, str] = {}


class Release(msgspec.Struct, tag="release", frozen=True):
    """Give back up to ``count`` steps from the unstarted tail of a bundle."""

    bundle: str
    count: int


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """End a bundle: drop what has not started, interrupt what runs."""

    bundle: str


class Returned(msgspec.Struct, tag="returned", frozen=True):
    """Answer to a ``Call``: the output (as an input would come), or why there is none."""

    node: str
    index: int
    ordinal: int
    output: Input | None
    chunks: dict[Digest, bytes] = {}
    classes: list[str] = []
    message: str = ""


class Acknowledge(msgspec.Struct, tag="ack", frozen=True):
    """The driver has read this many frames since the last acknowledgement."""

    frames: int


class Continue(msgspec.Struct, tag="continue", frozen=True):
    """The run is still this driver's: steps may be started for so many seconds. Sent where runs can be taken over."""

    for_s: float


class Lend(msgspec.Struct, tag="lend", frozen=True):
    """A ``@dynamic`` body may use a slot: light calls may run where it runs, until it hands the slot back."""

    bundle: str


class Recall(msgspec.Struct, tag="recall", frozen=True):
    """Others wait for a lent slot: hand it back after the call that runs."""

    bundle: str


class Forget(msgspec.Struct, tag="forget", frozen=True):
    """A run is over: what was defined for it is not needed any more."""

    run: str


class Stop(msgspec.Struct, tag="stop", frozen=True):
    """Flush and exit."""


ToWorker: TypeAlias = (
    Define | Run | Release | Cancel | Returned | Acknowledge | Continue | Lend | Recall | Forget | Stop
)

# ---- from a worker


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """The worker is ready; ``versions`` of Python, engine, pyarrow and Ray where loaded."""

    pid: int
    host: str
    log: str
    versions: dict[str, str]


class Completed(msgspec.Struct, array_like=True, frozen=True):
    """Steps ``start..stop`` have outputs: cells ``at…`` of the frame's chunk; see ``fact.StepsCompleted``."""

    node: str
    start: int
    stop: int
    at: int
    elapsed_us: bytes = b""
    truth: bool | None = None
    length: int | None = None
    cpu_us: int = 0
    peak_bytes: int = 0


class Singles(msgspec.Struct, array_like=True, frozen=True):
    """The only steps of several nodes have outputs: cells ``at…`` of the frame's chunk; see ``fact.NodesCompleted``."""

    nodes: list[str]
    at: int
    elapsed_us: bytes
    truths: dict[int, bool]
    lengths: dict[int, int]
    cpu_us: int = 0
    peak_bytes: int = 0


class Failed(msgspec.Struct, array_like=True, frozen=True):
    """An attempt raised; see ``fact.Failure``."""

    node: str
    index: int
    classes: list[str]
    message: str
    frames: list[str]


class Reported(msgspec.Struct, array_like=True, frozen=True):
    """Metrics of a running step."""

    node: str
    index: int
    metrics: dict[str, float]


class Positioned(msgspec.Struct, array_like=True, frozen=True):
    """A step that has completed read cursors and proposes these (JSON by name); see ``fact.CursorsRead``."""

    node: str
    index: int
    proposed: dict[str, str]


class Checked(msgspec.Struct, array_like=True, frozen=True):
    """What an attempt made was checked; failing rows are cells of the frame's chunk. See ``fact.ChecksReported``."""

    node: str
    index: int
    attempt: int
    results: list[CheckOutcome]


class Logged(msgspec.Struct, array_like=True, frozen=True):
    """Two byte offsets per step into the worker's log file."""

    node: str
    start: int
    stop: int
    offsets: list[int]


class Call(msgspec.Struct, tag="call", frozen=True):
    """A ``@dynamic`` body called a stage: ``body`` is the JSON form of the new node with sealed arguments.

    ``key`` is a digest of stage fingerprint and input digests; a replayed call must have the recorded one.
    """

    node: str
    index: int
    ordinal: int
    key: str
    body: bytes


class Made(msgspec.Struct, array_like=True, frozen=True):
    """A call of a ``@dynamic`` body that ran where the body runs: the call, then its outcome.

    The output is cell ``at`` of the frame's chunk, unless the attempt ``failed``.
    """

    call: Call
    at: int
    elapsed_us: int
    failed: Failed | None = None


class Outcomes(msgspec.Struct, tag="outcomes", frozen=True):
    """Results of some steps of a bundle.

    ``data`` is the chunk unless it was large and is an artifact already. ``batches`` are outputs, ``checkpoints``
    intermediate states of steps that are still running, ``cursors`` those that completed ones among ``completed`` and
    ``singles`` read, ``profiles`` descriptions of tables that steps made. ``finished`` says the bundle has no more to
    do.
    """

    bundle: str
    chunk: Digest
    data: bytes | None
    completed: list[Completed] = []
    failed: list[Failed] = []
    batches: list[Completed] = []
    checkpoints: list[Completed] = []
    metrics: list[Reported] = []
    logs: list[Logged] = []
    finished: bool = False
    singles: list[Singles] = []
    made: list[Made] = []
    cursors: list[Positioned] = []
    checks: list[Checked] = []
    profiles: list[Completed] = []


class Released(msgspec.Struct, tag="released", frozen=True):
    """Steps given back or dropped unstarted: (node, start, stop)."""

    bundle: str
    steps: list[tuple[str, int, int]]


class Borrow(msgspec.Struct, tag="borrow", frozen=True):
    """A ``@dynamic`` body could run light calls itself if it had a slot."""

    bundle: str


class HandBack(msgspec.Struct, tag="hand_back", frozen=True):
    """A ``@dynamic`` body does not use its slot any more."""

    bundle: str


class Alive(msgspec.Struct, tag="alive", frozen=True):
    """Sent each second by a worker that can still run its control thread."""

    rss: int = 0


FromWorker: TypeAlias = Hello | Outcomes | Released | Call | Borrow | HandBack | Alive

_encoder = msgspec.msgpack.Encoder()
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_from_worker = msgspec.msgpack.Decoder(FromWorker)


def encode(frame: ToWorker | FromWorker) -> bytes:
    """Bytes of a frame."""
    return _encoder.encode(frame)


def decode_to_worker(data: bytes) -> ToWorker:
    """A frame for a worker; raises msgspec.DecodeError."""
    return _to_worker.decode(data)  # type: ignore[no-any-return]


def decode_from_worker(data: bytes) -> FromWorker:
    """A frame from a worker; raises msgspec.DecodeError."""
    return _from_worker.decode(data)  # type: ignore[no-any-return]
