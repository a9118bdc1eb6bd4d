"""What a run would do and why, found without running anything.

The machine is asked as in a real run, with the cache and all stored data at hand but no workers: what completes that
way is reused, what becomes ready would run, and the rest depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from orchestrator.engine.cells import Cells
from orchestrator.engine.lookups import Lookups
from orchestrator.engine.machine import Machine
from orchestrator.engine.state import DONE, NodeState
from orchestrator.graph import fact as f
from orchestrator.graph.display import Shown
from orchestrator.graph.node import Graph, dependencies
from orchestrator.ports.files import Files
from orchestrator.ports.journal import Journal

Action = Literal["reuse", "run", "after", "skip", "wait"]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """What would become of a node.

    Attributes:
        action: ``reuse`` a stored output, ``run`` at once, run ``after`` others, ``skip``, or ``wait`` for a person.
        steps: Number of steps with this action; None while the width of a map is not known.
        reason: Why, in words.
    """

    node: str
    kind: str
    action: Action
    steps: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Plan(Shown):
    """What a run of a graph would do, node by node in topological order."""

    graph: Graph
    nodes: tuple[PlannedNode, ...]

    @property
    def reused(self) -> int:
        """Number of steps whose stored output would be reused."""
        return sum(node.steps or 0 for node in self.nodes if node.action == "reuse")

    @property
    def to_run(self) -> int:
        """Number of steps known to run."""
        return sum(node.steps or 0 for node in self.nodes if node.action in ("run", "after"))


def make_plan(graph: Graph, machine: Machine, journal: Journal, cells: Cells, files: Files, now: float) -> Plan:
    """Plan a sealed graph; the machine must be fresh and is used up."""
    reasons: dict[str, str] = {}

    def take(facts: Iterable[f.Fact]) -> None:
        for fact in facts:
            if isinstance(fact, f.CacheMissed):
                reasons.setdefault(fact.node, fact.reason)
            machine.apply(fact, now)

    Lookups(machine, journal, cells, files, take).settle(now)
    return Plan(graph, tuple(p for node in graph.nodes for p in _planned(machine, node.id, reasons)))


def _planned(machine: Machine, node_id: str, reasons: dict[str, str]) -> Iterator[PlannedNode]:
    state = machine.fold.nodes[node_id]
    node, front = state.node, machine.frontier.fronts[node_id]
    if state.skipped:
        yield PlannedNode(node_id, node.kind, "skip", 0, "its branch is not taken")
        return
    if node_id in machine.fold.waiting:
        yield PlannedNode(node_id, node.kind, "wait", 1, f"waits for an answer: {node.prompt}")
        return
    if state.reused:
        yield PlannedNode(node_id, node.kind, "reuse", state.reused, "stored output, same code and inputs")
    elif state.has_output:
        yield PlannedNode(node_id, node.kind, "reuse", state.status.count(DONE), "follows from stored outputs")
    if front.ready_count:
        yield PlannedNode(node_id, node.kind, "run", front.ready_count, reasons.get(node_id) or _uncached(state))
    left = state.length - state.settled - front.ready_count
    if not state.is_settled and (left > 0 or not state.closed):
        steps = left if state.closed else None
        yield PlannedNode(node_id, node.kind, "after", steps, f"needs {_blockers(machine, state)}")


def _uncached(state: NodeState) -> str:
    policy = state.node.policy
    if state.node.kind != "stage":
        return "decided at run time"
    if policy.effects:
        return "has effects: never reused"
    return "no cache declared" if policy.cache_s is None else "not stored"


def _blockers(machine: Machine, state: NodeState) -> str:
    names = dict.fromkeys(r.node for r in dependencies(state.node) if not machine.fold.nodes[r.node].is_settled)
    shown = list(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
