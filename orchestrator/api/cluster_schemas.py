"""What the API answers about what runs where."""

from __future__ import annotations

from typing import Literal

from orchestrator.api.schemas import Document, StepWait


class HeldSteps(Document):
    """Items ``start..stop`` of a node with a worker; ``left`` of them have no outcome yet."""

    address: str
    start: int
    stop: int
    left: int
    since: str
    needs: str


class ClusterHolder(Document):
    """A process that holds a part of a node; ``run`` and ``steps`` where it is a worker of one of our runs."""

    name: str
    pid: int
    amounts: dict[str, float]
    devices: dict[str, float]
    run: str | None
    steps: list[HeldSteps]


class ClusterNode(Document):
    """A node of the cluster."""

    id: str
    host: str
    address: str
    head: bool
    total: dict[str, float]
    available: dict[str, float]
    labels: dict[str, str]
    holders: list[ClusterHolder]


class ClusterDemand(Document):
    """So many requests of one shape wait in the cluster."""

    amounts: dict[str, float]
    count: int
    name: str


class RunWorker(Document):
    """A worker process of a run and what it has."""

    name: str
    host: str
    pid: int
    steps: list[HeldSteps]


class RunUnderWay(Document):
    """A run that has not ended."""

    run: str
    pipeline: str
    state: str
    driver: str | None
    backend: str
    host: str
    slots: int
    workers: list[RunWorker]
    waits: list[StepWait]


class ClusterState(Document):
    """What runs where, and what waits for what.

    ``source`` is ``up`` for the Ray that ``orc up`` keeps, ``address`` for that of ``ORC_RAY_ADDRESS``, ``none`` if
    there is no cluster. With a ``problem``, ``nodes`` are as they were ``seen_at``; without both it has not answered.
    """

    source: Literal["none", "up", "address"]
    address: str
    seen_at: str | None
    problem: str
    drivers: int
    nodes: list[ClusterNode]
    demands: list[ClusterDemand]
    runs: list[RunUnderWay]
    more_runs: int
