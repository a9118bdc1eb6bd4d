"""The supervisor of a submitted run: an actor on the cluster that starts a driver whenever there is none.

It takes no CPU, and Ray starts it again wherever its process or node dies. Each driver is a process of its own, because
drivers are what dies, and ends with its supervisor. The supervisor ends with the run.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from orchestrator.app.installation import Installation
from orchestrator.app.patience import Ended, Patience
from orchestrator.backends import jobs
from orchestrator.errors import OrchestratorError, RunOwned, StoreUnavailable
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append

T = TypeVar("T")

_ROUND_S = 1.0


class Supervisor:
    """The actor. Begins by itself, because nobody calls it when Ray has started it again.

    Args:
        run: Id of the run.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._stopping = threading.Event()
        self._driver: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._main, name=f"supervisor of {run}", daemon=True).start()

    def stop(self) -> None:
        """Let the driver stop in order and start none again; the run can be resumed."""
        self._stopping.set()
        with self._lock:
            driver = self._driver
        if driver is not None and driver.stdin is not None:
            driver.stdin.close()
            driver.wait()

    def _main(self) -> None:
        try:
            self._supervise()
        except OrchestratorError as error:
            say(f"run {self._run} cannot be supervised: {error}")
        finally:
            jobs.end_this_actor()

    def _supervise(self) -> None:
        here = Installation()
        try:
            Watch(here, self._run, self._drive, self._stopping).until_ended()
        finally:
            here.close()

    def _drive(self) -> Ended:
        """One driver, from its start to its end."""
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as anything the driver started
            with self._lock:
                if self._stopping.is_set():
                    return Ended("stopped", done=True)
                self._driver = driver = subprocess.Popen(
                    [sys.executable, "-m", "orchestrator.app.supervised", self._run],
                    stdin=subprocess.PIPE, stdout=output, text=True, start_new_session=True,
                    env=jobs.environment_of_a_child() | {"ORC_RAY_ADDRESS": jobs.cluster_address()},
                )  # fmt: skip
            say(f"driver {driver.pid} drives run {self._run}")
            code = driver.wait()
            output.seek(0)
            return ended_as(code, output.read().strip().rpartition("\n")[2])


def ended_as(code: int, said: str) -> Ended:
    """What the end of a driver's process means."""
    if code == 0:
        return Ended("ended in order", done=True)
    try:
        told = json.loads(said)
        error, passing = str(told["error"]), bool(told["passing"])
    except (ValueError, TypeError, KeyError):  # it died before it could say anything
        return Ended(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")
    return Ended(error, error=error, passing=passing, hopeless=not passing)


class Watch:
    """Starts a driver for a run again and again, until the run has ended or there is no point in it.

    Args:
        here: Where the run is.
        run: Its id.
        drive: Starts a driver and waits for its end.
        stopping: Set when no driver is to be started any more.
    """

    def __init__(self, here: Installation, run: str, drive: Callable[[], Ended], stopping: threading.Event) -> None:
        self._here = here
        self._run = run
        self._drive = drive
        self._stopping = stopping
        self._patience = Patience()
        self._seq = 0

    def until_ended(self) -> None:
        """Return when the run has ended, was given up, or ``stopping`` is set."""
        self._read()
        while not self._stopping.is_set() and not self._finished():
            ended = self._drive()
            started = self._read()
            if ended.done:
                continue
            decision = self._patience.after(ended, started)
            if decision.give_up:
                self._give_up(decision.give_up)
                return
            say(f"the driver has ended ({ended.what}); another one starts in {decision.wait_s:g} s")
            self._stopping.wait(decision.wait_s)

    def _read(self) -> bool:
        """Take in the facts that are new; whether they tell of a driver that began."""
        started = False
        for recorded in self._patiently(lambda: list(self._here.journal.facts(self._run, self._seq))):
            self._seq = recorded.seq
            self._patience.learn(recorded)
            started |= isinstance(recorded.fact, f.DriverStarted)
        return started

    def _finished(self) -> bool:
        return self._patiently(lambda: self._here.journal.run(self._run).state) in f.FINISHED

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What the journal says, as soon as it answers."""
        while True:
            try:
                return ask()
            except StoreUnavailable as error:
                say(f"the journal does not answer: {error.message}")
                if self._stopping.wait(_ROUND_S):
                    raise

    def _give_up(self, reason: str) -> None:
        """Write down in the run itself, where everybody finds it, that no more drivers are started for it."""
        say(f"run {self._run} is given up: {reason}")
        try:
            ownership = self._patiently(lambda: self._here.journal.own(self._run, "its supervisor"))
        except RunOwned as error:
            say(error.message)
            return
        try:
            row, fact = self._here.journal.run(self._run), f.SupervisionEnded(reason)
            self._here.journal.append(Append(row.id, ownership.epoch, row.seq, self._here.clock.now(), [fact]))
        finally:
            ownership.release()


def supervisor_name(run: str) -> str:
    """Name of the actor that supervises a run."""
    return f"supervisor of {run}"


def say(text: str) -> None:
    """A line for people who read the job's log."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)
