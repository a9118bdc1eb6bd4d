"""Which workers fit on a cluster now: a ledger of what this driver holds, node by node.

Ray queues what does not fit and tells nobody; a worker that waits inside Ray would keep the bundles that were given to
it. The ledger is exact about this driver's own workers at once, where Ray's own view lags; what others hold is
sampled from Ray when nothing of ours moves. Pure: no Ray in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from orchestrator.backends.bundles.transport import WorkerNeeds
from orchestrator.backends.supply import NodeSupply, demand, misfit
from orchestrator.graph.policy import Resources

_ROUNDING = 1e-4
_NOTHING: Mapping[str, float] = MappingProxyType({})


def holds(needs: WorkerNeeds) -> Resources:
    """What a worker's actor reserves in Ray: a pool worker one CPU; hosts and delegating steps none of their own."""
    if needs.kind == "host" or needs.uses:
        resources = needs.resources
        return Resources(
            num_cpus=0.0,
            num_gpus=resources.num_gpus,
            memory=resources.memory,
            resources=resources.resources,
            accelerator_type=resources.accelerator_type,
            label_selector=resources.label_selector,
            runtime_env=resources.runtime_env,
        )
    return needs.resources


def charged(needs: WorkerNeeds) -> Resources:
    """What the ledger sets aside: as reserved, and one CPU for the work a delegating step starts elsewhere."""
    return needs.resources if needs.uses else holds(needs)


@dataclass(slots=True)
class _Node:
    shape: NodeSupply
    held: dict[str, float] = field(default_factory=dict)

    def room_for(self, need: Resources, freed: Mapping[str, float] = _NOTHING) -> bool:
        if misfit(need, self.shape) is not None:
            return False
        return all(
            self.held.get(name, 0.0) - freed.get(name, 0.0) + amount <= self.shape.resources.get(name, 0.0) + _ROUNDING
            for name, amount in demand(need).items()
        )


class Ledger:
    """Who holds what on which node, as far as this driver knows."""

    def __init__(self, nodes: Iterable[NodeSupply]) -> None:
        self._nodes = [_Node(node) for node in nodes]
        self._placed: dict[str, tuple[_Node | None, Mapping[str, float]]] = {}
        self._others: dict[str, float] = {}

    @property
    def slots(self) -> int:
        """Whole CPUs that pool workers can take when this driver has nothing else: at least one."""
        cpus = sum(int(node.shape.resources.get("CPU", 0.0) + _ROUNDING) for node in self._nodes)
        return max(1, cpus)

    def replace_nodes(self, nodes: Iterable[NodeSupply]) -> None:
        """Nodes came or went; what is held on those that stay is kept."""
        known = {node.shape.key: node for node in self._nodes}
        self._nodes = [known.get(shape.key) or _Node(shape) for shape in nodes]

    def fits(self, need: Resources, without: Iterable[str] = ()) -> bool:
        """Whether some node has room, if the workers ``without`` were gone, and others leave enough."""
        amounts = demand(need)
        if not amounts:
            return True
        freed_total: dict[str, float] = {}
        freed: dict[int, dict[str, float]] = {}
        for worker in without:
            node, held = self._placed.get(worker, (None, _NOTHING))
            _add(freed_total, held, 1)
            _add(freed.setdefault(id(node), {}), held, 1)
        if any(self._free(name) + freed_total.get(name, 0.0) + _ROUNDING < amount for name, amount in amounts.items()):
            return False
        return any(node.room_for(need, freed.get(id(node), _NOTHING)) for node in self._nodes)

    def could_fit(self, need: Resources) -> bool:
        """Whether some living node would have room if it were empty."""
        return any(misfit(need, node.shape) is None for node in self._nodes)

    def place(self, worker: str, need: Resources) -> None:
        """A worker was started; it is set down on the first node with room (Ray may have chosen another)."""
        amounts = demand(need)
        node = next((node for node in self._nodes if node.room_for(need)), None)
        if node is not None:
            _add(node.held, amounts, 1)
        self._placed[worker] = (node, amounts)

    def remove(self, worker: str) -> None:
        """A worker has ended; no error if it is not known."""
        node, amounts = self._placed.pop(worker, (None, _NOTHING))
        if node is not None:
            _add(node.held, amounts, -1)

    def sample(self, available: Mapping[str, float], reserved: Iterable[Resources]) -> None:
        """Ray's view of what is free, taken while ``reserved`` were our workers: the rest is held by others."""
        ours: dict[str, float] = {}
        for need in reserved:
            _add(ours, demand(need), 1)
        names = {name for node in self._nodes for name in node.shape.resources}
        self._others = {
            name: max(0.0, self._total(name) - available.get(name, 0.0) - ours.get(name, 0.0)) for name in names
        }

    def _total(self, name: str) -> float:
        return sum(node.shape.resources.get(name, 0.0) for node in self._nodes)

    def _free(self, name: str) -> float:
        ours = sum(amounts.get(name, 0.0) for _, amounts in self._placed.values())
        return self._total(name) - ours - self._others.get(name, 0.0)


def _add(into: dict[str, float], amounts: Mapping[str, float], sign: int) -> None:
    for name, amount in amounts.items():
        into[name] = into.get(name, 0.0) + sign * amount
