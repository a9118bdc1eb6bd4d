"""Port of sweeps that somebody steers while their trials run, and the words that all sweeps share.

A point is what one trial tries: values by parameter, dotted into dataclasses (``hp.lr``). A searcher proposes points;
a scheduler ends trials early, or lets them go on from the checkpoint of a better one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from orchestrator.graph.policy import Resources

Mode: TypeAlias = Literal["max", "min"]
Point: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A number from ``low`` to ``high``.

    Attributes:
        log: Each order of magnitude is as likely as another.
        whole: Whole numbers, ``high`` included.
        step: Values are multiples of it from ``low`` on; 0 for none.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float = 0.0


Space: TypeAlias = Choice | Range


class Searcher(Protocol):
    """Proposes points. Asked and told in the same order, it always proposes the same."""

    adaptive: bool
    """Its proposals depend on what it was told."""

    def suggest(self, trial: int) -> Point | None:
        """Point of the trial of that number, counted from 0; None when there are no more."""
        ...

    def tell(self, trial: int, value: float | None) -> None:
        """A trial has ended with this value, or None if it failed."""
        ...

    def recall(self, point: Point, value: float | None) -> None:
        """A trial that was proposed in an earlier attempt had this point and ended with this value."""
        ...


TrialState: TypeAlias = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        params: What it tried.
        state: ``stopped`` if a scheduler ended it early, ``failed`` if it raised; ``error`` says what. ``running`` only
            where a sweep is looked at that goes on.
        value: Its metric; None if it never had one.
        reports: The metrics of each ``step().report``, in order.
    """

    params: Point
    state: TrialState
    value: float | None = None
    reports: tuple[dict[str, float], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asha:
    """Ends the worse trials at milestones: ``grace_period`` reports, and that times ``reduction_factor``, and so on.

    Attributes:
        max_t: Reports from which on there are no more milestones.
        grace_period: Reports that every trial makes.
        reduction_factor: One in so many goes on at each milestone.
    """

    max_t: int = 100
    grace_period: int = 1
    reduction_factor: float = 4


@dataclass(frozen=True, slots=True)
class Pbt:
    """Lets the worst trials go on from the checkpoints of the best, with changed parameters.

    Attributes:
        perturbation_interval: Reports between two exchanges.
        quantile_fraction: Part of the trials that is best, and that is worst; at most 0.5.
        resample_probability: Of a new value in place of a changed one.
        synch: All trials wait for each other before an exchange.
    """

    perturbation_interval: int = 2
    quantile_fraction: float = 0.25
    resample_probability: float = 0.25
    synch: bool = False


Scheduler: TypeAlias = Asha | Pbt


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a steered trial, also after the step that steers it has started anew.

    Attributes:
        number: Of its proposal, counted from 0.
        ended: It is not run again.
        output: Stored form of what its stage came to; empty if it did not return.
        checkpoint: Stored form of what it kept last with ``step().checkpoint``; empty if nothing.
    """

    number: int
    trial: Trial
    ended: bool
    output: bytes = b""
    checkpoint: bytes = b""


@dataclass(frozen=True, slots=True)
class TuneTask:
    """What is to be tried.

    Attributes:
        stage: Reference of a function of the run's code: called with a point and ``given``, it returns what has an
            ``output``, its ``value`` and the ``reports``.
        given: The arguments that all trials share.
        resources: What each trial reserves.
        trials: How many there are in all.
        concurrency: Most trials at a time; 0 for as many as there is room for.
        checkpoints: Trials are to be kept going by their checkpoints when a worker dies.
        name: Of the sweep, unique among all runs; made of letters that a file may be named by.
        seed: Of what schedulers draw; trials get seeds of their own from it.
    """

    stage: str
    spaces: Mapping[str, Space]
    given: Mapping[str, Any]
    metric: str
    mode: Mode
    trials: int
    resources: Resources
    scheduler: Scheduler | None = None
    checkpoints: bool = False
    concurrency: int = 0
    name: str = "sweep"
    seed: int = 0


class Tune(Protocol):
    """Trials whose reports are looked at while they run."""

    def run(
        self, task: TuneTask, searcher: Searcher, known: Sequence[Record], keep: Callable[[list[Record]], None]
    ) -> list[Record]:
        """Run the trials that have not ended yet, and return all.

        Args:
            known: From an earlier attempt: what has ended is not run again, the rest goes on from its checkpoint.
            keep: Called with all that is known whenever a trial has ended, and now and then before.
        """
        ...

    def load(self, stored: bytes) -> Any:
        """The value of a stored form, an ``output`` or a ``checkpoint``.

        Raises:
            ArtifactMissing: it was collected meanwhile.
        """
        ...
