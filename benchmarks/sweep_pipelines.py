"""Sweeps and what stands beside them, as pipelines of ours. A salt goes through every trial; the last is the best."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator import each, pipeline, stage, step, sweep
from orchestrator.sweeps import Asha


@dataclass
class Tried:
    score: float
    output: int


@stage
def tiny(salt: int, place: int) -> Tried:
    return Tried(float(place), salt + place)


@stage
def reports_on(salt: int, place: int, reports: int) -> Tried:
    for _ in range(reports):
        step().report(score=float(place))
    return Tried(float(place), salt + place)


@stage
def best_of(tried: list[Tried]) -> int:
    return max(tried, key=lambda one: one.score).output


@pipeline
def plain_steps(salt: int, trials: int) -> int:
    return best_of(tiny.map(place=each(range(trials)), salt=salt))


@pipeline
def swept(salt: int, trials: int) -> int:
    return sweep(tiny, {"place": list(range(trials))}, fixed={"salt": salt}, metric="score").output.output


@pipeline
def reporting(salt: int, trials: int, reports: int) -> int:
    fixed = {"salt": salt, "reports": reports}
    return sweep(reports_on, {"place": list(range(trials))}, fixed=fixed, metric="score").output.output


@pipeline
def steered(salt: int, trials: int, reports: int) -> int:
    fixed, scheduler = {"salt": salt, "reports": reports}, Asha(grace_period=reports + 1)  # nobody is ended early
    found = sweep(reports_on, {"place": list(range(trials))}, fixed=fixed, metric="score", scheduler=scheduler)
    return found.output.output
