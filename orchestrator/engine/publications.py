"""Versions of named data sets and models: what a step with ``publish=`` returned, as a fact beside its outcome."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.cells import Cells
from orchestrator.engine.machine import Machine
from orchestrator.graph import fact as f
from orchestrator.ports.frames import Span
from orchestrator.ports.values import digest_of, encode_cell


class Publications:
    """Tells which outputs are versions; a fallback is none, and a run that verifies another publishes nothing."""

    def __init__(self, machine: Machine, cells: Cells) -> None:
        self._machine = machine
        self._cells = cells
        created = machine.fold.created
        self._silent = created is not None and created.verifies

    def published(self, fact: f.StepsCompleted | f.NodesCompleted) -> Iterator[f.VersionPublished]:
        """Versions that these completions make."""
        if self._silent:
            return
        nodes = self._machine.fold.nodes
        if isinstance(fact, f.NodesCompleted):
            for place, name in enumerate(fact.nodes):
                if publish := nodes[name].node.policy.publish:
                    yield self._version(publish, name, Span(0, 1, fact.chunk, fact.at + place))
        elif (publish := nodes[fact.node].node.policy.publish) and not fact.degraded:
            yield self._version(publish, fact.node, Span(0, 1, fact.chunk, fact.at))

    def _version(self, name: str, node: str, span: Span) -> f.VersionPublished:
        cell = self._cells.at(span)
        return f.VersionPublished(name, digest_of(cell), encode_cell(cell), node)
