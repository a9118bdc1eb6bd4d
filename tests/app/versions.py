"""Two versions of a pipeline, and stages that draw random numbers: what tests of changed code and reruns run."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np

from orchestrator import File, approve, dynamic, pipeline, signal, stage, step, when


def note(ledger: str, text: str = "") -> None:
    """Leave a line that says which step began; the one of the testing tools reads keys, which is a sign of effects."""
    with Path(ledger).open("a") as file:
        file.write(f"{step().node} {text}\n")


@stage
def load(n: int, ledger: str) -> list[int]:
    note(ledger)
    return list(range(n))


@stage
def clean(x: int, ledger: str) -> int:
    note(ledger)
    return x + 1


@stage(effects=True)
def publish(xs: list[int], ledger: str) -> str:
    note(ledger, f"{step().key} {xs}")
    return f"published {len(xs)}"


@stage
def fit(xs: list[int], told: str, ledger: str) -> int:
    note(ledger)
    raise ValueError("the first version cannot fit")


@stage(name="fit")
def fit_corrected(xs: list[int], told: str, ledger: str) -> int:
    note(ledger)
    return sum(xs)


@stage(name="clean")
def clean_otherwise(x: int, ledger: str) -> int:
    note(ledger)
    return x + 2


@stage
def both(a: int, b: str) -> str:
    return f"{a}, {b}"


@pipeline(name="report")
def report(ledger: str, n: int = 3) -> str:
    xs = clean.map(load(n, ledger), ledger=ledger)
    told = publish(xs, ledger)
    return both(fit(xs, told, ledger), told)


@pipeline(name="report")
def report_corrected(ledger: str, n: int = 4) -> str:
    xs = clean.map(load(n, ledger), ledger=ledger)
    told = publish(xs, ledger)
    return both(fit_corrected(xs, told, ledger), told)


@pipeline(name="report")
def report_cleaned(ledger: str, n: int = 3) -> str:
    xs = clean_otherwise.map(load(n, ledger), ledger=ledger)
    told = publish(xs, ledger)
    return both(fit_corrected(xs, told, ledger), told)


@stage
def ship(x: object) -> str:
    return f"shipped {x}"


@stage(name="ship")
def ship_carefully(x: object) -> str:
    return f"carefully shipped {x}"


@stage
def count(xs: list[int]) -> int:
    return len(xs)


@stage(name="count")
def count_twice(xs: list[int]) -> int:
    return 2 * len(xs)


@pipeline(name="asked")
def asked(ledger: str) -> str:
    counted = count(load(3, ledger))
    approve("Ship it?")
    return ship([counted, signal("go")])


@pipeline(name="asked")
def asked_carefully(ledger: str) -> str:
    counted = count(load(3, ledger))
    approve("Ship it?")
    return ship_carefully([counted, signal("go")])


@pipeline(name="asked")
def asked_again(ledger: str) -> str:
    counted = count_twice(load(3, ledger))
    approve("Ship it?")
    return ship([counted, signal("go")])


@pipeline(name="asked")
def asked_with_more(ledger: str, more: int) -> str:
    return ship([load(more, ledger)])


@pipeline(name="published")
def published(ledger: str) -> list[object]:
    return [signal("go"), publish(clean.map([1, 2], ledger=ledger), ledger)]


@pipeline(name="published")
def published_otherwise(ledger: str) -> list[object]:
    return [signal("go"), publish(clean_otherwise.map([1, 2], ledger=ledger), ledger)]


@stage
def draws(x: int) -> list[float]:
    return [random.random(), float(np.random.rand()), step().random.random(), float(step().seed), float(x)]


@stage(num_cpus=0.5)
def draws_heavily() -> list[float]:
    return [random.random(), float(np.random.rand()), step().random.random()]


@dynamic
def island(n: int) -> list[list[float]]:
    found = [draws(i) for i in range(n)]
    return [*found, [step().random.random()]]


@pipeline
def drawing() -> list[object]:
    return [draws.map([1, 2, 3]), draws(4), draws(4), island(2)]


@pipeline
def drawing_heavily() -> list[object]:
    return [draws.map([1, 2, 3]), draws_heavily(), island(2)]


@stage
def clock(x: int) -> float:
    return time.time()


@stage
def later(at: float) -> float:
    return at + 1


@pipeline
def ticking() -> list[object]:
    steady = draws(1)
    return [steady, later(clock(1)), later.map([1.0, 2.0])]


@stage(cache="1d")
def stored(x: int) -> float:
    return time.time()


@dynamic
def storing(x: int) -> float:
    return stored(x)


@pipeline
def storing_twice() -> list[object]:
    return [stored(1), storing(2)]


@stage(effects=True)
def acts(x: int, ledger: str) -> int:
    note(ledger)
    return x


@dynamic
def acting(x: int, ledger: str) -> int:
    return acts(x, ledger) + 1


@pipeline
def acting_twice(ledger: str) -> list[object]:
    return [acts(1, ledger), acting(2, ledger)]


@stage
def flips(marker: str) -> bool:
    """True the first time only."""
    first = not Path(marker).exists()
    Path(marker).touch()
    return first


@pipeline
def unsure(marker: str, ledger: str) -> object:
    return when(flips(marker), then=lambda: 0, otherwise=lambda: acts(1, ledger))


@dynamic
def unsure_island(marker: str, ledger: str) -> int:
    return 0 if flips(marker) else acts(1, ledger)


@pipeline
def unsure_inside(marker: str, ledger: str) -> int:
    return unsure_island(marker, ledger)


@pipeline
def sizes_only() -> int:
    return sizes(["a", "b"])


@stage
def size(path: File) -> int:
    return len(Path(path).read_text())


@stage
def sizes(paths: list[str]) -> int:
    return len(paths)


@pipeline(name="sized")
def sized(path: str, ledger: str) -> list[int]:
    return [size(path), sizes([path])]
