"""The ``graph:`` of a pipeline file as a pipeline: its nodes are calls of stages, traced like any others.

Every call is made under a frame that bears the file and the line of the node, so that wiring errors and drawn graphs
point into the YAML just as they point into Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from orchestrator.config.document import Document, KeyPath
from orchestrator.config.frame import run_at
from orchestrator.config.locations import import_named
from orchestrator.config.pipeline_file import PipelineFile
from orchestrator.config.reference import PARAMS, Reference, references, resolved
from orchestrator.config.schema import pipeline_schema, validate
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError, CyclicGraph, NotFound
from orchestrator.graph.branch import when
from orchestrator.graph.item import each
from orchestrator.graph.pipeline import Pipeline
from orchestrator.graph.stage import Stage
from orchestrator.graph.wait import approve, signal


def graph_pipeline(file: PipelineFile) -> Pipeline[..., Any]:
    """The pipeline that the ``graph:`` of a file describes; its parameters are the file's, all with defaults.

    Raises:
        ConfigError: a reference leads nowhere, or what a node uses is no stage; names file and line.
        NotFound: a module to import does not exist.
        CyclicGraph: nodes refer to each other in a circle.
    """
    return Pipeline(_function(_GraphFile(file)), file.name)


def _function(graph_file: _GraphFile) -> Callable[..., Any]:
    """A plain function with the file's parameters, as ``Pipeline`` takes it."""

    file = graph_file.file

    def graph(**params: Any) -> Any:
        return _Calls(graph_file, {**file.params, **params}).output()

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=default, annotation=_annotation(default))
        for name, default in file.params.items()
    ]
    graph.__name__ = graph.__qualname__ = file.name
    graph.__doc__ = file.document.data.get("description")
    graph.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    graph.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return graph


def _annotation(default: Any) -> Any:
    """The type that a parameter's default suggests; a whole number may become a fraction."""
    if isinstance(default, bool | str | list | dict):
        return type(default)
    return float if isinstance(default, int | float) else Any


class _Calls:
    """The calls of a graph for one set of parameters."""

    def __init__(self, graph_file: _GraphFile, params: Mapping[str, Any]) -> None:
        self._used = graph_file.used
        self._order = graph_file.order
        self._document = graph_file.document
        self._params = params
        self._results: dict[str, Any] = {}

    def output(self) -> Any:
        """Make all calls, and say what the pipeline returns."""
        for name in self._order:
            path: KeyPath = ("graph", name)
            self._results[name] = run_at(self._document.place(path), partial(self._node, path, name))
        output: KeyPath = ("output",)
        place = self._document.place(output)
        return run_at(place, partial(self._value, self._document.data.get("output"), output))

    def _node(self, path: KeyPath, name: str) -> Any:
        node = self._document.at(path)
        if "if" not in node:
            return self._call(path, name)
        condition = self._value(node["if"], (*path, "if"))
        other = (*path, "else")
        if other in self._used:
            otherwise = partial(self._call, other, name)
        else:
            otherwise = partial(self._value, node.get("else"), other)
        return when(condition, partial(self._call, path, name), otherwise)

    def _call(self, path: KeyPath, name: str) -> Any:
        call, used = self._document.at(path), self._used[path]
        arguments = {key: self._value(value, (*path, "with", key)) for key, value in (call.get("with") or {}).items()}
        if "map" not in call:
            return (used.options(name=name) if isinstance(used, Stage) else used)(**arguments)
        mapped = [call["map"]] if isinstance(call["map"], str) else call["map"]
        for key in mapped:
            if key not in arguments:
                hint = meant_or_known(key, arguments)
                raise self._document.error(
                    (*path, "map"), f"map: {key!r} is not among the arguments under 'with'{hint}"
                )
        spread = {key: each(value) if key in mapped else value for key, value in arguments.items()}
        return used.options(name=name).map(**spread)

    def _value(self, value: Any, path: KeyPath) -> Any:
        """A value of the file with the results and parameters that it refers to."""

        def look_up(text: str) -> Any:
            reference = Reference.parse(text)
            return reference.of(self._params if reference.name == PARAMS else self._results[reference.name])

        try:
            return resolved(value, look_up)
        except ConfigError as error:
            raise self._document.error(path, error.message) from None


class _GraphFile:
    """A file's graph, checked: its nodes in order, and what they call."""

    def __init__(self, file: PipelineFile) -> None:
        self.file = file
        self.document: Document = file.document
        self.order = self._order()
        self.used = {path: self._import(path) for name in self.order for path in self._calls(name)}

    def _order(self) -> list[str]:
        """Names of the nodes, each after those it refers to."""
        nodes = self.file.graph
        needs = {name: self._checked_names(node, ("graph", name)) for name, node in nodes.items()}
        self._checked_names(self.document.data.get("output"), ("output",))
        try:
            return list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            place = self.document.place(("graph", circle[0]))
            raise CyclicGraph(
                f"these nodes need each other: {' → '.join(circle)}", file=place.file, line=place.line
            ) from None

    def _checked_names(self, value: Any, path: KeyPath) -> list[str]:
        """Nodes that a value refers to, after checking that they and the parameters exist."""
        names: list[str] = []
        for text in references(value):
            try:
                reference = Reference.parse(text)
            except ConfigError as error:
                raise self.document.error(path, error.message) from None
            if reference.name == PARAMS:
                wanted = reference.path[0] if reference.path else ""
                if wanted not in self.file.params:
                    hint = meant_or_known(str(wanted), self.file.params)
                    raise self.document.error(path, f"{text}: there is no such parameter under 'params:'{hint}")
            elif reference.name not in self.file.graph:
                hint = meant_or_known(reference.name, self.file.graph)
                raise self.document.error(path, f"{text}: there is no node {reference.name!r}{hint}")
            else:
                names.append(reference.name)
        return names

    def _calls(self, name: str) -> list[KeyPath]:
        """Where the node's calls are: the node itself, and its ``else`` if that is one."""
        path: KeyPath = ("graph", name)
        other = self.file.graph[name].get("else")
        if not (isinstance(other, Mapping) and "uses" in other):
            return [path]
        schema = pipeline_schema()
        validate(self.document, {"$ref": "#/$defs/call", "$defs": schema["$defs"]}, (*path, "else"))
        return [path, (*path, "else")]

    def _import(self, path: KeyPath) -> Any:
        call = self.document.at(path)
        place = (*path, "uses")
        try:
            used = import_named(call["uses"])
        except NotFound as error:
            raise NotFound(f"{self.document.place(place)}: {error.message}") from None
        except ConfigError as error:
            raise self.document.error(place, error.message) from error
        if used is not approve and used is not signal and not isinstance(used, Stage | Pipeline):
            raise self.document.error(
                place, f"{call['uses']} is a {type(used).__name__}, neither a stage nor a pipeline; is @stage missing?"
            )
        if "map" in call and not isinstance(used, Stage):
            raise self.document.error((*path, "map"), f"map: {call['uses']} is no stage; only stages are mapped")
        return used
