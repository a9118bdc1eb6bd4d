"""Two drivers and one run, whose every action is chosen by somebody else.

Nothing fails here but time: at each moment any process, worker or commit may come next, so each may be frozen for as
long as all others like, and the lease of the first driver ends when that is chosen. Each driver has a clock of its own,
which moves only when a wait of it is over and nobody has woken it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heapify
from operator import itemgetter

from orchestrator.errors import StaleEpoch
from orchestrator.graph import fact as f
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import Append, RunRow
from orchestrator.testing.simulator.clockwork import BEGIN_S, Entry, Process, Stuck
from orchestrator.testing.simulator.connection import RENEWAL, Connection, Place
from orchestrator.testing.simulator.likeness import Likeness
from orchestrator.testing.simulator.simulation import RUN, Simulation
from orchestrator.testing.simulator.store import Lease, Store, StoredRun
from orchestrator.testing.simulator.values import MemoryArtifacts
from orchestrator.testing.simulator.weather import Weather

Choose = Callable[["Race", list[Entry]], int | None]
"""Says which of the actions comes next; None to stop here."""


class Stopped(Exception):
    """Whoever chooses has seen enough of this order."""


class _Still(random.Random):
    """No chance: durations are all the same, and the ids of each driver are counted."""

    def __init__(self, number: int) -> None:
        super().__init__(0)
        self._ids = number << 64

    def random(self) -> float:
        """Always the same."""
        return 0.75

    def getrandbits(self, k: int) -> int:
        """The next number."""
        self._ids += 1
        return self._ids


class _Watched(Store):
    """The store, which notes whether an action saw or changed anything there that is not settled for good.

    A driver that was succeeded is refused whatever others do before or after, because epochs only grow.
    """

    touched = False

    def stored(self, run: str) -> StoredRun:
        """See ``Store``; whoever gets this may read and write."""
        self.touched = True
        return super().stored(run)

    def own(self, run: str, driver: str) -> Lease:
        """See ``Store``."""
        return _WatchedLease(self, run, super().own(run, driver).epoch)

    def append(self, append: Append) -> int:
        """See ``Store``."""
        with self.asking(append.epoch):
            return super().append(append)

    @contextmanager
    def asking(self, epoch: int, refused: type[Exception] | None = StaleEpoch) -> Iterator[None]:
        """What a driver of this epoch asks; it touches nothing if it was succeeded, is refused and changes nothing."""
        stored, touched = self._runs[RUN], self.touched
        before, answer = (stored.row, stored.lease_until, len(stored.facts)), None
        try:
            yield
        except BaseException as error:
            answer = type(error)
            raise
        finally:
            after = (stored.row, stored.lease_until, len(stored.facts))
            if answer is refused and after == before and epoch < stored.row.epoch:
                self.touched = touched


class _WatchedLease(Lease):
    """A hold on the run that is asked through the watched store."""

    _store: _Watched

    def verify(self) -> None:
        """See ``Lease``."""
        with self._store.asking(self.epoch):
            super().verify()

    def release(self) -> None:
        """See ``Lease``; nobody is refused, but who was succeeded has nothing to give up."""
        with self._store.asking(self.epoch, refused=None):
            super().release()


class Race(Simulation):
    """Two drivers and one run.

    Args:
        stepwise: Others may come in at every call of a port, not only where a driver begins and where it waits.

    Attributes:
        touched: The action before the one to be chosen saw or changed what other drivers can change or see.
    """

    store: _Watched

    def __init__(
        self, graph: Graph, choose: Choose, stepwise: bool = True, trace: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(graph, Weather(), 0, trace)
        self.store = _Watched(lambda: BEGIN_S, self._appended)
        self.touched = False
        self._choose = choose
        self._stepwise = stepwise
        self._slots = 1
        self._turn = ""
        self._clocks: dict[str, float] = {}
        self._drawn: dict[str, int] = {}
        self.clockwork.pick = self._pick

    def race(self) -> None:
        """Run to the end of the run and of both drivers.

        Raises:
            Stopped: by whoever chooses.
            Broken, Stuck: as ``run``.
        """
        clockwork = self.clockwork
        self.store.create(RunRow(RUN, "race", "queued", 1, 0, BEGIN_S), [f.RunCreated("race", "", "", {})], {})
        clockwork.after(0.0, "lease", self._expire)
        self._start_driver()
        try:
            while not self._over():
                clockwork.wait(clockwork.main, 0.0)
        finally:
            heapify(clockwork.queue)
            clockwork.end()
        self._check()

    def place(self, process: Process) -> Place:
        """See ``Simulation``."""
        number = self.clockwork.processes.index(process) + 1
        return Place(self.clockwork, process, _Still(number), self.weather, self._stepwise)

    def nonce(self) -> int:
        """A number that no other driver gets."""
        self._drawn[self._turn] = count = self._drawn.get(self._turn, 0) + 1
        return int(self._turn.removeprefix("driver")) * 1000 + count

    def begun(self, place: Place, node: str, index: int, key: str, payload: str) -> None:
        """See ``Simulation``, which judges at once; the clocks of two drivers cannot be compared at the end."""
        self.store.touched = True
        super().begun(place, node, index, key, payload)
        self.starts[-1] = self.starts[-1]._replace(at=BEGIN_S)

    def by_itself(self) -> str:
        """A driver whose actions are nobody else's business, if there is one: not begun yet, or succeeded already."""
        newest = self.store.run(RUN).epoch
        begun = {place.process.name: place for place in self._places}
        for process in self.clockwork.processes:
            driver = begun[process.name].driver if process.name in begun else None
            succeeded = driver is not None and driver._ownership.epoch < newest
            if not process.ended and (process.name not in begun or succeeded):
                return process.name
        return ""

    def _expire(self) -> None:
        """The first driver's lease ends, and a second driver comes."""
        self._note("lease", "ends")
        self.store.stored(RUN).lease_until = 0.0
        self._start_driver()

    def _supervise(self) -> None:
        """Nobody starts a third driver, unless nobody is left."""
        if self.store.run(RUN).state not in f.FINISHED and all(p.ended for p in self.clockwork.processes):
            self._start_driver()

    # ---- the order

    def _pick(self, queue: list[Entry]) -> Entry:
        """The entry that is chosen, and the clock of the driver whose it is."""
        clockwork = self.clockwork
        self._clocks[self._turn] = clockwork.now_s
        self.touched, waits = self.store.touched, False
        main, offered = self._sorted(queue)
        picked = main
        if not self._over() and clockwork.problem is None:
            picked = self._chosen(offered, main)
        queue.remove(picked)
        if picked[3] is None:
            waits = self._process(picked).waiting
        self._turn = driver_of(picked)
        clockwork.now_s = self._clocks.get(self._turn, BEGIN_S)
        self.store.touched = False
        return (picked[0] if waits else clockwork.now_s, *picked[1:])

    def _process(self, entry: Entry) -> Process:
        return self.clockwork.processes[entry[4] - 1] if entry[4] else self.clockwork.main

    def _sorted(self, queue: list[Entry]) -> tuple[Entry, list[Entry]]:
        """The main process's entry, and the first of everybody else; what cannot happen any more is taken out."""
        ended = {process.name: process.ended for process in self.clockwork.processes}
        offered: dict[str, Entry] = {}
        found: Entry | None = None
        for entry in sorted(queue, key=_number):
            process = self._process(entry)
            if entry[3] is None and (process.ticket != entry[1] or process.ended):
                queue.remove(entry)
            elif entry[3] is None and process is self.clockwork.main:
                found = entry
            elif entry[2] == RENEWAL or ended.get(driver_of(entry), False):
                queue.remove(entry)  # a lease ends only when that is chosen; with a driver all ends that is its own
            elif entry[2] != "supervisor" or all(ended.values()):
                offered.setdefault(entry[2], entry)
        assert found is not None
        return found, list(offered.values())

    def _chosen(self, offered: list[Entry], main: Entry) -> Entry:
        if not offered:
            self.clockwork.report(Stuck("nothing can happen any more, and the run has not ended"))
            return main
        chosen = self._choose(self, offered)
        if chosen is None:
            self.clockwork.report(Stopped())
            return main
        return offered[chosen]

    # ---- which moments are alike

    def likeness(self) -> tuple[object, ...]:
        """All that decides what may happen from here, and what has been promised and seen so far."""
        like = Likeness(_APART)
        like.take(self._outside())
        for process in self.clockwork.processes:
            like.now_s = self._clocks.get(process.name, BEGIN_S)
            like.process(process)
        for entry in sorted(self.clockwork.queue, key=lambda entry: (driver_of(entry), _number(entry))):
            process = self._process(entry)
            like.now_s = self._clocks.get(driver_of(entry), BEGIN_S)
            if process is not self.clockwork.main or entry[3] is not None:
                like.take((entry[2], entry[0] if entry[3] is None and process.waiting else None, entry[3]))
        return like.told()

    def outcome(self) -> tuple[object, ...]:
        """What the run has come to so far."""
        like = Likeness(_APART)
        like.take(self._outside())
        return like.told()

    def _outside(self) -> tuple[object, ...]:
        """The run's facts and their chunks, those that were acknowledged, and the bodies that began."""
        stored = self.store._runs[RUN]
        told = {
            (append.seq + place, id(fact)): fact
            for append in self._acknowledged
            for place, fact in enumerate(append.facts)
        }
        return (
            stored.row.epoch, stored.row.state, stored.lease_until > BEGIN_S, stored.chunks, stored.snapshot,
            stored.inbox, stored.taken, [recorded.fact for recorded in stored.facts],
            [(place, told[place, number]) for place, number in sorted(told)], self.settled,
            [(line.step, line.key, line.payload) for line in self.starts], self._drawn,
        )  # fmt: skip


_number = itemgetter(1)
_APART = frozenset({Race, _Watched, MemoryArtifacts, Connection, Weather})
"""What drivers share is taken in first; where nothing fails but time, the others are the same all the time."""


def driver_of(entry: Entry) -> str:
    """Whose an entry is, by its label: a driver's own, its commit's, one of its workers'; or the lease's."""
    return entry[2].partition(" ")[0].partition(".")[0]
