"""One run under one fault: its drivers, what they and its steps have said so far, and waiting for what is to come."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.app.run import Run
from orchestrator.graph.fact import FINISHED
from orchestrator.testing import Started, read_ledger
from orchestrator.testing.ledger import read_lines
from tests.chaos.world import Place, World

PATIENCE_S = 240.0
"""Longest wait for anything that must happen; nothing is measured against it."""

_POLL_S = 0.03
_AGAIN_S = 0.3
_ROOT = Path(__file__).parents[2]


class Stuck(AssertionError):
    """Something that must happen did not."""


class DriverProcess:
    """A driver: a process, what it said, and how it ended."""

    def __init__(self, folder: Path, number: int, environment: dict[str, str], *words: str) -> None:
        self._said, self._errors = folder / f"driver{number}.out", folder / f"driver{number}.err"
        call = [sys.executable, "-m", "tests.chaos.driver", str(folder), *words]
        with self._said.open("wb") as said, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                call, cwd=_ROOT, env=environment, stdout=said, stderr=errors, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        """True while it runs or is stopped."""
        return self.process.poll() is None

    @property
    def run(self) -> str:
        """Id of its run; empty if it has not said so yet."""
        return self._said.read_text().strip()

    @property
    def errors(self) -> str:
        """What it complained about."""
        return self._errors.read_text(errors="replace").strip()

    def send(self, what: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(what)

    def kill(self) -> None:
        """End it at once, as a loss of power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Episode:
    """A run of the pipeline and everything that drives it.

    Args:
        width, seconds: Size of the pipeline.
    """

    def __init__(self, world: World, place: Place, rng: random.Random, width: int, seconds: float) -> None:
        self.world = world
        self.place = place
        self.rng = rng
        self.width = width
        self.seconds = seconds
        self.folder = place.folder
        self.drivers: list[DriverProcess] = []
        self.notes: list[str] = []
        self.may_fail = False
        self.healed_at: float | None = None
        self._may_go = True
        self._gone = False

    # ---- acting

    def begin(self, go: bool = True) -> None:
        """Start the run, and wait until it exists.

        Args:
            go: Whether the signal for which its readers wait comes by itself.
        """
        self._may_go = go
        first = self.drive("start", str(self.width), str(self.seconds))
        self.wait_for(lambda: bool(first.run) or not first.alive, "the driver to create its run")
        if not first.run:
            raise Stuck(f"the driver ended before it created its run: {first.errors}")
        if go:
            self.go()

    def drive(self, *words: str) -> DriverProcess:
        """Start one more driver."""
        driver = DriverProcess(self.folder, len(self.drivers), self.place.environment, *words)
        self.drivers.append(driver)
        return driver

    def resume(self) -> DriverProcess:
        """Start one more driver, which takes the run over."""
        return self.drive("resume", self.run)

    def take_over(self) -> DriverProcess:
        """Resume until a driver has the run: a lease of the one before has to run out first."""
        while True:
            driver = self.resume()
            self.wait_for(lambda: driver.run or not driver.alive, "a driver to take the run over")  # noqa: B023
            if driver.run:
                return driver
            if "RunOwned" not in driver.errors:
                raise Stuck(f"the run could not be taken over: {driver.errors}")
            time.sleep(_AGAIN_S)

    def go(self) -> None:
        """Let the readers begin."""
        self._may_go = True
        body = {"kind": "signal", "node": "go", "value": 1, "by": "chaos"}
        self.place.here.journal.post(self.run, "signal-go", body, time.time())
        self._gone = True

    def note(self, text: str) -> None:
        """Something about this run that the report should say."""
        self.notes.append(text)

    def healed(self) -> None:
        """The faults have stopped; said by the fault, else they have when it returns."""
        if self.healed_at is None:
            self.healed_at = time.time()

    def finish(self) -> None:
        """Resume the run as often as it has no driver, until it has ended and so have its drivers."""
        self.healed()
        if not self._gone:
            self.go()
        deadline = time.monotonic() + PATIENCE_S
        while self.state not in FINISHED:
            if time.monotonic() > deadline:
                raise Stuck(f"run {self.run} is still {self.state} {PATIENCE_S:g} s after the faults stopped")
            if not any(driver.alive for driver in self.drivers):
                time.sleep(_AGAIN_S)
                self.resume()
            time.sleep(_POLL_S)
        self.wait_for(lambda: not any(d.alive for d in self.drivers), "the drivers of a run that has ended to end")

    def end(self) -> None:
        """End all drivers that still run."""
        for driver in self.drivers:
            if driver.alive:
                driver.kill()

    # ---- looking

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.drivers[0].run

    @property
    def state(self) -> str:
        """State of the run, as the journal has it."""
        return self.place.here.journal.run(self.run).state

    @property
    def handle(self) -> Run:
        """The run, for whoever reads it."""
        return Run(self.place.here, self.run)

    @property
    def ledger(self) -> list[Started]:
        """What steps have written."""
        return read_ledger(self.folder / "ledger")

    @property
    def finished(self) -> list[dict[str, Any]]:
        """What the clients of the drivers were told, group by group: time, steps that are finished."""
        return read_lines(self.folder / "finished")

    def outcomes(self, of: str = "") -> int:
        """How many steps (of one node) a client was told are finished."""
        return sum(step.startswith(of) for line in self.finished for step in line["steps"])

    @property
    def under_way(self) -> bool:
        """True if a driver lives and the run has not ended."""
        return any(driver.alive for driver in self.drivers) and not any(line["ended"] for line in self.finished)

    def wait_for(self, what: Callable[[], object], described: str, driven: bool = False) -> None:
        """Wait until something is true; raises Stuck if it does not come true.

        Args:
            driven: It cannot come true without a living driver.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            if time.monotonic() > deadline:
                raise Stuck(f"waited {PATIENCE_S:g} s in vain for {described}; drivers said: {self.complaints}")
            if driven and not any(driver.alive for driver in self.drivers) and not what():
                raise Stuck(f"no driver is left to bring about {described}; they said: {self.complaints}")
            time.sleep(_POLL_S)

    def wait_for_outcomes(self, count: int, of: str = "") -> None:
        """Wait until so many steps (of one node) are finished."""
        self.wait_for(lambda: self.outcomes(of) >= count, f"{count} outcomes {of}", driven=True)

    @property
    def complaints(self) -> list[str]:
        """What the drivers complained about."""
        return [driver.errors for driver in self.drivers if driver.errors]
