"""Port of sweeps that somebody steers while their trials run, and the words that all sweeps share.

A point is what one trial tries: values by parameter, dotted into dataclasses (``hp.lr``). A searcher proposes points;
a scheduler ends trials early, or lets them go on from the checkpoint of a better one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

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


TrialState: TypeAlias = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        params: What it tried.
        state: ``stopped`` if a scheduler ended it early, ``failed`` if it raised; ``error`` says what.
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
    """Ends the worse trials at milestones of reports: ``grace_period``, and that times ``reduction_factor``, ….

    Attributes:
        max_t: Most reports of a trial; it is ended after them.
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
        quantile_fraction: Part of the trials that is best, and that is worst.
        resample_probability: Of a new value in place of a changed one.
    """

    perturbation_interval: int = 2
    quantile_fraction: float = 0.25
    resample_probability: float = 0.25


Scheduler: TypeAlias = Asha | Pbt


@dataclass(frozen=True, slots=True)
class Ended:
    """How a steered trial ended; ``output`` is the stored form of what it returned, empty if it did not return."""

    trial: Trial
    output: bytes = b""


@dataclass(frozen=True, slots=True)
class TuneTask:
    """What is to be tried.

    Attributes:
        stage: Reference of the stage's code in the run's capsule.
        given: The arguments that all trials share.
        num_cpus, num_gpus: What each trial reserves.
        concurrency: Most trials at a time; 0 for as many as there is room for.
        name: Of the sweep in this run: its working files are kept under it.
    """

    stage: str
    spaces: Mapping[str, Space]
    given: Mapping[str, Any]
    metric: str
    mode: Mode
    trials: int
    name: str
    scheduler: Scheduler | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    concurrency: int = 0
    seed: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)


class Tune(Protocol):
    """Trials whose reports are looked at while they run."""

    def run(
        self, task: TuneTask, searcher: Searcher, known: Sequence[Ended], ended: Callable[[Ended], None]
    ) -> list[Ended]:
        """Run all trials that are not known yet.

        Args:
            known: Trials that ended in an earlier attempt: they are not run again.
            ended: Called with each trial that ends.
        """
        ...

    def output(self, trial: Ended) -> Any:
        """What a trial returned."""
        ...
