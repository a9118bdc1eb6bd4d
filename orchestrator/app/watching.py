"""Runs whose driver died, found and driven on: what ``orc up`` does beside serving.

A driver that ends in order, also after Ctrl-C, lets go of its run; one that was killed leaves its hold behind. Only
such runs are taken up, only those that were driven on this machine, and none that somebody wants cancelled. Each gets a
driver in a process of its own, as ``orc resume`` would be; the waits between one that dies and the next grow, and when
drivers die again and again without getting on, the run says that nobody starts more.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.app.apart import resume_apart
from orchestrator.app.patience import Ended, Patience
from orchestrator.errors import OrchestratorError, RunError, RunOwned
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, RunRow

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

ROUND_S = 1.0
"""Time between two looks."""

GRACE_S = 3.0
"""A driver has been dead for so long before another starts: a supervisor or a person may be at it already."""

MOST = 200
"""Runs looked at in each state."""

_ACTIVE: tuple[f.RunState, ...] = ("queued", "running", "waiting")

_log = logging.getLogger(__name__)

Resume = Callable[["Installation", str], str | None]
Say = Callable[[str], None]


@dataclass(slots=True)
class Death:
    """A run whose driver died.

    Attributes:
        epoch: That of the driver.
        due: When another one is started, in monotonic seconds; None once nobody starts any more.
    """

    epoch: int
    due: float | None
    patience: Patience = field(default_factory=Patience)
    seq: int = 0


class Watcher:
    """Finds runs whose driver died, and drives them on.

    Args:
        say: Told what happens, line by line.
        resume: Starts a driver for a run.
        now: Monotonic seconds.
    """

    def __init__(
        self, here: Installation, say: Say, resume: Resume = resume_apart, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._here = here
        self._say = say
        self._resume = resume
        self._now = now
        self._host = socket.gethostname()
        self._deaths: dict[str, Death] = {}

    def look(self) -> None:
        """One round: note who died, and start drivers that are due."""
        journal = self._here.journal
        rows = {row.id: row for state in _ACTIVE for row in journal.runs(state=state, limit=MOST)}
        self._deaths = {run: death for run, death in self._deaths.items() if run in rows}
        for row in rows.values():
            driver = journal.abandoned(row.id)
            if driver is None or driver.rpartition(":")[0] != self._host:
                continue
            self._note(row, driver)
            death = self._deaths[row.id]
            if death.due is not None and death.due <= self._now():
                self._start(row, death)

    def _note(self, row: RunRow, driver: str) -> None:
        """Decide about a death, once."""
        death = self._deaths.get(row.id)
        if death is not None and death.epoch == row.epoch:
            return
        known = death or Death(row.epoch, None)
        known.epoch = row.epoch
        self._deaths[row.id] = known
        if self._learn(row, known):
            self._say(f"the driver {driver} of run {row.id} died, and the run is to be cancelled: orc resume {row.id}")
            return
        self._decide(row, known, Ended(f"{driver} died"), started=True)

    def _learn(self, row: RunRow, death: Death) -> bool:
        """Take in the facts that are new; whether somebody wants the run to end."""
        cancelled = False
        for recorded in self._here.journal.facts(row.id, death.seq):
            death.seq = recorded.seq
            death.patience.learn(recorded)
            cancelled |= isinstance(recorded.fact, f.CancelRequested)
        return cancelled or any(asked.body.get("kind") == "cancel" for asked in self._here.journal.inbox(row.id))

    def _decide(self, row: RunRow, death: Death, ended: Ended, started: bool) -> None:
        decision = death.patience.after(ended, started)
        if decision.give_up:
            death.due = None
            give_up(self._here, row.id, decision.give_up)
            self._say(f"run {row.id} is given up: {decision.give_up}; go on with: orc resume {row.id}")
            return
        wait_s = max(decision.wait_s, GRACE_S)
        death.due = self._now() + wait_s
        self._say(f"run {row.id}: {ended.what}; another driver starts in {wait_s:g} s")

    def _start(self, row: RunRow, death: Death) -> None:
        try:
            driver = self._resume(self._here, row.id)
        except RunOwned:
            death.due = None  # somebody else was faster
        except RunError as error:
            self._decide(row, death, Ended(error.message), started=False)
        else:
            death.due = None
            self._say(f"run {row.id} goes on, driven by {driver or 'a process that is still starting'}")


def give_up(here: Installation, run: str, reason: str) -> None:
    """Write down in the run itself, where everybody finds it, that no more drivers are started for it."""
    try:
        ownership = here.journal.own(run, f"{socket.gethostname()}:orc-up")
    except RunOwned:
        return
    try:
        row = here.journal.run(run)
        facts = [f.SupervisionEnded(reason)]
        here.journal.append(Append(row.id, ownership.epoch, row.seq, here.clock.now(), facts))
    finally:
        ownership.release()


@contextmanager
def watching(here: Installation, say: Say, enabled: bool = True) -> Iterator[None]:
    """Watch as long as the context lasts, from a thread; not at all if that is not wanted."""
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(Watcher(here, say), stop), name="watcher of runs", daemon=True)
    if enabled:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if enabled:
            thread.join(2 * ROUND_S)


def _watch(watcher: Watcher, stop: threading.Event) -> None:
    while not stop.wait(ROUND_S):
        try:
            watcher.look()
        except OrchestratorError as error:  # the store is away, or one run's record is damaged: look again later
            _log.warning("runs without a driver cannot be looked after now: %s", error)
