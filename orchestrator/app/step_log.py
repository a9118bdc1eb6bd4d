"""What a step wrote, all attempts in order, and what it writes while it runs; from the record that is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.engine.state import OPEN, SETTLED
from orchestrator.graph.fact import FINISHED
from orchestrator.ports.logs import read_live, read_range

if TYPE_CHECKING:
    from orchestrator.app.record import RunRecord


class LogRange(NamedTuple):
    """A part of a step's output: bytes ``start..stop`` of the log of a worker."""

    worker: str
    start: int
    stop: int


def log_ranges(record: RunRecord, node: str, index: int) -> list[LogRange]:
    """Where the output of a step stands by now, in order."""
    found = []
    for fact in record.items.of(node).logs:
        if fact.start <= index < fact.stop:
            place = 2 * (index - fact.start)
            found.append(LogRange(fact.file, fact.offsets[place], fact.offsets[place + 1]))
    return [*found, *_live(record, node, index)]


def read_log(record: RunRecord, ranges: Iterable[LogRange]) -> str:
    """The output itself; what cannot be read, such as a log on another machine, is told in its place."""
    folder = record.installation.settings.logs_dir
    parts = [read_range(folder / f"{one.worker}.log", one.start, one.stop) for one in ranges]
    return b"".join(parts).decode(errors="replace")


def still_writes(record: RunRecord, node: str, index: int) -> bool:
    """Whether more may come: the step has no outcome yet, and the run has not ended."""
    state = record.fold.nodes[node]
    open_ = index >= state.length or state.status[index] not in SETTLED
    return record.row.state not in FINISHED and open_


def _live(record: RunRecord, node: str, index: int) -> Iterator[LogRange]:
    state = record.fold.nodes[node]
    if record.driver is None or not (index < state.length and state.status[index] == OPEN):
        return
    for flight in record.occupancy.flights.get(node, ()):
        if flight.holds(index):
            found = read_live(record.installation.settings.logs_dir / f"{flight.worker}.log")
            if found is not None and (found.bundle, found.node, found.index) == (flight.bundle, node, index):
                yield LogRange(flight.worker, found.start, found.stop)
