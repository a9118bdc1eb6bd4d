"""Where the output of steps stands: what is over in facts, what a running step has printed in the note of its worker.

Whoever shows logs (pages, ``orc logs``, runs in Python, reports) finds and reads them here. The files are kept with the
runs, so they are there after workers, Ray and cluster have gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.engine.state import OPEN, SETTLED
from orchestrator.graph.fact import FINISHED, LogsWritten
from orchestrator.ports.logs import LiveLog, read_live, read_range

if TYPE_CHECKING:
    from orchestrator.app.record import RunRecord


class LogRange(NamedTuple):
    """A part of a step's output: bytes ``start..stop`` of the log of a worker."""

    worker: str
    start: int
    stop: int

    def read(self, folder: Path) -> bytes:
        """The bytes; of a log that cannot be read, such as one on another machine, what is wrong with it."""
        return read_range(_log(folder, self.worker), self.start, self.stop)


def written(fact: LogsWritten, item: int | None = None) -> Iterator[tuple[int, LogRange]]:
    """What steps that are over have written, by item: of one item, or of all that the fact tells of."""
    indexes = range(fact.start, fact.stop) if item is None else range(max(item, fact.start), min(item + 1, fact.stop))
    for index in indexes:
        place = 2 * (index - fact.start)
        yield index, LogRange(fact.file, fact.offsets[place], fact.offsets[place + 1])


def printing(folder: Path, worker: str, bundles: Iterable[str]) -> LiveLog | None:
    """What the running step of one of these bundles has printed so far: whole lines, with secrets blotted out."""
    found = read_live(_log(folder, worker))
    return found if found is not None and found.bundle in bundles else None


def log_size(folder: Path, worker: str) -> int:
    """Bytes in a worker's log; 0 if there is none here."""
    try:
        return _log(folder, worker).stat().st_size
    except OSError:
        return 0


def read_log(folder: Path, ranges: Iterable[LogRange]) -> str:
    """Parts of logs as one text."""
    return b"".join(one.read(folder) for one in ranges).decode(errors="replace")


def log_ranges(record: RunRecord, node: str, index: int) -> list[LogRange]:
    """Where the output of a step stands by now, in order."""
    found = [place for fact in record.items.of(node).logs for _, place in written(fact, index)]
    return [*found, *_live(record, node, index)]


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
            found = printing(record.installation.settings.logs_dir, flight.worker, [flight.bundle])
            if found is not None and (found.node, found.index) == (node, index):
                yield LogRange(flight.worker, found.start, found.stop)


def _log(folder: Path, worker: str) -> Path:
    return folder / f"{worker}.log"
