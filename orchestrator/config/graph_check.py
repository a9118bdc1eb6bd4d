"""What holds for the ``graph:`` of a pipeline file before any call is made: names, order, and what its nodes use."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from orchestrator.config.document import Document, KeyPath
from orchestrator.config.locations import import_named
from orchestrator.config.pipeline_file import PipelineFile
from orchestrator.config.reference import PARAMS, Reference, references
from orchestrator.config.schema import pipeline_schema, validate
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError, CyclicGraph, NotFound
from orchestrator.graph.pipeline import Pipeline
from orchestrator.graph.stage import Stage
from orchestrator.graph.wait import approve, signal

Names = frozenset[str]


class CheckedGraph:
    """A file's graph and the graphs inside it.

    Attributes:
        orders: By the place of each ``graph``: its nodes, each after those it refers to, else as they are written.
        used: By the place of each call: the stage, pipeline or wait that it calls.

    Raises:
        ConfigError, NotFound, CyclicGraph: see ``graph_pipeline``.
    """

    def __init__(self, file: PipelineFile) -> None:
        self.file = file
        self.document: Document = file.document
        self.orders: dict[KeyPath, list[str]] = {}
        self.used: dict[KeyPath, Any] = {}
        self._block((), frozenset())

    def _block(self, at: KeyPath, outside: Names) -> Names:
        """Check the graph at a place; the nodes outside of it that it refers to."""
        block = self.document.at(at)
        nodes: Mapping[str, Any] = block["graph"]
        path: KeyPath = (*at, "graph")
        for name in nodes:
            if name in outside:
                raise self.document.error((*path, name), f"there is another node {name!r} around this graph")
        known = outside | nodes.keys()
        needs = {name: self._node(node, (*path, name), known) for name, node in nodes.items()}
        needs_of_output = self._names(block.get("output"), (*at, "output"), known)
        self.orders[path] = self._order({name: found & nodes.keys() for name, found in needs.items()}, path)
        return frozenset().union(needs_of_output, *needs.values()) - nodes.keys()

    def _order(self, needs: Mapping[str, Names], path: KeyPath) -> list[str]:
        """Nodes in the order of the file, as far as each then stands after those it refers to."""
        places = {name: place for place, name in enumerate(needs)}
        sorter = TopologicalSorter(needs)
        try:
            sorter.prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            place = self.document.place((*path, circle[0]))
            raise CyclicGraph(
                f"these nodes need each other: {' → '.join(circle)}", file=place.file, line=place.line
            ) from None
        ordered: list[str] = []
        ready: list[tuple[int, str]] = []
        while sorter.is_active():
            for name in sorter.get_ready():
                heapq.heappush(ready, (places[name], name))
            _, name = heapq.heappop(ready)
            ordered.append(name)
            sorter.done(name)
        return ordered

    def _node(self, node: Mapping[str, Any], path: KeyPath, known: Names) -> Names:
        """Check a node; the nodes it refers to."""
        kinds = [key for key in ("uses", "graph", "then") if key in node]
        if len(kinds) > 1:
            raise self.document.error((*path, kinds[1]), f"a node has either {kinds[0]!r} or {kinds[1]!r}")
        if "if" in node and "graph" in node:
            raise self.document.error((*path, "graph"), "a graph that runs only if … stands under 'then'")
        if "name" in node and "then" in node:
            raise self.document.error((*path, "name"), "a choice has no name of its own; name the calls in it")
        found = [self._names(node.get("if"), (*path, "if"), known)]
        if "then" not in node:
            found.append(self._part(node, path, known))
        for key in ("then", "else"):
            if key in node:
                self._check_form(node[key], (*path, key))
                found.append(self._part(node[key], (*path, key), known))
        return frozenset().union(*found)

    def _part(self, part: Any, path: KeyPath, known: Names) -> Names:
        """Check a call, a graph or a value; the nodes it refers to."""
        if isinstance(part, Mapping) and "uses" in part:
            self.used[path] = self._import(path)
            return self._names(part.get("with"), (*path, "with"), known)
        if isinstance(part, Mapping) and "graph" in part:
            return self._block(path, known)
        return self._names(part, path, known)

    def _check_form(self, part: Any, path: KeyPath) -> None:
        """Check a branch against the schema, which takes any value there."""
        for key, form in (("uses", "call"), ("graph", "inner")):
            if isinstance(part, Mapping) and key in part:
                validate(self.document, {"$ref": f"#/$defs/{form}", "$defs": pipeline_schema()["$defs"]}, path)
                return

    def _names(self, value: Any, path: KeyPath, known: Names) -> Names:
        """Nodes that a value refers to, after checking that they and the parameters exist."""
        names: set[str] = set()
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
            elif reference.name not in known:
                hint = meant_or_known(reference.name, known)
                raise self.document.error(path, f"{text}: there is no node {reference.name!r}{hint}")
            else:
                names.add(reference.name)
        return frozenset(names)

    def _import(self, path: KeyPath) -> Any:
        call = self.document.at(path)
        place = (*path, "uses")
        try:
            used = import_named(call["uses"])
        except NotFound as error:
            raise NotFound(f"{self.document.place(place)}: {error.message}") from None
        except ConfigError as error:
            raise self.document.error(place, error.message) from error
        if isinstance(used, Stage):
            return used
        if used is not approve and used is not signal and not isinstance(used, Pipeline):
            raise self.document.error(
                place, f"{call['uses']} is a {type(used).__name__}, neither a stage nor a pipeline; is @stage missing?"
            )
        for key, what in (("map", "mapped"), ("options", "given options"), ("name", "given names")):
            if key in call:
                raise self.document.error((*path, key), f"{key}: {call['uses']} is no stage; only stages are {what}")
        return used
