"""Trials for the tests of Ray Tune: functions by name, and values as plain pickles."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.graph.context import step


@dataclass
class Outcome:
    """What a trial comes to, as far as Tune has to know."""

    output: Any
    value: float
    reports: list[dict[str, float]]


def climb(point: dict[str, Any], given: dict[str, Any]) -> Outcome:
    """Gain ``rate`` at each report, going on from a checkpoint; each beginning leaves a line."""
    level, done = step().restored() or (0.0, 0)
    with Path(given["ledger"]).open("a") as ledger:
        ledger.write(f"{point['rate']} from {done}\n")
    if point["rate"] == given.get("bad"):
        raise ValueError("no such rate")
    for number in range(done, given["reports"]):
        level += point["rate"]
        step().checkpoint((level, number + 1))
        step().report(level=level)
    return Outcome({"level": level, "from": done}, level, [])


class Pickles:
    """See ``tune_trial.Source``."""

    def function(self, reference: str) -> Any:
        """A function of this module."""
        return globals()[reference]

    def encode(self, value: Any) -> bytes:
        """Its pickle."""
        return pickle.dumps(value)

    def load(self, stored: bytes) -> Any:
        """What was pickled."""
        return pickle.loads(stored)
