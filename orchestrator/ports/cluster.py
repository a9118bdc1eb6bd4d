"""Port of looking at a cluster: its nodes, who holds what of them, and what waits for more than there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a part of a node.

    Attributes:
        name: What it is: the class of the actor, and its name if it has one.
        amounts: By resource: ``CPU``, ``GPU``, ``memory`` in bytes, others by their names; fractions are usual.
        devices: Which GPUs, by index, and how much of each.
    """

    name: str
    pid: int
    job: str
    amounts: Mapping[str, float]
    devices: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A living node; what ``holders`` do not explain of the difference is held by tasks and placement groups."""

    id: str
    host: str
    address: str
    head: bool
    total: Mapping[str, float]
    available: Mapping[str, float]
    labels: Mapping[str, str]
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """So many requests of one shape wait; ``name`` where it is known who asks."""

    amounts: Mapping[str, float]
    count: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster at one moment."""

    address: str
    nodes: tuple[ClusterNode, ...]
    demands: tuple[Demand, ...]
    drivers: int


class ClusterLook(Protocol):
    """Looks at one cluster, from outside of it."""

    def look(self, timeout_s: float) -> ClusterView:
        """The cluster now.

        Raises:
            ClusterUnreachable: it does not answer in time; says why.
        """
        ...

    def close(self) -> None:
        """Let go of what looking needs."""
        ...
