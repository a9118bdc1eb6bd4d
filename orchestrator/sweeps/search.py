"""The loop of a plain sweep: ask for points, run them as one map, tell their values, until there are enough."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from orchestrator.errors import InvalidStage
from orchestrator.graph.context import step
from orchestrator.graph.item import ItemError
from orchestrator.graph.stage import Stage
from orchestrator.ports.tune import Mode, Point, Searcher, Space, Trial
from orchestrator.sweeps.result import Best, best_place
from orchestrator.sweeps.trial import Outcome

SearcherName: TypeAlias = Literal["random", "grid", "optuna"]

WAVE = 4
"""Trials at a time of a searcher that learns, if nobody says how many."""


def search(
    trial: Stage[..., Any],
    over: Mapping[str, Space],
    shared: Mapping[str, Any],
    metric: str,
    mode: Mode,
    trials: int,
    searcher: SearcherName,
    concurrency: int,
) -> Best[Any]:
    """Run a sweep in the body of a ``@dynamic`` step: a replay asks and tells the same, and finds its trials done.

    Args:
        shared: Arguments of ``trial`` besides the point.

    Raises:
        StepError: no trial came to a value.
    """
    asked = create_searcher(searcher, over, mode, step().seed)
    wave = concurrency or (WAVE if asked.adaptive else trials)
    found: list[Trial] = []
    outputs: dict[int, Any] = {}
    while points := _points(asked, len(found), min(wave, trials - len(found))):
        outcomes = trial.map(points, **shared)
        for point, outcome in zip(points, outcomes, strict=True):
            ended = described(point, outcome)
            asked.tell(len(found), ended.value)
            if ended.state == "finished":
                outputs[len(found)] = outcome.output
            found.append(ended)
        del outcomes
        outputs = _of_best(outputs, found, mode)
    place = best_place(found, mode, trial.name)
    best = found[place]
    assert best.value is not None
    return Best(best.params, outputs[place], best.value, found, metric, mode)


def create_searcher(name: str, over: Mapping[str, Space], mode: Mode, seed: int) -> Searcher:
    """A searcher by its name.

    Raises:
        InvalidStage: there is none of that name.
    """
    module = f"{__package__}.searchers.{name}"
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise InvalidStage(f"searcher={name!r} needs the package {error.name!r}, which is not installed") from None
        raise InvalidStage(f"searcher={name!r}: there is no such searcher") from None
    searcher: Searcher = found.create(over, mode, seed)
    return searcher


def described(point: Point, outcome: Outcome | ItemError) -> Trial:
    """A trial as the record of the sweep has it, without its output."""
    if isinstance(outcome, ItemError):
        return Trial(point, "failed", error=f"{outcome.name}: {outcome.message}")
    return Trial(point, "finished", outcome.value, tuple(outcome.reports))


def _points(searcher: Searcher, first: int, count: int) -> list[Point]:
    asked = (searcher.suggest(number) for number in range(first, first + count))
    return [point for point in asked if point is not None]


def _of_best(outputs: dict[int, Any], found: list[Trial], mode: Mode) -> dict[int, Any]:
    """Only the output of the best trial so far: the others may be large."""
    alive = [number for number in outputs if (value := found[number].value) is not None and value == value]
    best = (max if mode == "max" else min)(alive, key=lambda number: found[number].value or 0.0, default=None)
    return {} if best is None else {best: outputs[best]}
