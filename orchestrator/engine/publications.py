"""What follows from an output, as a fact beside its outcome: a version of a named data set or model, and moved tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from orchestrator.engine.cells import Cells
from orchestrator.engine.machine import Machine
from orchestrator.graph import fact as f
from orchestrator.graph.handover import HANDOVER, TagMove
from orchestrator.graph.node import Node
from orchestrator.ports.frames import Span
from orchestrator.ports.values import Cell, Entry, digest_of, encode_cell

_PARTS = ("name", "tag", "before", "after")


class Publications:
    """Tells which outputs are versions or move tags; a fallback does not, nor what a run that verifies another made."""

    def __init__(self, machine: Machine, cells: Cells) -> None:
        self._machine = machine
        self._cells = cells
        created = machine.fold.created
        self._silent = created is not None and created.verifies

    def published(self, fact: f.StepsCompleted | f.NodesCompleted) -> Iterator[f.VersionPublished | f.TagsMoved]:
        """Versions that these completions make, and tags that they move."""
        if self._silent:
            return
        nodes = self._machine.fold.nodes
        if isinstance(fact, f.NodesCompleted):
            for place, name in enumerate(fact.nodes):
                yield from self._of(nodes[name].node, Span(0, 1, fact.chunk, fact.at + place))
        elif not fact.degraded:
            yield from self._of(nodes[fact.node].node, Span(0, 1, fact.chunk, fact.at))

    def _of(self, node: Node, span: Span) -> Iterator[f.VersionPublished | f.TagsMoved]:
        if publish := node.policy.publish:
            yield self._version(publish, node.id, span)
        elif node.policy.effects and not node.many:
            cell = self._cells.at(span)
            if isinstance(cell, Entry) and cell.type == HANDOVER:
                yield f.TagsMoved(node.id, tuple(self._moves(cell)))

    def _moves(self, handover: Cell) -> Iterator[TagMove]:
        """The tags of a ``Handover``, read from its parts; what is no tag of a version moves nothing."""
        moves = self._cells.child(handover, "moves")
        for move in [] if moves is None else self._cells.items(moves) or []:
            name, tag, before, after = (self._cells.child(move, part) for part in _PARTS)
            if isinstance(name, str) and isinstance(tag, str) and _number(before) and _number(after):
                yield TagMove(name, tag, before, after)

    def _version(self, name: str, node: str, span: Span) -> f.VersionPublished:
        cell = self._cells.at(span)
        return f.VersionPublished(name, digest_of(cell), encode_cell(cell), node)


def _number(value: Cell) -> TypeGuard[int | None]:
    return value is None or type(value) is int
