"""Pipelines with sweeps; their trials leave a line in a ledger."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator import Pipeline, dynamic, pipeline, stage, step, sweep
from orchestrator.sweeps import Best
from orchestrator.testing import read_ledger, write_ledger


@dataclass
class Fitted:
    auc: float
    started_at: int


@stage
def rows(n: int) -> list[int]:
    return list(range(n))


@stage
def fit(data: list[int], rate: float, ledger: str, held_from: int = 100, reports: int = 3) -> Fitted:
    """A trial; with ``held_from`` lines in the ledger it waits until the file ``LEDGER.go`` is there."""
    write_ledger(ledger)
    while len(read_ledger(ledger)) >= held_from and not Path(f"{ledger}.go").exists():
        time.sleep(0.02)
    begun = step().restored() or 0
    for number in range(begun, reports):
        step().checkpoint(number + 1)
        step().report(auc=len(data) + number / 100 - abs(rate - 0.02))
    return Fitted(len(data) + (reports - 1) / 100 - abs(rate - 0.02), begun)


def square(x: float) -> float:
    return x * x


squared = stage(square)


@pipeline
def plain(ledger: str, searcher: str = "random", trials: int = 8, held_from: int = 100) -> Best[Fitted]:
    over = {"rate": (1e-4, 1.0, "log")}
    fixed = {"data": rows(5), "ledger": ledger, "held_from": held_from}
    return sweep(fit, over, fixed=fixed, metric="auc", trials=trials, searcher=searcher, concurrency=2)  # type: ignore[arg-type]


@pipeline
def steered(ledger: str) -> Best[Fitted]:
    over = {"rate": [0.02, 0.9, 0.8, 0.7, 0.021, 0.6]}
    fixed = {"data": rows(5), "ledger": ledger, "reports": 9}
    return sweep(fit, over, fixed=fixed, metric="auc", scheduler="asha")


@dynamic
def narrowing(ledger: str, die: bool) -> list[Best[Fitted]]:
    """A second sweep around the best of the first; the body dies in between, once."""
    fixed = {"data": [1, 2], "ledger": ledger}
    wide = sweep(fit, {"rate": [0.001, 0.01, 0.1]}, fixed=fixed, metric="auc")
    if die and not Path(f"{ledger}.died").exists():
        Path(f"{ledger}.died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    rate = float(wide.params["rate"])
    near = sweep(fit, {"rate": (rate / 2, rate * 4)}, fixed=fixed, metric="auc", trials=4, searcher="optuna")
    assert sweep(squared, {"x": [1.0, -3.0]}, metric="real").params == {"x": -3.0}
    return [wide, near]


@pipeline
def nested(ledger: str, die: bool = False) -> list[Best[Fitted]]:
    return narrowing(ledger, die)


@dynamic
def on_tune(ledger: str) -> float:
    return sweep(fit, {"rate": [0.1]}, fixed={"data": [1], "ledger": ledger}, metric="auc", scheduler="asha").value


@pipeline
def nested_on_tune(ledger: str) -> float:
    return on_tune(ledger)


def nameless() -> Pipeline[[], float]:
    @stage
    def square(x: float) -> float:
        return x * x

    @dynamic
    def body() -> float:
        return sweep(square, {"x": [1.0]}, metric="auc").value

    return pipeline(lambda: body())
