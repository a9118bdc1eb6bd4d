"""Which worker of a run has which steps at the moment: a fold over facts that keeps only what is under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.graph import fact as f


@dataclass(slots=True)
class Flight:
    """Items ``start..stop`` of a node with a worker since ``at``; ``left`` of them have no outcome yet."""

    node: str
    start: int
    stop: int
    worker: str
    at: float
    left: int
    bundle: str = ""

    def holds(self, item: int) -> bool:
        """True if the item is among them."""
        return self.start <= item < self.stop


@dataclass(slots=True)
class Occupancy:
    """Workers of the present driver, and what they have.

    Attributes:
        workers: As they came up, by name.
    """

    driver: f.DriverStarted | None = None
    workers: dict[str, f.WorkerStarted] = field(default_factory=dict)
    flights: dict[str, list[Flight]] = field(default_factory=dict)

    def add(self, fact: f.Fact, at: float) -> None:
        """Take a fact in."""
        if isinstance(fact, f.DriverStarted):
            self.driver = fact
            self.workers, self.flights = {}, {}
        elif isinstance(fact, f.WorkerStarted):
            self.workers[fact.worker] = fact
        elif isinstance(fact, f.WorkerLost):
            self._lose(fact.worker)
        elif isinstance(fact, f.CodeChanged):
            self.flights = {}
        elif isinstance(fact, f.RunFinished):
            self.workers, self.flights = {}, {}
        else:
            for one in f.apart(fact):
                self._add(one, at)

    def _add(self, fact: f.Fact, at: float) -> None:
        if isinstance(fact, f.StepsStarted):
            width = fact.stop - fact.start
            flight = Flight(fact.node, fact.start, fact.stop, fact.worker, at, width, fact.bundle)
            self.flights.setdefault(fact.node, []).append(flight)
        elif isinstance(fact, f.StepsCompleted | f.StepsSkipped):
            self._settle(fact.node, fact.start, fact.stop)
        elif isinstance(fact, f.AttemptFailed | f.StepFailed):
            self._settle(fact.node, fact.index, fact.index + 1)

    def _lose(self, worker: str) -> None:
        self.workers.pop(worker, None)
        for node, flights in list(self.flights.items()):
            self._keep(node, [flight for flight in flights if flight.worker != worker])

    def _settle(self, node: str, start: int, stop: int) -> None:
        flights = self.flights.get(node)
        if not flights:
            return
        for flight in flights:
            flight.left -= max(0, min(stop, flight.stop) - max(start, flight.start))
        self._keep(node, [flight for flight in flights if flight.left > 0])

    def _keep(self, node: str, flights: list[Flight]) -> None:
        if flights:
            self.flights[node] = flights
        else:
            self.flights.pop(node, None)

    def of_workers(self) -> dict[str, list[Flight]]:
        """What each worker has, in the order in which it was sent; workers that have nothing included."""
        found: dict[str, list[Flight]] = {worker: [] for worker in self.workers}
        flights = sorted((flight for one in self.flights.values() for flight in one), key=lambda flight: flight.at)
        for flight in flights:
            found.setdefault(flight.worker, []).append(flight)
        return found
