"""One simulated run: drivers that come and go, a store and workers that fail by the seed, and what must hold after it.

``simulate`` runs the real driver with its machine, planner and committer under the weather of a seed, and compares what
the run came to with the same graph in calm weather. A broken promise is a ``Violation``, found at once where it can be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from orchestrator.engine.cells import Cells
from orchestrator.engine.driver import Driver
from orchestrator.engine.machine import Machine
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.snapshot import decode_snapshot, encode_snapshot
from orchestrator.engine.state import STATUS_NAMES, RunFold
from orchestrator.errors import ArtifactMissing, RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.graph import fact as f
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import Append, RunRow
from orchestrator.ports.values import decode_chunk
from orchestrator.testing.checker import Violation, check_run
from orchestrator.testing.ledger import Started
from orchestrator.testing.simulator.clockwork import BEGIN_S, Clockwork, Process, Stuck
from orchestrator.testing.simulator.connection import Connection, Place, SimulatedCommitter
from orchestrator.testing.simulator.graphs import draw_graph
from orchestrator.testing.simulator.store import LEASE_S, Store
from orchestrator.testing.simulator.values import MemoryArtifacts, NoFiles, PlainValues, decode, encode_error
from orchestrator.testing.simulator.weather import CALM_S, Weather, draw_weather
from orchestrator.testing.simulator.workers import SimulatedExecutor

RUN = "r"
SEEDS_A_GRAPH = 16
"""So many seeds in a row share a graph, and differ in everything else."""

PATIENCE_S = 30.0
"""After the faults have stopped, a run must be over in this time."""

_ACCEPTABLE = (StaleEpoch, StoreUnavailable, RunOwned, ArtifactMissing)
"""What may end a driver under faults; another is started then."""


class Broken(AssertionError):
    """A promise was broken; the message says which, and shows the evidence."""


def _told(violations: Iterable[Violation]) -> str:
    return "; ".join(f"{violation.promise}: {violation.evidence}" for violation in violations)


@dataclass
class Simulation:
    """One run of a graph under a weather.

    Attributes:
        starts: Bodies that began, as their own ledger says.
        settled: Steps whose outcome is committed.
        answers: What was posted under each key and accepted.
        fold: The run's state as its journal has it, at the end.
    """

    graph: Graph
    weather: Weather
    seed: int
    trace: Callable[[str], None] | None = None
    starts: list[Started] = field(default_factory=list)
    settled: set[tuple[str, int]] = field(default_factory=set)
    deaths: dict[tuple[str, int], int] = field(default_factory=dict)
    failures: dict[tuple[str, int], int] = field(default_factory=dict)
    answers: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.fold = RunFold(RUN, self.graph)
        self.clockwork = Clockwork(trace=self.trace)
        self.store = Store(self.clockwork.main.now, self._appended)
        self.artifacts = MemoryArtifacts()
        self._places: list[Place] = []
        self._executors: list[SimulatedExecutor] = []
        self._nonce = 0
        self._payloads: dict[str, str] = {}
        self._acknowledged: list[Append] = []
        self._slots = self.chance.randint(1, 3)

    # ---- what steps and drivers tell (``workers.World``)

    def nonce(self) -> int:
        """A new number each time."""
        self._nonce += 1
        return self._nonce

    def begun(self, place: Place, node: str, index: int, key: str, payload: str) -> None:
        """A body begins: none does after its step's outcome, and none sends two payloads under one key."""
        line = Started(RUN, f"{node}[{index}]", 1, key, payload, 0, self.clockwork.now_s)
        self.starts.append(line)
        if (node, index) in self.settled:
            self._broken("no step starts after its outcome", f"{line.step} begins in {place.process.name}")
        if key and self._payloads.setdefault(key, payload) != payload:
            evidence = f"{line.step} sends {payload} after {self._payloads[key]}"
            self._broken("one idempotency key never carries two payloads", evidence)

    def _broken(self, promise: str, evidence: str) -> None:
        """End the simulation with this, whatever becomes of the process that did it."""
        self.clockwork.report(Broken(f"{promise}: {evidence}"))

    def _appended(self, append: Append, newest_epoch: int) -> None:
        if append.epoch < newest_epoch:
            evidence = f"epoch {append.epoch} wrote {len(append.facts)} facts under epoch {newest_epoch}"
            self._broken("no accepted write below the newest epoch", evidence)
        for told in append.facts:
            for fact in f.apart(told):
                if isinstance(fact, f.StepsCompleted | f.StepsSkipped):
                    self.settled.update((fact.node, index) for index in range(fact.start, fact.stop))
                elif isinstance(fact, f.StepFailed) and fact.action in ("fail", "drop"):
                    self.settled.add((fact.node, fact.index))
            if isinstance(told, f.ApprovalRequested):
                self._answer_later(told.node)
            if self.trace is not None:
                self._note("store", f"commits {_shown(told)}")

    def _note(self, who: str, text: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.clockwork.now_s - BEGIN_S:9.4f}  {who:<9} {text}")

    # ---- people

    def _answer_later(self, node: str) -> None:
        """Somebody answers; by the weather twice, and differently the second time."""
        value: Any = len(node) % 2 == 0 if node.endswith("approve") else 3
        delay_s = self.chance.random() * 0.4
        self.clockwork.after(delay_s, "answer", partial(self._post, node, value))
        if self.weather.twice and self.chance.random() < self.weather.twice:
            delay_s += self.chance.random() * 0.1
            self.clockwork.after(delay_s, "answer", partial(self._post, node, "another answer"))

    def _post(self, node: str, value: Any) -> None:
        key, body = f"answer {node}", {"kind": "answer", "node": node, "value": value}
        accepted = self.store.post(RUN, key, body, self.clockwork.now_s)
        self._note("person", f"posts {key} = {value!r}: {'accepted' if accepted else 'known'}")
        if accepted:
            self.answers.setdefault(key, []).append(value)

    def _cancel(self) -> None:
        self.store.post(RUN, "cancel", {"kind": "cancel", "by": "person", "reason": "enough"}, self.clockwork.now_s)
        self._note("person", "cancels the run")

    # ---- drivers

    def run(self) -> None:
        """To the end of the run and of every driver.

        Raises:
            Broken: a promise did not hold.
            Stuck: the run does not end.
        """
        clockwork, chance = self.clockwork, self.chance
        self.store.create(RunRow(RUN, "drawn", "queued", 1, 0, BEGIN_S), [f.RunCreated("drawn", "", "", {})], {})
        clockwork.after(CALM_S, "calm", self._calm)
        if self.weather.cancel and chance.random() < self.weather.cancel:
            clockwork.after(chance.random(), "cancel", self._cancel)
        if self.weather.rival and chance.random() < self.weather.rival:
            clockwork.after(chance.random() * 0.1, "rival", self._start_driver)
        self._start_driver()
        try:
            while not self._over():
                if clockwork.now_s > BEGIN_S + CALM_S + PATIENCE_S:
                    raise Stuck(f"{PATIENCE_S} s after the last fault the run is {self.store.run(RUN).state}")
                clockwork.wait(clockwork.main, 5.0)
        finally:
            clockwork.end()
        self.artifacts.missing.clear()
        self._check()

    def _over(self) -> bool:
        done = self.store.run(RUN).state in f.FINISHED
        return done and all(process.ended for process in self.clockwork.processes)

    def _calm(self) -> None:
        self._note("weather", "calm")
        self.weather = Weather()
        self.artifacts.missing.clear()
        for place in self._places:
            place.weather = self.weather

    def _start_driver(self) -> None:
        if self.store.run(RUN).state not in f.FINISHED and len(self.clockwork.processes) < 60:
            number = len(self.clockwork.processes) + 1
            self.clockwork.spawn(f"driver{number}", self._drive)

    def _drive(self, process: Process) -> None:
        """What a driver's process does: own, replay, drive, and on the way out give up what it holds."""
        place = self.place(process)
        self._places.append(place)
        again_s = 0.2
        try:
            self._own_and_run(process, place)
        except RunOwned:
            again_s = LEASE_S
        except _ACCEPTABLE as error:
            place.note(f"ends: {error}")
        finally:
            self.clockwork.after(again_s, "supervisor", self._supervise)
            if all(other.ended or other is process for other in self.clockwork.processes):
                self.clockwork.wake(self.clockwork.main)

    def _supervise(self) -> None:
        """Start another driver if nobody drives."""
        if self.store.run(RUN).state in f.FINISHED:
            self.clockwork.wake(self.clockwork.main)
        elif self.store.owner(RUN) is None:
            self._start_driver()
        else:
            self.clockwork.after(LEASE_S, "supervisor", self._supervise)

    def place(self, process: Process) -> Place:
        """Where a new driver finds itself."""
        return Place(self.clockwork, process, random.Random(self.chance.random()), self.weather)

    def _own_and_run(self, process: Process, place: Place) -> None:
        journal: Any = Connection(self.store, place)
        executor = SimulatedExecutor(place, self, self.graph, self.artifacts, self._slots)
        ownership = journal.own(RUN, process.name)
        try:
            self._end_older_workers()
            self._executors.append(executor)
            machine = Machine(load_fold(journal, RUN, self.graph), encode_error)
            if machine.fold.finished is not None:
                return
            cells = Cells(RUN, journal, self.artifacts, PlainValues(), machine.chunks)
            driver = Driver(
                machine, ownership, journal, executor, cells, PlainValues(), NoFiles(), process,
                chance=place.chance, commits=partial(self._committer, place),
            )  # fmt: skip
            place.driver, place.executor = driver, executor
            driver.take([f.DriverStarted(ownership.epoch, process.name, "simulated", 0, "simulated", self._slots)])
            place.note(f"ends: the run is {driver.run()}")
        finally:
            executor.close()
            if not process.doomed:
                ownership.release()

    def _end_older_workers(self) -> None:
        for executor in self._executors:
            executor.end_workers()

    def _committer(self, place: Place, journal: Any, clock: Any, on_committed: Any, wake: Any) -> SimulatedCommitter:
        def committed(append: Append) -> None:
            self._acknowledge(append)
            on_committed(append)

        return SimulatedCommitter(place, journal, clock, committed, wake)

    def _acknowledge(self, append: Append) -> None:
        """Somebody is told that these facts are durable: they are there, now and at the end."""
        self._acknowledged.append(append)
        if not self._there(append):
            evidence = f"facts {append.seq + 1}.. of epoch {append.epoch} were acknowledged and are not in the journal"
            self._broken("acknowledged facts are there", evidence)

    # ---- what must hold at the end

    def _check(self) -> None:
        last = max((append.seq + len(append.facts) for append in self._acknowledged), default=0)
        found = check_run(self.store, RUN, self.starts, last)
        found += self._kept()
        if not found:
            self.fold = load_fold(self.store, RUN, self.graph)
            found += self._replays()
            found += self._counted_once()
        if found:
            raise Broken(_told(found))

    def _kept(self) -> Iterable[Violation]:
        for append in self._acknowledged:
            if not self._there(append):
                yield Violation("acknowledged facts are there", f"facts {append.seq + 1}.. are others now")

    def _there(self, append: Append) -> bool:
        facts = self.store.stored(RUN).facts[append.seq : append.seq + len(append.facts)]
        return len(facts) == len(append.facts) and all(
            recorded.fact is fact for recorded, fact in zip(facts, append.facts, strict=True)
        )

    def _replays(self) -> Iterable[Violation]:
        body = encode_snapshot(self.fold)
        if encode_snapshot(decode_snapshot(body, self.graph)) != body:
            yield Violation("a snapshot equals the replay", "they differ at the end of the run")

    def _counted_once(self) -> Iterable[Violation]:
        for key, values in self.answers.items():
            span = self.fold.nodes[key.removeprefix("answer ")].outputs.find(0)
            if span is not None and values != [self._cells(span.chunk)[span.at]]:
                yield Violation("an accepted request counts, once", f"{key}: {values} were accepted")

    # ---- what came out

    @property
    def state(self) -> str:
        """The run's state."""
        return self.store.run(RUN).state

    def results(self) -> dict[str, list[Any]]:
        """What every step came to: its value, without what is new each time, or its status."""
        found = {}
        for name, state in self.fold.nodes.items():
            single = state.node.stage is not None and state.node.stage.name in ("draw", "relay")
            values = []
            for index in range(state.batches if state.node.policy.streaming else state.length):
                span = state.outputs.find(index)
                value = STATUS_NAMES[state.status[index]] if span is None else self._cells(span.chunk)[span.at]
                values.append(value[0] if single and isinstance(value, list) else value)
            found[name] = values
        return found

    def _cells(self, chunk: str) -> list[Any]:
        data = self.store.chunk(RUN, chunk)
        return [decode(cell) for cell in decode_chunk(data if data is not None else self.artifacts.get(chunk))]


@lru_cache(maxsize=64)
def calm(graph_seed: int, steps: int) -> tuple[str, dict[str, list[Any]]]:
    """State and results of a graph's run without any fault."""
    simulation = Simulation(draw_graph(graph_seed, steps), Weather(), graph_seed)
    simulation.run()
    return simulation.state, simulation.results()


def weather_of(seed: int) -> Weather:
    """The weather that a seed draws."""
    return draw_weather(random.Random(seed))


def simulate(
    seed: int, trace: Callable[[str], None] | None = None, steps: int = 0, weather: Weather | None = None
) -> Simulation:
    """Run one seed and check it.

    Args:
        steps: Calls in the graph; by the seed when 0.
        weather: Instead of the seed's.

    Raises:
        Broken: a promise did not hold.
        Stuck: the run does not end.
    """
    graph_seed = seed // SEEDS_A_GRAPH
    expected_state, expected = calm(graph_seed, steps)
    drawn = weather or weather_of(seed)
    simulation = Simulation(draw_graph(graph_seed, steps), drawn, seed, trace)
    simulation.run()
    if simulation.state == "cancelled" and drawn.cancel:
        return simulation
    if drawn.damage and _missed_an_artifact(simulation.fold):
        return simulation
    if simulation.state != expected_state:
        finished = simulation.fold.finished
        reason = finished.reason if finished else ""
        raise Broken(f"results equal the fault-free run's: {simulation.state} ({reason}), not {expected_state}")
    results = simulation.results()
    if expected_state != "failed" and results != expected:
        wrong = [name for name in {*expected, *results} if expected.get(name) != results.get(name)]
        evidence = ", ".join(f"{n} is {results.get(n)}, not {expected.get(n)}" for n in wrong)
        raise Broken(f"results equal the fault-free run's: {evidence}")
    return simulation


def _missed_an_artifact(fold: RunFold) -> bool:
    """True if a step spent its attempts on an input that could not be read."""
    return any(
        failure.name == "ArtifactMissing" and state.failed_attempts.get(index, 0) >= state.node.policy.retry.attempts
        for state in fold.nodes.values()
        for index, failure in state.failures.items()
    )


def _shown(fact: f.Fact) -> str:
    text = repr(fact)
    return text if len(text) <= 160 else text[:159] + "…"
