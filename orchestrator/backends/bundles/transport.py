"""What a pool needs of the place its workers live in: start them, send frames, hear frames and deaths.

The pool (``pool.py``) and the worker (``worker.py``) know no engine: local processes behind
socket pairs (``pipes.py``) and Ray actors are two implementations of this one protocol, and
one conformance suite holds for both. Frames are opaque bytes (``ports.frames``); their order is kept
in each direction, and ``Death`` is the last thing heard of a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

from orchestrator.graph.policy import Resources
from orchestrator.types import Digest

WorkerKind: TypeAlias = Literal["pool", "host", "heavy"]
"""``pool`` takes one slot and runs light bundles; ``host`` takes none and holds ``@dynamic`` and streaming bodies;
``heavy`` runs one bundle with the declared resources and ends, unless it is ``lasting``."""


@dataclass(frozen=True, slots=True)
class WorkerNeeds:
    """What a worker is for; workers with equal needs are interchangeable.

    Attributes:
        capsule: The code it runs; empty if it serves any.
        resources: What it holds while it lives (``heavy`` only; a pool worker holds the default).
        uses: Parts of the engine its step drives (``data``, ``tune``, ``train``, ``serving``).
        lasting: It holds nothing that others could wait for, so it stays and runs further bundles, one after the other.
    """

    kind: WorkerKind
    capsule: Digest = ""
    resources: Resources = field(default_factory=Resources)
    uses: tuple[str, ...] = ()
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where a worker finds things, the same on every node; plain text, so that any transport can carry it.

    Attributes:
        artifacts: URL of the artifact store.
        keys: Directory of the key that signs pickles.
        logs: Directory of the workers' log files.
        capsules: Directory where capsules are unpacked, once per node.
        step_log_bytes: Most bytes of output kept of one step.
    """

    artifacts: str
    keys: str
    logs: str
    capsules: str
    step_log_bytes: int = 1024 * 1024


def log_path(settings: WorkerSettings, worker: str) -> Path:
    """The log file of a worker."""
    return Path(settings.logs) / f"{worker}.log"


class Death(NamedTuple):
    """A worker has ended, wanted or not. ``never`` if it could not and can never be placed: the reason names need
    and supply."""

    reason: str
    never: bool = False


Sink: TypeAlias = Callable[[str, "bytes | Death"], None]
"""Called with the worker's name for each frame, and once with its ``Death``; from any thread, must not block."""


START_S = 60.0
"""How long a worker may take to say ``Hello`` when nothing has to be installed or started for it first."""


class Channel(Protocol):
    """One worker. Methods may be called after its death and then do nothing.

    Attributes:
        start_s: How long it may take to say ``Hello``: usually ``START_S``.
    """

    name: str
    start_s: float

    @property
    def has_slot(self) -> bool:
        """True if what the worker needs is reserved for it: it may work. False while that is waited for, or parked."""
        ...

    @property
    def alive(self) -> bool:
        """False once its ``Death`` was delivered."""
        ...

    def send(self, data: bytes) -> None:
        """Queue a frame for the worker; never blocks. The worker may still be starting."""
        ...

    def kill(self) -> None:
        """End the worker and all its children now, without asking; its ``Death`` follows."""
        ...

    def park(self) -> bool:
        """Give up what is reserved for the idle worker and keep the worker itself; False if that is not possible, or
        would free nothing."""
        ...

    def unpark(self) -> None:
        """Reserve again what a parked worker needs; ``has_slot`` says when that is done."""
        ...

    def close(self) -> None:
        """No more frames will be sent, ``Stop`` was the last: the worker finishes what it has and ends; its ``Death``
        follows, and is forced if it takes too long."""
        ...


class Transport(Protocol):
    """A place for workers. ``start``, ``pump`` and ``close`` are called from the driver's thread."""

    name: str

    @property
    def slots(self) -> int:
        """How many pool workers can live at once when nothing heavy runs."""
        ...

    def refusal(self, needs: WorkerNeeds) -> str | None:
        """Why such a worker can never be placed (names need and supply); None if it can, now or later."""
        ...

    def fits(self, needs: WorkerNeeds, without: Collection[str] = ()) -> bool:
        """Whether such a worker may be started now, or could be if the workers named in ``without`` were gone."""
        ...

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> Channel:
        """Start a worker and return at once; it says ``Hello`` when it is up.

        Raises:
            WorkerStartFailed: it cannot be started at all.
        """
        ...

    def pump(self, timeout_s: float) -> None:
        """Move frames: wait until something was delivered to a sink, ``wake`` was called or the time is up.

        A transport with threads of its own only waits here; one without does its reading and writing here.
        """
        ...

    def rest(self) -> None:
        """Nothing will be asked of the workers for a while: stop looking after the place they live in."""
        ...

    def resume(self) -> None:
        """There is something to do again."""
        ...

    def wake(self) -> None:
        """Make a waiting ``pump`` return at once; from any thread."""
        ...

    def close(self) -> None:
        """End all workers and their children; nothing is left running on return."""
        ...
