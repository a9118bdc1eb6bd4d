"""What the steps of a run wrote, line by line: by step and attempt, from its facts and the files of its workers.

Of a step that runs the note of its worker says what it has printed. Of one whose worker died nothing does: what the
worker wrote since is taken for its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.app.step_log import LogRange, log_size, printing, written
from orchestrator.graph import fact as f
from orchestrator.graph.json import graph_from_json

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.app.installation import Installation
    from orchestrator.graph.node import Graph

MOST_BYTES = 1 << 20
"""Read at once of what a step that is not over wrote."""


class LogLine(NamedTuple):
    """One line.

    Attributes:
        step: Address; of steps that ran together in one bundle and are not over, that of their map.
        at: When it was recorded, in wall-clock seconds: when the step's attempt was over; None while it runs.
        line: Number within the attempt, from 1.
    """

    step: str
    attempt: int
    worker: str
    at: float | None
    line: int
    text: str


@dataclass(slots=True)
class _Bundle:
    """Steps of one node that a worker has."""

    id: str
    node: str
    start: int
    stop: int


@dataclass(slots=True)
class Logs:
    """Lines of a run as far as its facts have been read.

    Args:
        node, item: Only of this node, and this item of it; of all if None.
    """

    here: Installation
    run: str
    node: str | None = None
    item: int | None = None
    seq: int = 0
    _failures: dict[tuple[str, int], int] = field(default_factory=dict)
    _fresh: set[tuple[str, int]] = field(default_factory=set)
    _maps: set[str] = field(default_factory=set)
    _running: dict[str, list[_Bundle]] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)
    _shown: dict[str, int] = field(default_factory=dict)
    _lines: dict[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._learn(self.here.graph(self.here.created(self.run)))

    def advance(self) -> Iterator[LogLine]:
        """Lines of what was recorded since the last time."""
        for recorded in self.here.journal.facts(self.run, self.seq):
            self.seq = recorded.seq
            for fact in f.apart(recorded.fact):
                yield from self._take(fact, recorded.at)

    def live(self) -> Iterator[LogLine]:
        """Lines that running steps have written since the last time."""
        for worker, bundles in list(self._running.items()):
            now = printing(self._folder, worker, [one.id for one in bundles])
            if now is None or not self._wanted(now.node, now.index, now.index + 1):
                continue
            if not any(one.node == now.node and one.start <= now.index < one.stop for one in bundles):
                continue  # it is over, and about to be told
            start = max(now.start, self._shown.get(worker, 0))
            if start < now.stop:
                data = LogRange(worker, start, min(now.stop, start + MOST_BYTES)).read(self._folder)
                whole = data[: data.rfind(b"\n") + 1] or data
                self._shown[worker] = start + len(whole)
                yield from self._cut(now.node, now.index, False, worker, None, whole)

    def _take(self, fact: f.Fact, at: float) -> Iterator[LogLine]:
        if isinstance(fact, f.DriverStarted):
            self._running.clear()
        elif isinstance(fact, f.CodeChanged):
            self._learn(graph_from_json(fact.document))
        elif isinstance(fact, f.NodeAdded):
            self._maps.update([str(fact.node["id"])] if fact.node.get("mapped") else [])
        elif isinstance(fact, f.StepsStarted):
            self._running.setdefault(fact.worker, []).append(_Bundle(fact.bundle, fact.node, fact.start, fact.stop))
            self._fresh -= {one for one in self._fresh if one[0] == fact.node and fact.start <= one[1] < fact.stop}
        elif isinstance(fact, f.StepsCompleted):
            self._over(fact.node, fact.start, fact.stop)
        elif isinstance(fact, f.AttemptFailed | f.StepFailed):
            key = fact.node, fact.index
            self._failures[key] = self._failures.get(key, 0) + 1
            self._fresh.add(key)
            self._over(fact.node, fact.index, fact.index + 1)
        elif isinstance(fact, f.WorkerLost):
            yield from self._left_by(fact.worker, at)
        elif isinstance(fact, f.LogsWritten):
            yield from self._written(fact, at)

    def _written(self, fact: f.LogsWritten, at: float) -> Iterator[LogLine]:
        for index, part in written(fact):
            self._known[fact.file] = max(part.stop, self._known.get(fact.file, 0))
            if self._wanted(fact.node, index, index + 1):
                start = max(part.start, min(self._shown.get(fact.file, 0), part.stop))
                data = part._replace(start=start).read(self._folder)
                yield from self._cut(fact.node, index, False, fact.file, at, data)
            self._fresh.discard((fact.node, index))

    def _left_by(self, worker: str, at: float) -> Iterator[LogLine]:
        """What a worker that died had written and nobody recorded; of the step that it was at."""
        bundles = self._running.pop(worker, [])
        bundle = next((one for one in bundles if self._wanted(one.node, one.start, one.stop)), None)
        if bundle is not None:
            start = max(self._known.get(worker, 0), self._shown.get(worker, 0))
            stop = min(log_size(self._folder, worker), start + MOST_BYTES)
            if start < stop:
                data = LogRange(worker, start, stop).read(self._folder)
                yield from self._cut(bundle.node, bundle.start, bundle.stop - bundle.start > 1, worker, at, data)

    def _cut(
        self, node: str, index: int, several: bool, worker: str, at: float | None, data: bytes
    ) -> Iterator[LogLine]:
        address = node if several or node not in self._maps else f"{node}[{index}]"
        attempt = self._failures.get((node, index), 0) + ((node, index) not in self._fresh)
        key = (f"{node}[{index}]", attempt)
        for text in data.decode(errors="replace").splitlines():
            self._lines[key] = number = self._lines.get(key, 0) + 1
            yield LogLine(address, attempt, worker, at, number, text)

    def _learn(self, graph: Graph) -> None:
        self._maps.update(node.id for node in graph.nodes if node.is_map)

    def _wanted(self, node: str, start: int, stop: int) -> bool:
        return self.node in (None, node) and (self.item is None or start <= self.item < stop)

    def _over(self, node: str, start: int, stop: int) -> None:
        """Steps are not on their worker any more; those of a bundle run one after the other."""
        for worker, bundles in list(self._running.items()):
            for one in bundles:
                if one.node == node and start <= one.start < stop:
                    one.start = stop
            left = [one for one in bundles if one.start < one.stop]
            if left:
                self._running[worker] = left
            else:
                del self._running[worker]

    @property
    def _folder(self) -> Path:
        return self.here.settings.logs_dir
