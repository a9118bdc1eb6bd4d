"""What a worker knows of nodes: a graph that is read ahead, and one that could not be."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator import pipeline, stage
from orchestrator.backends.bundles.definitions import Definitions
from orchestrator.graph.json import graph_to_json


@stage
def one() -> int:
    return 1


@pipeline
def single() -> int:
    return one()


class Store:
    """Bytes of one graph, and how often they were asked for."""

    def __init__(self) -> None:
        self.away = False
        self.reads = 0

    def read(self, digest: str) -> bytes:
        self.reads += 1
        if self.away:
            raise OSError("the store is away")
        return msgspec.json.encode(graph_to_json(single.graph()))


class Here:
    """Code that is imported already."""

    root = ""

    def function(self, reference: str) -> object:
        return one.function


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def definitions(store: Store) -> Definitions:
    made = Definitions(lambda capsule: Here(), store.read)  # type: ignore[arg-type, return-value]
    made.learn_graph("run", "capsule", "graph")
    return made


def test_a_graph_is_read_once_ahead_or_not(definitions: Definitions, store: Store) -> None:
    definitions.prepare("run")
    definitions.prepare("run")
    assert definitions.of("run", "one").node.id == "one"
    assert store.reads == 1


def test_a_graph_that_could_not_be_read_ahead_is_read_when_a_step_needs_it(
    definitions: Definitions, store: Store
) -> None:
    store.away = True
    definitions.prepare("run")
    with pytest.raises(OSError, match="the store is away"):
        definitions.of("run", "one")
    store.away = False
    assert definitions.of("run", "one").node.id == "one"


def test_of_a_run_that_is_over_nothing_is_read(definitions: Definitions, store: Store) -> None:
    definitions.forget("run")
    definitions.prepare("run")
    assert store.reads == 0
