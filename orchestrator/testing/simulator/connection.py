"""A driver's process as the simulation runs it: its connection to the store, its lease, and its committer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from orchestrator.engine.committer import RETRY_S, Committer
from orchestrator.errors import StoreUnavailable
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Append, Journal, Ownership
from orchestrator.testing.simulator.clockwork import BEGIN_S, Clockwork, Killed, Process
from orchestrator.testing.simulator.store import LEASE_S, Lease, Store
from orchestrator.testing.simulator.weather import Weather

OUTAGE_S = 1.5
"""How long a store stays away or full."""


RENEWAL = "renewal"


class Place:
    """What the parts of one driver's process share: who it is, the time, and what may go wrong.

    Args:
        stepwise: Others may come in at every call of a port, not only where the driver waits.

    Attributes:
        weather: Replaced when the faults stop.
        driver, executor: What runs in the process, once it owns the run.
    """

    __slots__ = ("chance", "clockwork", "driver", "executor", "process", "stepwise", "weather")

    def __init__(
        self, clockwork: Clockwork, process: Process, chance: random.Random, weather: Weather, stepwise: bool = False
    ) -> None:
        self.clockwork = clockwork
        self.process = process
        self.chance = chance
        self.weather = weather
        self.stepwise = stepwise
        self.driver: Any = None
        self.executor: Any = None

    def likely(self, kind: str) -> bool:
        """Whether a fault of this kind happens now."""
        probability: float = getattr(self.weather, kind)
        return probability > 0.0 and self.chance.random() < probability

    def note(self, text: str) -> None:
        """Put a line into the trace, if there is one."""
        if self.clockwork.trace is not None:
            self.clockwork.trace(f"{self.clockwork.now_s - BEGIN_S:9.4f}  {self.process.name:<9} {text}")

    def point(self) -> None:
        """A moment at which the process may be frozen or killed."""
        self.clockwork.check(self.process)
        if self.likely("kill_driver"):
            self.note("is killed")
            self.process.doomed = True
            raise Killed
        if self.likely("freeze_driver"):
            duration_s = self.chance.uniform(0.5, 3.0) * LEASE_S
            self.note(f"is frozen for {duration_s:.2f} s")
            self.clockwork.freeze(self.process, duration_s)
            self.clockwork.pause(self.process, 0.0)
            self.note("wakes")

    def step(self) -> None:
        """A moment at which others may come in."""
        if self.stepwise:
            self.clockwork.pause(self.process, 0.0)


class Connection:
    """The journal as one driver sees it; whatever is not here goes straight to the store."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store = store
        self._place = place
        self._away_until = 0.0
        self._replies: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._place.point()
            self._reach()
            return found(*args, **kwargs)

        setattr(self, name, call)
        return call

    def chunk(self, run: str, digest: str) -> bytes | None:
        """Read without a fault: the driver keeps what it has just written."""
        return self._store.chunk(run, digest)

    def own(self, run: str, driver: str) -> Ownership:
        """Take the run over; the lease is renewed as long as the process lives."""
        self._place.point()
        self._place.step()
        self._reach()
        lease = self._store.own(run, driver)
        self._place.note(f"owns the run under epoch {lease.epoch}")
        self._renew_later(lease)
        return lease

    def _renew_later(self, lease: Lease) -> None:
        place = self._place
        delay_s = max(LEASE_S / 3, place.process.frozen_until - place.clockwork.now_s)
        place.clockwork.after(delay_s, RENEWAL, lambda: self._renew(lease))

    def _renew(self, lease: Lease) -> None:
        process = self._place.process
        if not (process.ended or process.doomed) and (process.frozen or lease.renew()):
            self._renew_later(lease)

    def _reach(self) -> None:
        if self._away_until > self._place.clockwork.now_s:
            raise StoreUnavailable("the store does not answer")

    def append(self, append: Append) -> int:
        """Commit, as far as the weather lets it."""
        place = self._place
        self._reach()
        if append.attempt in self._replies and not place.likely("forget"):
            return append.seq + len(append.facts)  # the store knows this transaction again
        if place.likely("away") or place.likely("full"):
            place.note("finds the store away or full")
            self._away_until = place.clockwork.now_s + OUTAGE_S
            raise StoreUnavailable("the disk is full")
        if place.likely("refuse"):
            place.note("is refused a commit")
            raise StoreUnavailable("try again")
        seq = self._store.append(append)
        if place.likely("lose_reply"):
            place.note("loses the reply to a commit")
            self._replies.add(append.attempt)
            raise StoreUnavailable("the connection broke")
        if place.likely("die_after_commit"):
            place.note("dies after a commit")
            place.clockwork.kill(place.process)
            raise Killed
        return seq


class SimulatedCommitter(Committer):
    """The committer without its thread: each try of a transaction is an event."""

    def __init__(
        self,
        place: Place,
        journal: Journal,
        clock: Clock,
        on_committed: Callable[[Append], None],
        wake: Callable[[], None],
    ) -> None:
        self._place = place
        super().__init__(journal, clock, on_committed, wake)

    def _begin(self) -> None:
        """No thread."""

    @property
    def busy(self) -> bool:
        """See ``Committer.busy``."""
        self._place.step()
        return super().busy

    def commit(self, append: Append) -> None:
        """See ``Committer.commit``."""
        self._place.step()
        super().commit(append)
        self._later(1.0 if self._place.likely("slow_commit") else 0.001)

    def flush(self) -> None:
        """See ``Committer.flush``; others go on meanwhile."""
        while self._under_way is not None and self._failure is None:
            self._place.clockwork.wait(self._place.process, RETRY_S)
        self.raise_failure()

    def close(self) -> None:
        """See ``Committer.close``."""
        self._closing = True
        while self._under_way is not None and self._failure is None:
            self._place.clockwork.wait(self._place.process, RETRY_S)

    def _later(self, delay_s: float) -> None:
        self._place.clockwork.after(delay_s, f"{self._place.process.name} commit", self._due)

    def _due(self) -> None:
        process, append = self._place.process, self._under_way
        if append is None or self._failure is not None or process.doomed or process.ended:
            return
        if process.frozen:
            self._later(process.frozen_until - process.now())
        elif not self._attempt(append):
            self._later(RETRY_S)
