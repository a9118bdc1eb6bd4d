"""Options of stages, from a file or the command line, laid over the nodes of a traced graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.config.document import Document, KeyPath
from orchestrator.config.locations import import_named
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import OrchestratorError
from orchestrator.graph.node import Const, Graph, Node
from orchestrator.graph.options import DYNAMIC_OPTIONS, Retry, read_policy


def with_stage_options(graph: Graph, document: Document) -> Graph:
    """The graph with the options under ``stages:`` of a document.

    A name there is that of a stage, of a node (``features/scale``; all of them without ``#2``), or a node's last part.

    Raises:
        ConfigError: no node has such a name, or an option has no sense for its stage; names file and line.
    """
    wanted: Mapping[str, Mapping[str, Any]] = document.data.get("stages") or {}
    nodes = list(graph.nodes)
    for name, options in wanted.items():
        meant = [index for index, node in enumerate(nodes) if name in _names(node)]
        if not meant:
            known = {known for node in nodes for known in _names(node)}
            raise document.error(("stages", name), f"stages: no step is called {name!r}{meant_or_known(name, known)}")
        for index in meant:
            nodes[index] = _with_options(nodes[index], options, document, ("stages", name))
    return replace(graph, nodes=tuple(nodes))


def _names(node: Node) -> set[str]:
    """What a step may be called by: its id or its own name, either without ``#2``, and the stage's function."""
    if node.stage is None:
        return set()
    function = node.stage.ref.partition("#")[0].rpartition(":")[2]
    return {node.id, node.id.partition("#")[0], node.name, node.name.partition("#")[0], function}


def _with_options(node: Node, options: Mapping[str, Any], document: Document, path: KeyPath) -> Node:
    assert node.stage is not None
    policy, fallback = node.policy, node.fallback
    for option, value in options.items():
        place = (*path, option)
        if (option not in DYNAMIC_OPTIONS) if node.kind == "dynamic" else (option == "max_steps"):
            raise document.error(place, f"{node.id} is a {node.kind} and has no option {option!r}")
        read = _retry(value, document, place) if option == "retries" else value
        try:
            policy = read_policy(node.stage.name, policy, {option: read})
        except OrchestratorError as error:
            raise document.error(place, error.message) from None
        if option == "fallback":
            fallback = Const(value)
    return replace(node, stage=replace(node.stage, policy=policy), timeout_s=policy.timeout_s, fallback=fallback)


def _retry(value: Any, document: Document, path: KeyPath) -> int | Retry:
    if not isinstance(value, Mapping):
        return int(value)
    given = {key: value[key] for key in ("attempts", "backoff") if key in value}
    if "on" not in value:
        return Retry(**given)
    try:
        classes = tuple(import_named(name if ":" in name else f"builtins:{name}") for name in value["on"])
    except OrchestratorError as error:
        raise document.error((*path, "on"), error.message) from None
    for name, found in zip(value["on"], classes, strict=True):
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise document.error((*path, "on"), f"{name!r} is no exception class")
    return Retry(**given, on=classes)
