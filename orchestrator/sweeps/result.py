"""What a sweep found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator.errors import StepError
from orchestrator.graph.display import Shown
from orchestrator.ports.tune import Mode, Point, Trial

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Best(Shown, Generic[R]):
    """The best trial of a sweep, and all of them.

    Attributes:
        params: Of the best trial; ``value`` is its metric.
        output: What the stage returned in it.
        trials: In the order in which they were proposed.
        metric: What was compared; ``mode`` says whether more or less is better.
    """

    params: Point
    output: R
    value: float
    trials: list[Trial]
    metric: str
    mode: Mode

    @property
    def place(self) -> int:
        """Place of the best trial in ``trials``."""
        return best_place(self.trials, self.mode, "")


def best_so_far(trials: Iterable[Trial], mode: Mode) -> int | None:
    """Place of the best trial that has returned, if one has."""
    found = list(trials)
    if not any(one.state == "finished" and one.value is not None and one.value == one.value for one in found):
        return None
    return best_place(found, mode, "")


def best_place(trials: Iterable[Trial], mode: Mode, name: str) -> int:
    """Place of the best trial that returned; of equal ones the first.

    Raises:
        StepError: no trial returned with a value that is a number.
    """
    values = {
        place: trial.value
        for place, trial in enumerate(trials)
        if trial.state == "finished" and trial.value is not None and trial.value == trial.value
    }
    if values:
        return (max if mode == "max" else min)(values, key=lambda place: values[place])
    told = next((trial.error for trial in trials if trial.error), "every value is NaN")
    raise StepError(f"no trial of the sweep over {name} came to a value; the first says: {told}")
