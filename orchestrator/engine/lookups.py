"""What the machine wants to know of stored data: cached outputs, widths of lists, the truth of a condition.

All of it is answered from cells, without running or loading anything; so a plan can be made, and a fully cached
run finished, without a single worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from orchestrator.engine.cells import Cells
from orchestrator.engine.front import NodeFront
from orchestrator.engine.machine import Machine
from orchestrator.engine.reuse import CacheKey, CacheKeys, Miss, why_missed
from orchestrator.errors import ArtifactCorrupt, NotFound
from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, Node, Ref
from orchestrator.ports.files import Files
from orchestrator.ports.journal import CacheEntry, Journal
from orchestrator.ports.values import Cell

Take = Callable[[Iterable[f.Fact]], None]


class Lookups:
    """Derives facts until nothing more follows, looking up what the machine asks for.

    Attributes:
        missed: Keys of the steps that have to run, to make their outputs reusable afterwards.
    """

    def __init__(
        self,
        machine: Machine,
        journal: Journal,
        cells: Cells,
        files: Files,
        take: Take,
        large_table_bytes: float = math.inf,
    ) -> None:
        self.missed: dict[tuple[str, int], CacheKey] = {}
        self._machine = machine
        self._journal = journal
        self._cells = cells
        self._keys = CacheKeys(machine.fold, cells, files)
        self._take = take
        self._large_table_bytes = large_table_bytes

    def settle(self, now: float) -> None:
        """Everything that follows from the state and the stored data, applied."""
        machine = self._machine
        while True:
            self._take(machine.derive(now))
            asked = machine.measures[:]
            machine.measures.clear()
            for measure in asked:
                self._measure(measure.node, measure.ref)
            judged = self._judge()
            for front in list(machine.frontier.unchecked.values()):
                self._ask_cache(front, now)
            self._weigh()
            if not asked and not judged and not machine.frontier.unchecked and not machine.frontier.changed:
                return

    def entry(self, fact: f.StepsCompleted, index: int, cache_s: float, now: float) -> tuple[str, CacheEntry] | None:
        """Cache entry for a step that has just run; None if its key is not known."""
        key = self.missed.pop((fact.node, index), None)
        if key is None:
            return None
        at = fact.at + index - fact.start
        return key.digest, CacheEntry(self._machine.fold.run, fact.chunk, at, now + cache_s, key.parts)

    # ---- widths and conditions

    def _measure(self, node: str, ref: Ref) -> None:
        span = self._machine.fold.nodes[ref.node].outputs.find(0)
        assert span is not None
        part = self._cells.part(span, ref.path)
        length = self._cells.look(part).length if part is not None else None
        problem = (
            f"{node} maps over a part of {ref.node} whose length is not known without loading it; "
            "return a list, tuple, dict or dataclass from there"
        )
        self._take(self._machine.measured(node, length, problem))

    def _judge(self) -> bool:
        """Decide conditions whose truth the stored description already says."""
        judged = False
        for front in [front for front in self._machine.frontier.ready.values() if front.state.node.kind == "branch"]:
            value = front.state.node.args["value"]
            span = self._machine.fold.nodes[value.node].outputs.find(0) if isinstance(value, Ref) else None
            if span is None or not isinstance(value, Ref) or self._machine.fold.nodes[value.node].node.many:
                continue
            part = self._cells.part(span, value.path)
            truth = self._cells.look(part).truth if part is not None or not value.path else None
            if truth is not None:
                front.withdraw_all()
                self._machine.frontier.ready.pop(front.state.node.id, None)
                self._take([self._machine.completed_here(front.state.node.id, 0, b"\xc3" if truth else b"\xc2")])
                judged = True
        return judged

    def _weigh(self) -> None:
        """See which of the tables that are about to be divided are large ones."""
        for front in self._machine.frontier.unweighed:
            front.large = self._bytes_of_table(front.state.node) > self._large_table_bytes
        self._machine.frontier.unweighed.clear()

    def _bytes_of_table(self, node: Node) -> int:
        """Bytes of what the first parameter gets; of a stream, of all its batches."""
        assert node.stage is not None
        expr = node.args.get(node.stage.parameters[0])
        if isinstance(expr, Const) and expr.cell is not None:
            return self._cells.look(self._cells.decode(expr.cell)).size
        if not isinstance(expr, Ref):
            return 0
        source = self._machine.fold.nodes[expr.node]
        if source.node.many and not expr.path:
            spans = source.outputs.spans
            cells = [cell for s in spans for cell in self._cells.chunk(s.chunk)[s.at : s.at + s.stop - s.start]]
            return sum(self._cells.look(cell).size for cell in cells)
        span = source.outputs.find(0) if not source.node.many else None
        part = None if span is None else self._cells.part(span, expr.path)
        return 0 if part is None else self._cells.look(part).size

    # ---- cache

    def _ask_cache(self, front: NodeFront, now: float) -> None:
        """Hits complete at once; misses become ready, with the reason on record."""
        node = front.state.node
        while front.unchecked:
            start, stop = front.unchecked.pop(0)
            try:
                keys = self._keys.keys(node, start, stop)
            except NotFound as error:
                self._missing(front, start, stop, {}, Miss(error.message))
                continue
            nearest = self._journal.nearest_cached(keys[0].parts["stage"], now)  # None: nothing of this stage is there
            hits = self._journal.cached([key.digest for key in keys], now) if nearest is not None else {}
            found = {start + i: hits[key.digest] for i, key in enumerate(keys) if key.digest in hits}
            cells = self._cached_cells(found)
            self._reuse(node.id, cells, found)
            self.missed.update({(node.id, start + i): key for i, key in enumerate(keys) if start + i not in cells})
            if len(cells) < len(keys):
                rest = [key for i, key in enumerate(keys) if start + i not in cells]
                self._missing(front, start, stop, cells, why_missed(rest, nearest))
        self._machine.frontier.unchecked.pop(node.id, None)

    def _missing(self, front: NodeFront, start: int, stop: int, hits: Mapping[int, Cell], miss: Miss) -> None:
        for low, high in _ranges(index for index in range(start, stop) if index not in hits):
            self._take([f.CacheMissed(front.state.node.id, low, high, *miss)])
            self._machine.frontier.missed(front, low, high)

    def _cached_cells(self, found: Mapping[int, CacheEntry]) -> dict[int, Cell]:
        cells = {}
        for index, entry in found.items():
            try:
                cell = self._cells.foreign(entry.run, entry.chunk, entry.at)
            except (LookupError, ArtifactCorrupt):
                continue  # the run that made it was removed, or the chunk is damaged: a miss
            if self._cells.present(cell):
                cells[index] = cell
        return cells

    def _reuse(self, node: str, cells: Mapping[int, Cell], found: Mapping[int, CacheEntry]) -> None:
        if not cells:
            return
        indexes = sorted(cells)
        digest, data = self._cells.store_chunk([cells[index] for index in indexes])
        if data is not None:
            self._machine.chunks[digest] = data
        place = 0
        for low, high in _ranges(indexes):
            seen = self._cells.look(cells[low])
            single = not self._machine.fold.nodes[node].node.is_map
            self._take([f.StepsCompleted(
                node, low, high, digest, place, cached=found[low].run,
                truth=seen.truth if single else None, length=seen.length if single else None,
            )])  # fmt: skip
            place += high - low


def _ranges(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending indexes as ranges."""
    found: list[tuple[int, int]] = []
    for index in indexes:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found
