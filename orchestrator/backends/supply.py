"""What a cluster could ever give a step, and whether that is enough.

Ray lets a request that no node can meet pend for ever and says nothing. ``unschedulable`` decides it
beforehand, from the shapes of the nodes there are and of those an autoscaler may add; it is pure, so that the planner,
the transport and the tests share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.graph.policy import Resources

_ROUNDING = 1e-4
"""Ray counts resources in ten-thousandths."""

_SELECTOR_SET = re.compile(r"(?P<negated>!?)in\((?P<values>[^()]*)\)")


@dataclass(frozen=True, slots=True)
class NodeSupply:
    """The shape of one node: totals, not what is free at the moment.

    Attributes:
        name: What people call it: its host, or the node group of an autoscaler.
        resources: Amounts by Ray's resource names (``CPU``, ``GPU``, ``memory`` in bytes, custom ones).
        labels: None where they are not known beforehand (node groups of an autoscaler); then any may be there.
    """

    name: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] | None = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Tells nodes apart, also two on one host."""
        return (self.labels or {}).get("ray.io/node-id", self.name)


def demand(need: Resources) -> dict[str, float]:
    """The amounts a step asks for, by Ray's resource names; zeros left out."""
    amounts = {"CPU": need.num_cpus, "GPU": need.num_gpus, "memory": float(need.memory), **need.resources}
    return {name: amount for name, amount in amounts.items() if amount > 0}


def unschedulable(need: Resources, supply: Iterable[NodeSupply]) -> str | None:
    """Why no node of the supply can ever run such a step, naming need and supply; None if one can."""
    nodes = list(supply)
    if need.num_gpus > 1 and need.num_gpus != int(need.num_gpus):
        return f"needs num_gpus={need.num_gpus:g}, but above one GPU only whole numbers can be reserved"
    if any(misfit(need, node) is None for node in nodes):
        return None
    if not nodes:
        return f"needs {describe_need(need)}, but the cluster has no node"
    listed = "; ".join(f"{node.name} with {describe_supply(need, node)}" for node in nodes[:5])
    more = f" and {len(nodes) - 5} more nodes" if len(nodes) > 5 else ""
    return f"needs {describe_need(need)}, but no node can ever supply that: there is {listed}{more}"


def misfit(need: Resources, node: NodeSupply) -> str | None:
    """The first thing a step needs that this node does not have at all; None if it fits on the empty node."""
    for name, amount in demand(need).items():
        if node.resources.get(name, 0.0) + _ROUNDING < amount:
            return name
    if need.accelerator_type and not _has_accelerator(node, need.accelerator_type):
        return f"accelerator_type {need.accelerator_type}"
    for label, wanted in need.label_selector.items():
        if node.labels is not None and not label_matches(node.labels.get(label), wanted):
            return f"label {label}={wanted}"
    return None


def label_matches(value: str | None, wanted: str) -> bool:
    """Ray's selectors: ``v``, ``!v``, ``in(a,b)``, ``!in(a,b)``; a node without the label matches only negations."""
    wanted = wanted.strip()
    chosen = _SELECTOR_SET.fullmatch(wanted)
    if chosen:
        values = {part.strip().strip("'\"") for part in chosen["values"].split(",")}
        return (value in values) != bool(chosen["negated"])
    if wanted.startswith("!"):
        return value != wanted[1:]
    return value == wanted


def describe_need(need: Resources) -> str:
    """The request in the words of the stage's own options."""
    parts = [f"num_cpus={need.num_cpus:g}"]
    if need.num_gpus:
        parts.append(f"num_gpus={need.num_gpus:g}")
    if need.memory:
        parts.append(f"memory={_gib(need.memory)}")
    parts += [f"{name}={amount:g}" for name, amount in sorted(need.resources.items())]
    if need.accelerator_type:
        parts.append(f"accelerator_type={need.accelerator_type}")
    parts += [f"label {name}={wanted}" for name, wanted in sorted(need.label_selector.items())]
    return ", ".join(parts)


def describe_supply(need: Resources, node: NodeSupply) -> str:
    """What the node has of the things the step asks for."""
    parts = [f"{node.resources.get('CPU', 0.0):g} CPU"]
    if need.num_gpus or need.accelerator_type:
        parts.append(f"{node.resources.get('GPU', 0.0):g} GPU")
    if need.memory:
        parts.append(f"{_gib(node.resources.get('memory', 0.0))} memory")
    parts += [f"{node.resources.get(name, 0.0):g} {name}" for name in sorted(need.resources)]
    if need.accelerator_type:
        kinds = sorted(name.partition(":")[2] for name in node.resources if name.startswith("accelerator_type:"))
        parts.append(f"accelerators {', '.join(kinds) or 'none'}")
    parts += [f"label {name}={(node.labels or {}).get(name, 'unset')}" for name in sorted(need.label_selector)]
    return ", ".join(parts)


def _has_accelerator(node: NodeSupply, kind: str) -> bool:
    return f"accelerator_type:{kind}" in node.resources or (node.labels or {}).get("ray.io/accelerator-type") == kind


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g}GiB"
