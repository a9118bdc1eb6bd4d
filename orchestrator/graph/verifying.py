"""Nodes of a run that only verifies another: nothing comes from the cache, and nothing touches the outside world."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from orchestrator.errors import RunError
from orchestrator.graph.node import Graph, Node, StageSpec
from orchestrator.graph.policy import RetryPolicy


def withheld(*args: object, **kwargs: object) -> NoReturn:
    """Stands for the body of a step with effects.

    Raises:
        RunError: always.
    """
    raise RunError(
        "a step with effects came up that the recorded run did not finish; a verification never runs one. "
        "What decides whether it runs is not the same each time: see the steps before it"
    )


def verifying_node(node: Node) -> Node:
    """A node as a verification runs it."""
    return node if node.stage is None else node._replace(stage=_verifying_stage(node.stage))


def verifying_graph(graph: Graph) -> Graph:
    """A graph as a verification runs it."""
    stages = {id(node.stage): _verifying_stage(node.stage) for node in graph.nodes if node.stage is not None}
    return replace(graph, nodes=tuple(node._replace(stage=stages.get(id(node.stage))) for node in graph.nodes))


def _verifying_stage(stage: StageSpec) -> StageSpec:
    policy = replace(stage.policy, cache_s=None)
    if not (policy.effects or policy.reads_key):
        return replace(stage, policy=policy)
    return replace(stage, ref=f"{withheld.__module__}:{withheld.__name__}", policy=replace(policy, retry=RetryPolicy()))
