"""Options of stages as files and command lines write them: read for a call, or laid over the nodes of a graph."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.config.document import Document, KeyPath
from orchestrator.config.literal import made
from orchestrator.config.locations import import_named
from orchestrator.config.reference import resolved
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.graph.binding import call_arguments
from orchestrator.graph.node import Const, Node
from orchestrator.graph.options import DYNAMIC_OPTIONS, Retry, read_policy
from orchestrator.graph.trace import Traced


def with_stage_options(traced: Traced, document: Document) -> Traced:
    """The graph with the options under ``stages:`` of a document.

    A name there is that of a stage, of a node (``features/scale``; all of them without ``#2``), or a node's last part.

    Raises:
        ConfigError: no node has such a name, or an option has no sense for its stage; names file and line.
    """
    wanted: Mapping[str, Mapping[str, Any]] = document.data.get("stages") or {}
    nodes, stages = list(traced.graph.nodes), dict(traced.stages)
    for name, options in wanted.items():
        meant = [index for index, node in enumerate(nodes) if name in _names(node)]
        if not meant:
            known = {known for node in nodes for known in _names(node)}
            raise document.error(("stages", name), f"stages: no step is called {name!r}{meant_or_known(name, known)}")
        for index in meant:
            node = _with_policy(nodes[index], options, document, ("stages", name))
            if "checks" in options:
                node = _with_checks(node, options["checks"], stages, document, ("stages", name, "checks"))
            nodes[index] = node
    return Traced(replace(traced.graph, nodes=tuple(nodes)), stages)


def _names(node: Node) -> set[str]:
    """What a step may be called by: its id or its own name, either without ``#2``, and the stage's function."""
    if node.stage is None:
        return set()
    function = node.stage.ref.partition("#")[0].rpartition(":")[2]
    return {node.id, node.id.partition("#")[0], node.name, node.name.partition("#")[0], function}


def _with_policy(node: Node, options: Mapping[str, Any], document: Document, path: KeyPath) -> Node:
    assert node.stage is not None
    policy, fallback = node.policy, node.fallback
    for option, value in options.items():
        place = (*path, option)
        if (option not in DYNAMIC_OPTIONS) if node.kind == "dynamic" else (option == "max_steps"):
            raise document.error(place, f"{node.id} is a {node.kind} and has no option {option!r}")
        if option == "checks":
            continue
        read = read_option(option, value, document, place)
        try:
            policy = read_policy(node.stage.name, policy, {option: read})
        except OrchestratorError as error:
            raise document.error(place, error.message) from None
        if option == "fallback":
            fallback = Const(read)
    return node._replace(stage=replace(node.stage, policy=policy), timeout_s=policy.timeout_s, fallback=fallback)


def _with_checks(node: Node, written: Any, stages: dict[str, Any], document: Document, path: KeyPath) -> Node:
    """The node with other checks, which count in its fingerprint and whose code the capsule has to hold."""
    assert node.stage is not None
    ref = node.stage.ref
    try:
        stages[ref] = checked = stages[ref].options(checks=read_option("checks", written, document, path))
    except OrchestratorError as error:
        raise document.error(path, error.message) from None
    spec = replace(node.stage, checks=checked.spec.checks, fingerprint=checked.spec.fingerprint)
    return node._replace(stage=spec, checks=Const(checked.checks) if checked.checks else None)


def read_option(option: str, value: Any, document: Document, path: KeyPath) -> Any:
    """The value of an option as ``@stage`` takes it.

    Raises:
        ConfigError: a check or an exception cannot be had; names file and line.
    """
    if option == "retries":
        return _retry(value, document, path)
    if option == "checks":
        return [_check(entry, document, (*path, index)) for index, entry in enumerate(value)]
    return _plain(value, document, path) if option == "fallback" else value


def _check(written: Mapping[str, Any], document: Document, path: KeyPath) -> Any:
    """A rule: what ``uses`` names, called with what stands under ``with``, and ``severity`` beside it."""
    name = written["uses"]
    try:
        make = import_named(name)
    except OrchestratorError as error:
        raise document.error((*path, "uses"), error.message) from None
    if not callable(make):
        raise document.error((*path, "uses"), f"{name} is a {type(make).__name__}, which makes no check")
    given = _plain(written.get("with") or {}, document, (*path, "with"))
    if "severity" in written:
        given["severity"] = written["severity"]
    try:
        args, named = _arguments(make, given)
        return made(make, name, named, args)
    except ConfigError as error:
        raise document.error(path, error.message) from None


def _arguments(make: Any, given: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments for a rule; several of one kind (``*columns``) are a list under their name."""
    signature = inspect.signature(make)
    several = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), "")
    if not several or several not in given:
        return (), dict(given)
    items = given[several]
    if not isinstance(items, list):
        raise ConfigError(f"{several} is a list, not {items!r}")
    others = {name: value for name, value in given.items() if name != several}
    known = {name: value for name, value in others.items() if name in signature.parameters}
    extra = {name: value for name, value in others.items() if name not in signature.parameters}
    args, named = call_arguments(signature, {**known, "*": items, "**": extra})
    return tuple(args), named


def _plain(value: Any, document: Document, path: KeyPath) -> Any:
    """A value of a place where there is nothing to refer to."""

    def refuse(text: str) -> Any:
        raise ConfigError(f"{text}: nothing can be referred to here; $$ stands for a dollar")

    try:
        return resolved(value, refuse)
    except OrchestratorError as error:
        raise document.error(path, error.message) from None


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
