"""What runs cost: of one run by step, of many by run, pipeline or tag.

What a run consumed does not change once it has ended, so it is kept, without prices, by a reader of its own; other
prices give other amounts for the same runs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orchestrator.app.installation import Installation
from orchestrator.app.reading import Keeper, Reader
from orchestrator.engine.state import RunFold
from orchestrator.errors import OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.graph.durations import total_us
from orchestrator.graph.json import graph_from_json, node_from_json
from orchestrator.graph.node import Node
from orchestrator.graph.policy import Resources
from orchestrator.ports.journal import RunRow
from orchestrator.readers.cost import Consumed, Use, consumed, total


@dataclass
class RunUse:
    """What a run that goes on has used."""

    resources: dict[str, Resources]
    use: Use = field(default_factory=Use)

    def consumed(self) -> Consumed:
        """All nodes together."""
        return total(consumed(use, self.resources.get(node, Resources())) for node, use in self.use.nodes.items())


@dataclass
class Spent:
    """What a run consumed, and what it is grouped by."""

    pipeline: str
    tags: dict[str, str]
    created_at: float
    consumed: Consumed


class CostsReader(Reader[RunUse]):
    """Keeps what each run consumed."""

    name = "costs"
    from_the_start = True

    def __init__(self, here: Installation) -> None:
        self._here = here
        self.spent: dict[str, Spent] = {}

    def begin(self, row: RunRow) -> RunUse:
        """See ``Reader``."""
        try:
            nodes: Sequence[Node] = self._here.graph(self._here.created(row.id)).nodes
        except OrchestratorError:  # collected: what it declared is not known any more
            nodes = ()
        return RunUse({node.id: node.policy.resources for node in nodes})

    def take(self, row: RunRow, state: RunUse, facts: Sequence[f.Recorded], known: bool) -> None:
        """See ``Reader``."""
        for recorded in facts:
            fact = recorded.fact
            state.use.add(fact, recorded.at)
            if isinstance(fact, f.NodeAdded):
                node = node_from_json(fact.node)
                state.resources[node.id] = node.policy.resources
            elif isinstance(fact, f.CodeChanged):
                graph = graph_from_json(fact.document)
                state.resources |= {node.id: node.policy.resources for node in graph.nodes}
        self.spent[row.id] = Spent(row.pipeline, dict(row.tags), row.created_at, state.consumed())

    def totals(self) -> Any:
        """See ``Reader``."""
        return self.spent

    def restore(self, totals: Any) -> None:
        """See ``Reader``."""
        self.spent = msgspec.convert(totals, dict[str, Spent])


def spent_by_run(here: Installation) -> Mapping[str, Spent]:
    """What every run has consumed by now; reads what is new."""
    reader = CostsReader(here)
    Keeper(here, reader).round()
    return reader.spent


def grouped(
    runs: Mapping[str, Spent], key: Callable[[str, Spent], str | None]
) -> dict[str, tuple[Consumed, list[str]]]:
    """What groups of runs consumed, with their runs; None leaves a run out."""
    found: dict[str, tuple[Consumed, list[str]]] = {}
    for run, spent in runs.items():
        name = key(run, spent)
        if name is not None:
            into, members = found.setdefault(name, (Consumed(), []))
            into.add(spent.consumed)
            members.append(run)
    return found


def consumed_by_node(fold: RunFold, use: Use) -> dict[str, Consumed]:
    """What the nodes of one run consumed, in the order of its graph."""
    return {
        node: consumed(use.nodes[node], state.node.policy.resources)
        for node, state in fold.nodes.items()
        if node in use.nodes and use.nodes[node].wall_s
    }


def slots_idle_share(facts: Iterable[f.Recorded], now: float) -> float | None:
    """Which part of the time of a run's slots no body ran, 0 to 1; None before a driver started."""
    slots, since, held_s, busy_s, ended = 0, 0.0, 0.0, 0.0, False
    for recorded in facts:
        for fact in f.apart(recorded.fact):
            if isinstance(fact, f.DriverStarted):
                held_s += slots * max(recorded.at - since, 0.0) if slots and not ended else 0.0
                slots, since, ended = fact.slots, recorded.at, False
            elif isinstance(fact, f.StepsCompleted) and not fact.cached:
                busy_s += total_us(fact.elapsed_us) / 1e6
            elif isinstance(fact, f.RunFinished):
                held_s += slots * max(recorded.at - since, 0.0)
                ended = True
    if slots and not ended:
        held_s += slots * max(now - since, 0.0)
    return None if not held_s else max(1.0 - busy_s / held_s, 0.0)
