"""What a sink is told about runs: facts in order, with what they mean for the nodes of the run.

A sink may be told the same again after a crash. What it sends has ids that follow from run, step and attempt alone, so
that the receiver finds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from orchestrator.graph import fact as f
from orchestrator.graph.node import Node
from orchestrator.ports.journal import RunRow

NodeEnd = Literal["succeeded", "cached", "degraded", "failed", "skipped", "cancelled"]


class NodeStarted(NamedTuple):
    """The first step of a node went to a worker, or came from the cache."""

    node: Node
    at: float


class NodeEnded(NamedTuple):
    """A node has all its outcomes, or will not get them any more."""

    node: Node
    at: float
    state: NodeEnd
    steps: int
    failure: f.Failure | None


class AttemptSpan(NamedTuple):
    """One attempt of a step: from its bundle's start to the commit of its outcome, as the journal has the times."""

    node: str
    item: int
    number: int
    started_at: float
    ended_at: float
    elapsed_s: float | None
    worker: str
    failure: f.Failure | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, as far as a profile tells."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """Something that a node reads or makes.

    Attributes:
        name: ``file:///data/x.parquet``, a published name such as ``data:flights``, or ``pipeline/node`` of an output.
        version: Digest, etag or number, if known.
        rows: Of a table, if known.
    """

    name: str
    version: str = ""
    columns: tuple[Column, ...] = ()
    rows: int | None = None


class RunView(Protocol):
    """A run as far as its facts have been taken; what was removed from the store is left out."""

    @property
    def row(self) -> RunRow:
        """The run in the journal's index."""
        ...

    @property
    def created(self) -> f.RunCreated | None:
        """How it was made."""
        ...

    @property
    def started_at(self) -> float | None:
        """When the first driver took it."""
        ...

    @property
    def finished(self) -> f.RunFinished | None:
        """How it ended."""
        ...

    @property
    def finished_at(self) -> float | None:
        """When it ended."""
        ...

    @property
    def reports(self) -> Sequence[f.Recorded]:
        """Every ``MetricsReported`` so far."""
        ...

    def parent(self, node: str) -> tuple[str, int] | None:
        """Node and item of the ``@dynamic`` step that called a node."""
        ...

    def attempts(self, node: str, most: int) -> Sequence[AttemptSpan]:
        """Attempts of the steps of a node: of the first items, and of those that failed."""
        ...

    def reads(self, node: Node) -> Sequence[DataSet]:
        """What a node reads."""
        ...

    def makes(self, node: Node) -> Sequence[DataSet]:
        """What a node has made."""
        ...

    def published(self) -> Mapping[str, str]:
        """Versions that the run has published: ``model:delay@v3`` with its digest."""
        ...


@dataclass(frozen=True, slots=True)
class News:
    """Some facts of a run, and the changes of its nodes that come with them, in order."""

    run: RunView
    facts: Sequence[f.Recorded]
    changes: Sequence[NodeStarted | NodeEnded]


class Sink(Protocol):
    """Sends to one place."""

    name: str

    def send(self, news: News) -> None:
        """Send what follows from the news.

        Raises:
            SinkUnavailable: the receiver is away; the same news come again.
        """
        ...
