"""Many seeds one after the other, and what is left of a failing one when everything it does not need is taken away."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing import get_context
from typing import NamedTuple

from orchestrator.testing.simulator.clockwork import Stuck
from orchestrator.testing.simulator.simulation import Broken, simulate, weather_of
from orchestrator.testing.simulator.weather import Weather, without

_COLLECT_EVERY = 500


class Failure(NamedTuple):
    """A seed that broke a promise."""

    seed: int
    message: str
    steps: int = 0
    weather: Weather | None = None

    @property
    def command(self) -> str:
        """What shows it again."""
        steps = f" --steps {self.steps}" if self.steps else ""
        drawn = weather_of(self.seed)
        kinds = "" if self.weather is None else "".join(
            f" --without {kind.name}" for kind in fields(Weather)
            if getattr(drawn, kind.name) and not getattr(self.weather, kind.name)
        )  # fmt: skip
        return f"python -m orchestrator.testing.simulator --seed {self.seed}{steps}{kinds} --trace"


def run_seeds(seeds: Iterable[int]) -> Iterator[Failure]:
    """Run seeds; yields those that break a promise, or bring the driver down with an error it should not know."""
    with collecting_seldom():
        for count, seed in enumerate(seeds, 1):
            problem = failure_of(seed)
            if problem is not None:
                yield Failure(seed, problem)
            if count % _COLLECT_EVERY == 0:
                gc.collect()


def spread(seeds: range, processes: int) -> list[Failure]:
    """Run seeds in several processes, each on a core of its own."""
    parts = [(part, range(seeds.start + part, seeds.stop, processes)) for part in range(processes)]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return [failure for found in pool.map(_run_part, parts) for failure in found]


def _run_part(part: tuple[int, range]) -> list[Failure]:
    number, seeds = part
    with on_one_core(number):
        return list(run_seeds(seeds))


@contextmanager
def on_one_core(number: int) -> Iterator[None]:
    """Stay on one of the cores meanwhile: threads that take turns there hand over in a tenth of the time."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def failure_of(seed: int, steps: int = 0, weather: Weather | None = None) -> str | None:
    """What is wrong with a seed; None if all promises hold."""
    try:
        simulate(seed, steps=steps, weather=weather)
    except (Broken, Stuck) as error:
        return str(error)
    except Exception as error:  # of the engine, which met something that it does not expect
        return f"{type(error).__name__}: {error}"
    return None


def shrink(failure: Failure) -> Failure:
    """The same seed with as few steps and kinds of faults as still break a promise."""
    smallest = failure
    for steps in range(1, 6):
        problem = failure_of(failure.seed, steps)
        if problem is not None:
            smallest = Failure(failure.seed, problem, steps)
            break
    weather = weather_of(failure.seed)
    for kind in fields(Weather):
        if not getattr(weather, kind.name):
            continue
        milder = without(weather, kind.name)
        problem = failure_of(failure.seed, smallest.steps, milder)
        if problem is not None:
            weather = milder
            smallest = Failure(failure.seed, problem, smallest.steps, weather)
    return smallest


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Spend a fifth less: simulations make many small objects, and few cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
