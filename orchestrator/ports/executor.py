"""Port of the executors: where bundles of steps run.

The engine decides what runs and in which bundle; an executor has places for bundles and says what
became of them. It never decides about retries and never remembers a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from orchestrator.graph.policy import Resources
from orchestrator.ports.frames import Call, Outcomes, Released, Returned, Segment
from orchestrator.types import Digest


@dataclass(frozen=True, slots=True)
class Bundle:
    """Steps for one worker.

    Attributes:
        id: Random; the attempt id of all its steps.
        alone: The worker runs nothing else meanwhile, so that its death can be charged to this step.
        host: The steps are ``@dynamic`` or streaming bodies: they live in a host that takes no slot.
        heavy: None for a light bundle; else what its only step needs.
        timeout_s: Time-out of each step; None for no limit.
        cursors: Where those of the pipeline stood when the run was made, JSON by name.
    """

    id: str
    run: str
    epoch: int
    seed: int
    segments: Sequence[Segment]
    alone: bool = False
    host: bool = False
    heavy: Resources | None = None
    isolated: bool = False
    uses: tuple[str, ...] = ()
    timeout_s: float | None = None
    cursors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunCode:
    """What an executor must know to run steps of a run.

    ``define`` gives the JSON bytes of those among some nodes that are not in the stored ``graph`` (empty: all are),
    ``chunk`` the bytes of an inline chunk (None: it is an artifact).
    """

    run: str
    capsule: Digest
    define: Callable[[Sequence[str]], bytes]
    chunk: Callable[[Digest], bytes | None]
    graph: Digest = ""


class FromBundle(NamedTuple):
    """A frame of a worker. Those of one worker come in the order in which it sent them, perhaps twice."""

    worker: str
    frame: Outcomes | Released | Call


class Joined(NamedTuple):
    """A worker process is up."""

    worker: str
    host: str
    pid: int


class Accepted(NamedTuple):
    """A bundle went to a worker."""

    bundle: str
    worker: str


class Lost(NamedTuple):
    """A worker died (or was killed at a deadline) with these bundles; what they had not delivered must run again.

    ``timed_out`` if the executor killed it because a step overran its time-out without answering.
    """

    worker: str
    reason: str
    bundles: tuple[str, ...]
    timed_out: bool = False


class Refused(NamedTuple):
    """A bundle cannot be placed, now or ever; ``message`` names need and supply."""

    bundle: str
    message: str


ExecutorEvent: TypeAlias = FromBundle | Joined | Accepted | Lost | Refused


class Executor(Protocol):
    """Places for bundles. All methods are called from the driver's thread, except ``wake``."""

    name: str

    @property
    def slots(self) -> int:
        """How many light bundles can run at once."""
        ...

    def open(self, code: RunCode) -> None:
        """Make a run known; before its first bundle."""
        ...

    def room(self) -> int:
        """How many more light bundles can be submitted now without queueing deeper than two a worker."""
        ...

    def idle(self) -> int:
        """How many slots have nothing to do (for deciding to take unstarted steps back from others)."""
        ...

    def submit(self, bundle: Bundle) -> None:
        """Queue a bundle. Heavy and host bundles may always be submitted; they wait inside for their resources."""
        ...

    def release(self, bundle: str, count: int) -> None:
        """Ask for the unstarted tail of a bundle back; answered by ``Released``."""
        ...

    def cancel(self, bundle: str) -> None:
        """End a bundle; what runs is interrupted, and after 2 s its process killed. Answered by frames or ``Lost``."""
        ...

    def answer(self, bundle: str, returned: Returned) -> None:
        """Give a ``@dynamic`` body the outcome of its call."""
        ...

    def poll(self, timeout_s: float) -> list[ExecutorEvent]:
        """Wait up to ``timeout_s`` for something to happen, then return all that has."""
        ...

    def wake(self) -> None:
        """Make a waiting ``poll`` return at once; from any thread."""
        ...

    def close(self) -> None:
        """End all workers and their children; nothing is left running on return."""
        ...
