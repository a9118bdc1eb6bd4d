"""The ``graph:`` of a pipeline file as a pipeline: its nodes are calls of stages, traced like any others.

Every call is made under a frame that bears the file and the line of the node, so that wiring errors and drawn graphs
point into the YAML just as they point into Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from orchestrator.config.document import KeyPath
from orchestrator.config.frame import run_at
from orchestrator.config.graph_check import CheckedGraph
from orchestrator.config.pipeline_file import PipelineFile
from orchestrator.config.reference import PARAMS, Reference, resolved
from orchestrator.config.stage_options import read_option
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError
from orchestrator.graph.binding import call_arguments
from orchestrator.graph.branch import when
from orchestrator.graph.item import each
from orchestrator.graph.pipeline import Pipeline
from orchestrator.graph.stage import Stage


def graph_pipeline(file: PipelineFile) -> Pipeline[..., Any]:
    """The pipeline that the ``graph:`` of a file describes; its parameters are the file's, all with defaults.

    Raises:
        ConfigError: a reference leads nowhere, or what a node uses is no stage; names file and line.
        NotFound: a module to import does not exist.
        CyclicGraph: nodes refer to each other in a circle.
    """
    return Pipeline(_function(CheckedGraph(file)), file.name)


def _function(checked: CheckedGraph) -> Callable[..., Any]:
    """A plain function with the file's parameters, as ``Pipeline`` takes it."""

    file = checked.file

    def graph(**params: Any) -> Any:
        return _Calls(checked, {**file.params, **params}).block(())

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

    def __init__(self, checked: CheckedGraph, params: Mapping[str, Any]) -> None:
        self._checked = checked
        self._document = checked.document
        self._params = params
        self._results: dict[str, Any] = {}

    def block(self, at: KeyPath) -> Any:
        """Make all calls of the ``graph`` at a place, and say what its ``output`` is."""
        for name in self._checked.orders[*at, "graph"]:
            path: KeyPath = (*at, "graph", name)
            self._results[name] = run_at(self._document.place(path), partial(self._node, path, name))
        output: KeyPath = (*at, "output")
        written = self._document.at(at).get("output")
        return run_at(self._document.place(output), partial(self._value, written, output))

    def _node(self, path: KeyPath, name: str) -> Any:
        node = self._document.at(path)
        if "if" not in node:
            return self._part(path, name, apart=True)
        condition = self._value(node["if"], (*path, "if"))
        chosen = (*path, "then") if "then" in node else path
        otherwise = partial(self._part, (*path, "else"), name) if "else" in node else None
        return when(condition, partial(self._part, chosen, name), otherwise)

    def _part(self, path: KeyPath, name: str, apart: bool = False) -> Any:
        """A call, a graph (``apart``: in a scope of its own; a branch has one already), or a value."""
        part = self._document.at(path)
        if path in self._checked.used:
            return self._call(path, part.get("name", name))
        if (*path, "graph") not in self._checked.orders:
            return self._value(part, path)
        return Pipeline(partial(self.block, path), part.get("name", name))() if apart else self.block(path)

    def _call(self, path: KeyPath, name: str) -> Any:
        call, used = self._document.at(path), self._checked.used[path]
        arguments = {key: self._value(value, (*path, "with", key)) for key, value in (call.get("with") or {}).items()}
        if not isinstance(used, Stage):
            return used(**arguments)
        options = {
            option: read_option(option, value, self._document, (*path, "options", option))
            for option, value in (call.get("options") or {}).items()
        }
        stage = used.options(name=name, **options)
        if "map" not in call:
            args, named = self._arguments(stage, arguments, path)
            return stage(*args, **named)
        mapped = [call["map"]] if isinstance(call["map"], str) else call["map"]
        for key in mapped:
            if key not in arguments:
                hint = meant_or_known(key, arguments)
                raise self._document.error(
                    (*path, "map"), f"map: {key!r} is not among the arguments under 'with'{hint}"
                )
        return stage.map(**{key: each(value) if key in mapped else value for key, value in arguments.items()})

    def _arguments(
        self, stage: Stage[..., Any], arguments: Mapping[str, Any], path: KeyPath
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as they are called with: a ``*tables`` parameter is a list under its name."""
        several = stage.variadic[0]
        if not several or several not in arguments:
            return [], dict(arguments)
        items = arguments[several]
        if not isinstance(items, list | tuple):
            place: KeyPath = (*path, "with", several)
            raise self._document.error(place, f"{stage.name}: *{several} is a list of arguments, written out here")
        parameters = stage.signature.parameters
        values = {name: value for name, value in arguments.items() if name in parameters and name != several}
        extra = {name: value for name, value in arguments.items() if name not in parameters}
        return call_arguments(stage.signature, {**values, "*": items, "**": extra})

    def _value(self, value: Any, path: KeyPath) -> Any:
        """A value of the file with the results and parameters that it refers to."""

        def look_up(text: str) -> Any:
            reference = Reference.parse(text)
            return reference.of(self._params if reference.name == PARAMS else self._results[reference.name])

        try:
            return resolved(value, look_up)
        except ConfigError as error:
            raise self._document.error(path, error.message) from None
