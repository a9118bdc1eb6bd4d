"""What a step knows about itself while its body runs: ``step()``.

A worker makes a ``StepContext`` for each step and runs the body inside ``active(context)``. A stage that is called
as a plain function gets a local context of its own. In the body of a ``@dynamic`` step the context has a ``caller``:
every stage called there goes through it and becomes a durable step.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.errors import BackendError, InvalidStage, WrongType
from orchestrator.graph.spans import traceparent

if TYPE_CHECKING:
    from orchestrator.graph.node import Node
    from orchestrator.graph.stage import Stage

PORTS = ("data", "tune", "train", "serving")
"""Parts of the engine that a stage may drive, when it says so with ``uses=``."""

CURSOR_CHARS = 256_000
"""Longest cursor, in characters of its JSON; every bundle of a run carries the cursors of its pipeline."""


class Caller(Protocol):
    """Runs what a body calls: one durable step each inside ``@dynamic``, in process for plain calls."""

    def call(self, stage: Stage[Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: bool) -> Any:
        """Output of ``stage(*args, **kwargs)``, or with ``mapped`` of ``stage.map(*args, **kwargs)``.

        ``trace.call_node`` turns the same arguments into the Node that is sent to the driver.
        """
        ...

    def wait(self, node: Node) -> Any:
        """Outcome of an ``approve`` or ``signal`` node."""
        ...


def idempotency_key(run_id: str, node: str, index: int) -> str:
    """Key of a step, the same for all its attempts and different for all other steps."""
    return blake2b(f"{run_id}\n{node}\n{index}".encode(), digest_size=16).hexdigest()


class Cursors:
    """Durable positions in a source by name, as a step sees them.

    Reading gives what the last run of the pipeline that succeeded left (None at first); setting proposes what the next
    run begins from, once this one has succeeded. A step sees what it set itself.

    Attributes:
        touched: A cursor was read or set.
        proposed: JSON by name.
    """

    def __init__(self, address: str, standing: Mapping[str, str]) -> None:
        self.touched = False
        self.proposed: dict[str, str] = {}
        self._address = address
        self._standing = standing

    def __getitem__(self, name: str) -> Any:
        self.touched = True
        known = self.proposed.get(name, self._standing.get(name))
        return None if known is None else json.loads(known)

    def __setitem__(self, name: str, value: Any) -> None:
        self.touched = True
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise WrongType(
                f"step {self._address}: cursor {name!r} is set to a {type(value).__name__} that JSON cannot hold "
                f"({error}); use None, numbers, text, and lists and dicts of them"
            ) from None
        if not name or len(text) > CURSOR_CHARS:
            raise WrongType(
                f"step {self._address}: cursor {name!r} of {len(text):,} characters; a cursor has a name and at most "
                f"{CURSOR_CHARS:,} characters: keep a mark and not all that was read"
            )
        self.proposed[name] = text


class StepContext:
    """One attempt of one step, as its body sees it.

    Args:
        run_id: The run; ``local`` for a plain call.
        node: Id of the step's node, ``index`` its item.
        attempt: Counts from 1.
        epoch: That of the driver that sent the step; each driver of a run has a higher one. 0 for a plain call.
        seed: Seed of ``random``; the same for every attempt.
        uses: Ports the stage declared; ``ports`` the ones that the worker can hand out.
        caller: Runs the stages that the body calls; None if they are to be plain functions.
        on_report: Receives the metrics of each ``report``.
        save: Keeps a checkpoint for the next attempt; ``restore`` gives the last one, or None.
        clock: Wall-clock seconds; a ``@dynamic`` host gives one that replays.
        standing: Cursors of the pipeline, JSON by name.
        is_item: It is one item of a map.

    Attributes:
        reports: The metrics of each ``report``, where the body wants to see them itself: then it sets a list.
    """

    _cursors: Cursors | None = None
    reports: list[dict[str, float]] | None = None

    def __init__(
        self,
        run_id: str,
        node: str,
        index: int = 0,
        *,
        attempt: int = 1,
        epoch: int = 0,
        seed: int = 0,
        uses: tuple[str, ...] = (),
        ports: Mapping[str, Any] | None = None,
        caller: Caller | None = None,
        on_report: Callable[[Mapping[str, float]], None] | None = None,
        save: Callable[[Any], None] | None = None,
        restore: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.time,
        standing: Mapping[str, str] | None = None,
        is_item: bool = False,
    ) -> None:
        self.run_id = run_id
        self.node = node
        self.index = index
        self.attempt = attempt
        self.epoch = epoch
        self.seed = seed
        self.caller = caller
        self.key_was_read = False
        self._uses = uses
        self._ports = ports or {}
        self._on_report = on_report
        self._save = save
        self._restore = restore
        self._clock = clock
        self._random: random.Random | None = None
        self._kept: Any = None
        self._standing = standing or {}
        self._is_item = is_item

    @property
    def key(self) -> str:
        """Idempotency key: the same for every attempt of this step. Reading it makes the step a barrier."""
        self.key_was_read = True
        return idempotency_key(self.run_id, self.node, self.index)

    @property
    def address(self) -> str:
        """Address of the step: ``scope/name#2[7]``."""
        return f"{self.node}[{self.index}]"

    @property
    def traceparent(self) -> str:
        """W3C trace context of this attempt, to hand on as the header ``traceparent`` of a request."""
        return traceparent(self.run_id, self.node, self.index, self.attempt)

    def report(self, **metrics: float) -> None:
        """Report metrics of the running step: curves, early stopping.

        Raises:
            WrongType: a metric is not a number.
        """
        checked: dict[str, float] = {}
        for name, value in metrics.items():
            try:
                checked[name] = float(value)
            except (TypeError, ValueError):
                raise WrongType(f"step {self.address}: report({name}={value!r}) is not a number") from None
        if self.reports is not None:
            self.reports.append(checked)
        if self._on_report is not None:
            self._on_report(checked)

    def checkpoint(self, obj: Any) -> None:
        """Keep ``obj`` for the next attempt of this step, in place of what was kept before."""
        if self._save is None:
            self._kept = obj
        else:
            self._save(obj)

    def restored(self) -> Any:
        """What the last ``checkpoint`` of this step kept, in this attempt or an earlier one; None if nothing."""
        return self._kept if self._restore is None else self._restore()

    @property
    def cursors(self) -> Cursors:
        """Durable positions by name: ``step().cursors["orders"]``; see ``Cursors``. A pipeline's stages share them."""
        if self._cursors is None:
            self._cursors = Cursors(self.address, self._standing)
        return self._cursors

    @property
    def cursor(self) -> Any:
        """The cursor that is called like the step's node; see ``cursors``.

        Raises:
            InvalidStage: the step is an item of a map, whose place may be another item's next time.
        """
        return self.cursors[self._own_cursor()]

    @cursor.setter
    def cursor(self, value: Any) -> None:
        self.cursors[self._own_cursor()] = value

    @property
    def proposed_cursors(self) -> Mapping[str, str] | None:
        """What the step proposes, JSON by name; None if it has read no cursor."""
        return self._cursors.proposed if self._cursors is not None and self._cursors.touched else None

    def _own_cursor(self) -> str:
        if self._is_item:
            raise InvalidStage(
                f"step {self.address} is an item of a map, and step().cursor would be that of its place in the list; "
                "name the cursor by what is read: step().cursors['orders']"
            )
        return self.node

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logger whose records carry the step's address as ``record.step``."""
        return logging.LoggerAdapter(logging.getLogger("orchestrator.step"), {"step": self.address})

    def now(self) -> float:
        """Wall-clock seconds since the epoch; in a ``@dynamic`` body the same when it is replayed."""
        return self._clock()

    @property
    def random(self) -> random.Random:
        """Random numbers that are the same for every attempt and replay of this step."""
        if self._random is None:
            self._random = random.Random(self.seed)
        return self._random

    @property
    def data(self) -> Any:
        """Ray Data, for stages declared with ``uses=("data",)``."""
        return self._port("data")

    @property
    def tune(self) -> Any:
        """Ray Tune, for stages declared with ``uses=("tune",)``."""
        return self._port("tune")

    @property
    def train(self) -> Any:
        """Ray Train, for stages declared with ``uses=("train",)``."""
        return self._port("train")

    @property
    def serving(self) -> Any:
        """Ray Serve, for stages declared with ``uses=("serving",)``."""
        return self._port("serving")

    @property
    def routing(self) -> Any:
        """The router before served versions, for stages declared with ``uses=("serving",)``."""
        return self._port("routing", "serving")

    def _port(self, name: str, declared: str = "") -> Any:
        use = declared or name
        if use not in self._uses:
            raise InvalidStage(
                f"step {self.address} reads step().{name}, but its stage does not declare it: @stage(uses=({use!r},))"
            )
        if name not in self._ports:
            raise BackendError(
                f"step {self.address}: step().{name} is not available here; run the pipeline with .run() or .start()"
            )
        return self._ports[name]


_CURRENT: ContextVar[StepContext | None] = ContextVar("orchestrator_step", default=None)


def current() -> StepContext | None:
    """Context of the running step, or None outside of any."""
    return _CURRENT.get()


@contextmanager
def active(context: StepContext | None) -> Iterator[StepContext | None]:
    """Make ``context`` the one that ``step()`` returns, in this thread and task."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)


def enter(context: StepContext | None) -> None:
    """Make ``context`` the current one until the next call; for workers, which run one step after another."""
    _CURRENT.set(context)


def step() -> StepContext:
    """The running step: its key, seed, attempt, log, metrics, checkpoints and ports.

    Raises:
        InvalidStage: no stage is running in this thread.
    """
    context = _CURRENT.get()
    if context is None:
        raise InvalidStage("step() was called where no stage runs; call it in the body of a stage (in its own thread)")
    return context


def local_context(name: str, uses: tuple[str, ...] = (), caller: Caller | None = None) -> StepContext:
    """A context for a plain call: nothing is journaled, the key is new each time."""
    return StepContext(f"local-{uuid.uuid4().hex[:12]}", name, uses=uses, caller=caller)
