"""Comparing a run with the one whose record it repeats: output digests, step by step, in the order they were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.app.inputs import ChangedFile, readers_of
from orchestrator.app.rerun import Renewal
from orchestrator.engine.cells import Cells
from orchestrator.engine.state import STATUS_NAMES, NodeState, RunFold
from orchestrator.graph.node import Node, Ref, dependencies, refs
from orchestrator.ports.values import digest_of

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation


@dataclass(frozen=True, slots=True)
class Difference:
    """A step that did not give what is on record.

    Attributes:
        recorded, now: Digests of the outputs, or what became of the step where it has none.
        inputs_equal: Its inputs were those on record, so the difference is its own.
    """

    node: str
    index: int
    is_item: bool
    recorded: str
    now: str
    inputs_equal: bool

    @property
    def address(self) -> str:
        """``scope/name#2`` or ``scope/name#2[7]``."""
        return f"{self.node}[{self.index}]" if self.is_item else self.node


@dataclass(frozen=True, slots=True)
class Verification:
    """What running again came to.

    Attributes:
        run: The repetition; ``origin`` the run on record.
        compared: Number of steps that ran again.
        taken: Nodes whose recorded outputs were taken instead: steps with effects, and answers of people.
        files: Files that are not what they were when the run on record was made.
    """

    run: str
    origin: str
    compared: int
    differences: tuple[Difference, ...]
    taken: tuple[str, ...]
    files: tuple[ChangedFile, ...]

    @property
    def identical(self) -> bool:
        """True if every step that ran again gave what is on record."""
        return not self.differences

    @property
    def suspect(self) -> Difference | None:
        """The first step whose output differs although its inputs do not."""
        return next((found for found in self.differences if found.inputs_equal), None)


def verification(here: Installation, renewal: Renewal, run: str) -> Verification:
    """Compare a finished repetition with the record that it was made from."""
    old, new = here.fold(renewal.origin), here.fold(run)
    comparing = _Comparing(old, new, here.cells(old.run), here.cells(new.run), set(renewal.taken))
    comparing.differing_files = set(readers_of(here, new.graph, renewal.files))
    differences = tuple(comparing.differences())
    return Verification(run, old.run, comparing.compared, differences, tuple(renewal.taken), tuple(renewal.files))


class _Comparing:
    """Goes through two runs of one graph."""

    def __init__(self, old: RunFold, new: RunFold, old_cells: Cells, new_cells: Cells, taken: set[str]) -> None:
        self.compared = 0
        self.differing_files: set[str] = set()
        self._folds = old, new
        self._cells = old_cells, new_cells
        self._taken = taken
        self._differing: dict[str, set[int]] = {}

    def differences(self) -> Iterator[Difference]:
        """In topological order; calls of a ``@dynamic`` step stand before it, since it is made of them."""
        for name in self._order():
            if name in self._taken:
                continue
            node = next(fold.nodes[name].node for fold in self._folds if name in fold.nodes)
            for index, recorded, now in self._items(name):
                self.compared += 1
                if recorded != now:
                    equal = self._inputs_equal(node, index)
                    self._differing.setdefault(name, set()).add(index)
                    yield Difference(name, index, node.many, recorded, now, equal)

    def _order(self) -> Iterator[str]:
        calls: dict[str, dict[str, None]] = {}
        for fold in self._folds:
            for state in fold.nodes.values():
                if state.parent is not None:
                    calls.setdefault(state.parent[0], {})[state.node.id] = None

        def with_calls(name: str) -> Iterator[str]:
            if name not in self._taken:
                for child in calls.get(name, ()):
                    yield from with_calls(child)
            yield name

        for node in self._folds[0].graph.nodes:
            yield from with_calls(node.id)

    def _items(self, name: str) -> Iterator[tuple[int, str, str]]:
        """(item, what is on record, what it is now) of each step, or batch of a stream."""
        old, new = (fold.nodes.get(name) for fold in self._folds)
        if old is not None and new is not None and old.outputs.spans == new.outputs.spans and old.status == new.status:
            length = old.batches if old.node.policy.streaming else old.length
            self.compared += length - 1 if length else 0
            if length:
                yield length - 1, "", ""
            return
        length = max(max(state.length, state.batches) for state in (old, new) if state is not None)
        for index in range(length):
            yield index, self._seen(old, self._cells[0], index), self._seen(new, self._cells[1], index)

    def _seen(self, state: NodeState | None, cells: Cells, index: int) -> str:
        if state is None:
            return "not called"
        span = state.outputs.find(index)
        if span is not None:
            return digest_of(cells.at(span))
        return STATUS_NAMES[state.status[index]] if index < state.length else "no such item"

    def _inputs_equal(self, node: Node, index: int) -> bool:
        if node.id in self.differing_files:
            return False
        children = {name for fold in self._folds for name, state in fold.nodes.items()
                    if state.parent is not None and state.parent[0] == node.id}  # fmt: skip
        if children & self._differing.keys():
            return False
        by_item = {
            ref.node for name in node.mapped for ref in refs(node.args[name]) if isinstance(node.args[name], Ref)
        }
        for ref in dependencies(node):
            changed = self._differing.get(ref.node, set())
            several = self._folds[0].nodes[ref.node].node.many
            if index in changed if several and ref.node in by_item else changed:
                return False
        return True
