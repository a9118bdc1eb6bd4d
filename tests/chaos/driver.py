"""A driver in a process of its own: starts a run, or takes one over. Its settings come from ``ORC_*`` and ``CHAOS_*``.

``python -m tests.chaos.driver FOLDER start WIDTH SECONDS`` or ``… FOLDER resume RUN``. The run's id goes to standard
output as soon as the run exists. Exit codes: 0 the run has its result, 1 an error that was said, 2 the run failed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from orchestrator.app.clock import SystemClock
from orchestrator.app.installation import Installation
from orchestrator.app.runner import Runner
from orchestrator.errors import OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.graph.pipeline import RunOptions
from orchestrator.ports.journal import Journal
from orchestrator.store import open_journal
from orchestrator.testing import AcknowledgementFile
from orchestrator.testing.checker import outcomes
from orchestrator.testing.ledger import append_line
from tests.chaos.work import weather

LEASE_VARIABLE = "CHAOS_LEASE_S"


class SteppedClock(SystemClock):
    """A wall clock that somebody sets: a file holds how many seconds it is off."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def now(self) -> float:
        """Wall-clock seconds since the epoch, as this machine's clock shows them."""
        return super().now() + offset_s(self._path)


def offset_s(path: Path) -> float:
    """How far a clock is off."""
    return float(path.read_text() or 0) if path.exists() else 0.0


class ChaosInstallation(Installation):
    """An installation with a clock that can be set, and short leases."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clock = SteppedClock(folder / "clock")

    @cached_property
    def journal(self) -> Journal:
        """The journal."""
        return open_journal(self.settings.journal_url, lease_s=float(os.environ[LEASE_VARIABLE]))


class Client:
    """Writes down what a driver tells it: the facts, and which steps are finished at what time of this machine."""

    def __init__(self, folder: Path) -> None:
        self._facts = AcknowledgementFile(folder / "acknowledged")
        self._finished = folder / "finished"

    def __call__(self, facts: Iterable[f.Fact], at: float) -> None:
        """Observer of a driver."""
        told = list(facts)
        self._facts(told, at)
        steps = [step for step, _ in outcomes(f.Recorded(0, at, fact) for fact in told)]
        ended = any(isinstance(fact, f.RunFinished) for fact in told)
        append_line(self._finished, {"at": time.time(), "pid": os.getpid(), "steps": steps, "ended": ended})


def main(folder: Path, action: str, *words: str) -> int:
    """Drive; returns the exit code."""
    try:
        runner = Runner(ChaosInstallation(folder), Client(folder))
        if action == "start":
            params = {"folder": str(folder), "width": int(words[0]), "seconds": float(words[1])}
            run = runner.start(weather, params, RunOptions(on="ray"))
        else:
            run = runner.resume(words[0])
        print(run.id, flush=True)
        return 0 if run.wait().state in ("succeeded", "degraded") else 2
    except OrchestratorError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
