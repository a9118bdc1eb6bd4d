"""Every order in which two drivers may act on a run of three steps, or those near the usual one.

Nothing fails here but time: at each moment any process, worker or commit may come next, so each may be frozen for as
long as all others like, and the lease of the first driver may end. The usual order is that of time; a deviation takes
another process or event first. Each run is repeated from its start with one deviation more, wherever that leads to a
state that was not seen before; when no such state is left, all orders have been seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify
from typing import Any

from orchestrator import pipeline
from orchestrator.engine.driver import POLL_S
from orchestrator.graph import fact as f
from orchestrator.graph.json import seal
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import RunRow
from orchestrator.testing.simulator.clockwork import Entry, Process, Stuck
from orchestrator.testing.simulator.connection import RENEWAL, Place
from orchestrator.testing.simulator.graphs import draw, relay, send
from orchestrator.testing.simulator.simulation import RUN, Broken, Simulation
from orchestrator.testing.simulator.values import encode
from orchestrator.testing.simulator.weather import Weather


class Seen(Exception):
    """This state was visited before."""


class _Still(random.Random):
    """No chance: durations are all the same, and ids are counted."""

    def __init__(self) -> None:
        super().__init__(0)
        self._ids = 0

    def random(self) -> float:
        """Always the same."""
        return 0.75

    def getrandbits(self, k: int) -> int:
        """The next number."""
        self._ids += 1
        return self._ids


@dataclass
class Visited:
    """What a search has seen.

    Attributes:
        runs: Orders that were run; ``ends`` of them came to the run's end, the others to a known state.
        takeovers: Orders in which the second driver came to own the run; ``longest`` the most actions of one.
    """

    runs: int = 0
    ends: int = 0
    takeovers: int = 0
    longest: int = 0
    states: set[int] = field(default_factory=set)


class Race(Simulation):
    """Two drivers and one run; the order of everything comes from a list of choices."""

    def __init__(self, graph: Graph, choices: list[int], visited: Visited, trace: Callable[[str], None] | None) -> None:
        super().__init__(graph, Weather(), 0, trace)
        self.choices = choices
        self.widths: list[int] = []
        self._visited = visited
        self._drivers: list[Any] = []
        self._slots = 1
        self.clockwork.pick = self._pick

    def race(self) -> None:
        """Run to the end of the run and of both drivers.

        Raises:
            Seen: it came to a known state.
            Broken, Stuck: as ``run``.
        """
        clockwork = self.clockwork
        self.store.create(RunRow(RUN, "race", "queued", 1, 0, 1000.0), [f.RunCreated("race", "", "", {})], {})
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
        return Place(self.clockwork, process, _Still(), self.weather, stepwise=True)

    def _expire(self) -> None:
        """The first driver's lease ends, and a second driver comes."""
        stored = self.store.stored(RUN)
        self._note("lease", "ends")
        stored.lease_until = 0.0
        self._start_driver()

    def _supervise(self) -> None:
        """Nobody starts a third driver, unless nobody is left."""
        if self.store.run(RUN).state not in f.FINISHED and all(p.ended for p in self.clockwork.processes):
            self._start_driver()

    # ---- the order

    def _pick(self, queue: list[Entry]) -> Entry:
        """The entry that the choices say; past their end the first, once the state is known to be new."""
        clockwork = self.clockwork
        offered: dict[str, Entry] = {}
        main: Entry | None = None
        for entry in sorted(queue):
            process = clockwork.processes[entry[4] - 1] if entry[4] else clockwork.main
            if entry[3] is None and (process.ticket != entry[1] or process.ended):
                queue.remove(entry)
            elif entry[3] is None and process is clockwork.main:
                main = entry
            elif entry[2] == RENEWAL:
                queue.remove(entry)  # a lease ends only when the search says so
            elif entry[3] is None or not self._idle(entry[2]):
                offered.setdefault(entry[2], entry)
        assert main is not None
        picked = main
        if not self._over() and clockwork.problem is None:
            picked = self._chosen(list(offered.values()), main)
        queue.remove(picked)
        return picked

    def _idle(self, label: str) -> bool:
        return label == "supervisor" and not all(p.ended for p in self.clockwork.processes)

    def _chosen(self, offered: list[Entry], main: Entry) -> Entry:
        if not offered:
            self.clockwork.report(Stuck("nothing can happen any more, and the run has not ended"))
            return main
        at = len(self.widths)
        self.widths.append(len(offered))
        if at < len(self.choices):
            return offered[self.choices[at]]
        state = hash((tuple(entry[2] for entry in offered), self._state()))
        if state in self._visited.states:
            self.clockwork.report(Seen())
            return main
        self._visited.states.add(state)
        return offered[0]

    def _state(self) -> tuple[Any, ...]:
        """All that decides what may happen from here, but time and names."""
        stored = self.store.stored(RUN)
        return (
            stored.row.epoch, stored.row.seq, stored.row.state, stored.lease_until > self.clockwork.now_s,
            frozenset(self.settled), frozenset(line.step for line in self.starts),
            *(self._driver_state(place) for place in self._places),
        )  # fmt: skip

    def _driver_state(self, place: Place) -> tuple[Any, ...]:
        process, driver = place.process, place.driver
        if process.ended or driver is None:
            return (process.ended, process.at)
        machine, committer, pending = driver._machine, driver._committer, driver._pending
        return (
            process.waiting, process.at, machine.fold.seq, tuple(_kind(fact) for fact in pending.facts),
            committer.busy, committer._failure is None, driver._state, len(machine.chunks),
            tuple(tuple(flight.segments) for flight in machine.flights.values()),
            tuple(bytes(front.live) for front in machine.frontier.fronts.values()),
            tuple(bytes(state.status) for state in machine.fold.nodes.values()),
            place.executor.state(), driver._due_s() <= 0, process.now() - driver._inbox_read_at >= POLL_S,
        )  # fmt: skip


def _kind(fact: f.Fact) -> tuple[str, Any]:
    return type(fact).__name__, getattr(fact, "node", None) or getattr(fact, "nodes", None)


@pipeline
def _three_steps() -> Any:
    return send(relay(draw(1)))


def explore(
    deviations: int | None = None, graph: Graph | None = None, tell: Callable[[str], None] = lambda line: None
) -> Visited:
    """Visit every order of actions, or those with up to so many deviations from the usual order.

    Args:
        tell: Gets a line after each number of deviations.

    Raises:
        Broken, Stuck: an order in which a promise does not hold; the message has its choices, for ``replay``.
    """
    graph = graph or seal(_three_steps.graph(), encode)
    visited, level = Visited(), [[]]  # type: Visited, list[list[int]]
    deviation = 0
    while level:
        further: list[list[int]] = []
        for choices in level:
            widths = _visit(graph, choices, visited)
            if deviation != deviations:
                for at in range(len(choices), len(widths)):
                    taken = [*choices, *[0] * (at - len(choices))]
                    further += [[*taken, other] for other in range(1, widths[at])]
        tell(f"{deviation} deviations: {visited.runs} orders, {len(visited.states)} states; {len(further)} orders next")
        level, deviation = further, deviation + 1
    return visited


def _visit(graph: Graph, choices: list[int], visited: Visited) -> list[int]:
    """One run; how many choices there were at each of its new states."""
    race = Race(graph, choices, visited, None)
    visited.runs += 1
    try:
        race.race()
        visited.ends += 1
    except Seen:
        race.widths.pop()
    except (Broken, Stuck) as error:
        raise type(error)(f"{error}; shown by replay({choices})") from error
    visited.takeovers += race.store.run(RUN).epoch > 1
    visited.longest = max(visited.longest, len(race.widths))
    return race.widths


def replay(choices: list[int], trace: Callable[[str], None] = print) -> None:
    """Run one order again, with its trace; raises as ``explore``."""
    Race(seal(_three_steps.graph(), encode), choices, Visited(), trace).race()
