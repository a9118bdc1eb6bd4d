"""A traced graph as a pipeline file: the inverse of reading one.

Each call becomes a node, each inlined pipeline a graph inside the graph, each ``when`` an ``if`` with its branches.
What YAML cannot hold is refused by the name of the node; what is written is read back and compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.config.call_writer import WAITS, written_call
from orchestrator.config.graph_file import graph_pipeline
from orchestrator.config.literal import written_text, written_value
from orchestrator.config.pipeline_file import parse_pipeline_file
from orchestrator.config.written import as_yaml
from orchestrator.errors import ConfigError
from orchestrator.graph.node import Const, DictExpr, Expr, Graph, ListExpr, Node, Ref, SecretRef
from orchestrator.graph.trace import Traced

_ORDINAL = re.compile(r"#\d+$")


def written_graph(traced: Traced, description: str = "") -> str:
    """The graph as the text of a pipeline file, without parameters: their values are part of the graph.

    Raises:
        ConfigError: YAML cannot hold an argument or an option, or the code of a step cannot be imported by name;
            names the node.
    """
    document = {**({"description": description} if description else {}), **_Writer(traced).document()}
    text = as_yaml(document, short=True)
    back = graph_pipeline(parse_pipeline_file(text, traced.graph.pipeline)).graph()
    if (node := _different(traced.graph, back)) is not None:
        raise ConfigError(f"node {node!r} cannot be written in YAML: it would not be the same when it is read back")
    return text


def same_graph(one: Graph, other: Graph) -> bool:
    """True if both have the same nodes and output, wherever they were written and whatever parameters led to them."""
    return _different(one, other) is None


def _different(one: Graph, other: Graph) -> str | None:
    """The first node in which graphs differ, ``output`` for what they return; None if they are the same."""
    for mine, others in zip(one.nodes, other.nodes, strict=False):
        if mine._replace(source=None) != others._replace(source=None):
            return mine.id
    if len(one.nodes) != len(other.nodes):
        longer = max(one.nodes, other.nodes, key=len)
        return longer[min(len(one.nodes), len(other.nodes))].id
    return None if one.output == other.output else "output"


@dataclass
class _Scope:
    """Nodes that were traced inside one scope, and scopes in it.

    Attributes:
        name: Last part of the path, without ``#2``.
        key: What it is called in the file.
        entries: In the order of tracing.
        output: What it hands to outer scopes, by the key of the node there.
    """

    path: str
    name: str
    key: str = ""
    entries: list[Node | _Scope] = field(default_factory=list)
    output: dict[str, Any] = field(default_factory=dict)

    def inner(self, name: str) -> _Scope | None:
        """The scope in it whose path ends so."""
        scopes = (entry for entry in self.entries if isinstance(entry, _Scope))
        return next((scope for scope in scopes if scope.path.rpartition("/")[2] == name), None)

    def node(self, name: str) -> Node | None:
        """The node in it whose id ends so."""
        nodes = (entry for entry in self.entries if isinstance(entry, Node))
        return next((node for node in nodes if node.name == name), None)

    @property
    def branch(self) -> Node | None:
        """The node that decides, if this is the scope of a ``when``."""
        node = self.node("branch")
        return node if node is not None and node.kind == "branch" else None


class _Writer:
    """Writes one graph."""

    def __init__(self, traced: Traced) -> None:
        self._graph = traced.graph
        self._taken: set[str] = {"params"}
        self._scopes = {"": _Scope("", "")}
        self._keys: dict[str, str] = {}
        for node in self._graph.nodes:
            scope = self._scope(node.scope)
            scope.entries.append(node)
            if node.kind not in ("branch", "choice", "pack"):
                self._keys[node.id] = self._key(_ORDINAL.sub("", node.name))

    def document(self) -> dict[str, Any]:
        """``graph`` and ``output`` of the file."""
        top = self._scopes[""]
        graph = self._block(top)
        if not graph:
            raise ConfigError(f"pipeline {self._graph.pipeline!r} calls no stage, so there is no graph to write")
        output = self._written(self._graph.output, "", "what the pipeline returns")
        return {"graph": graph, **({} if output is None else {"output": output})}

    def _scope(self, path: str) -> _Scope:
        if path not in self._scopes:
            parent, _, name = path.rpartition("/")
            scope = self._scopes[path] = _Scope(path, _ORDINAL.sub("", name))
            self._scope(parent).entries.append(scope)
            scope.key = self._key(scope.name)
        return self._scopes[path]

    def _key(self, name: str) -> str:
        """A name for the file that nothing else in it has."""
        key = re.sub(r"\W", "_", name, flags=re.ASCII)
        key = base = key if key[0].isalpha() or key[0] == "_" else f"_{key}"
        number = 1
        while key in self._taken:
            number += 1
            key = f"{base}_{number}"
        self._taken.add(key)
        return key

    def _block(self, scope: _Scope) -> dict[str, Any]:
        """The nodes of a scope by their keys."""
        graph: dict[str, Any] = {}
        for entry in scope.entries:
            if isinstance(entry, Node):
                if entry.kind not in ("branch", "choice", "pack"):
                    graph[self._keys[entry.id]] = self._call(entry, self._keys[entry.id])
            elif entry.branch is not None:
                graph[entry.key] = self._choice(entry, entry.branch, scope)
            else:
                inner = {"graph": self._block(entry), "output": entry.output}
                graph[entry.key] = inner if entry.name == entry.key else {"name": entry.name, **inner}
        return graph

    def _choice(self, scope: _Scope, branch: Node, around: _Scope) -> dict[str, Any]:
        """A ``when`` with its branches."""
        condition = self._written(branch.args["value"], around.path, f"the condition of {branch.id}")
        written = {"if": condition, "then": None}
        choice = scope.node("choice")
        assert choice is not None
        for name, key in (("then", "then"), ("otherwise", "else")):
            if name in choice.args:
                written[key] = self._branch(scope, name, choice.args[name])
        return written

    def _branch(self, scope: _Scope, name: str, value: Expr) -> Any:
        inner = scope.inner(name)
        assert isinstance(value, Ref)
        place = f"{scope.path}/{name}"
        pack = inner.node(value.node.rpartition("/")[2]) if inner and value.node.rpartition("/")[0] == place else None
        returned = pack.args["value"] if pack is not None and pack.kind == "pack" else value
        graph = self._block(inner) if inner else {}
        output = self._written(returned, place, f"what {place} returns")
        if len(graph) == 1 and output == f"${next(iter(graph))}" and "uses" in next(iter(graph.values())):
            ((key, call),) = graph.items()
            named = "name" in call or call["uses"] in WAITS
            return call if named else {"uses": call["uses"], "name": key, **call}
        if not graph and not isinstance(output, dict):
            return output
        return {"graph": graph, **({} if output is None else {"output": output})}

    def _call(self, node: Node, key: str) -> dict[str, Any]:
        def written(expr: Expr, what: str) -> Any:
            return self._written(expr, node.scope, f"node {node.id!r}: {what}")

        try:
            call = written_call(node, written)
        except ConfigError as error:
            named = error.message if error.message.startswith("node ") else f"node {node.id!r}: {error.message}"
            raise ConfigError(f"{named}; this pipeline cannot be written in YAML") from None
        name = _ORDINAL.sub("", node.name)
        if name == key or node.stage is None:
            return call
        return {"uses": call.pop("uses"), "name": name, **call}

    def _written(self, expr: Expr, here: str, what: str) -> Any:
        """An expression as a value of the file, seen from a scope."""
        match expr:
            case Ref():
                return self._reference(expr, here)
            case SecretRef():
                return {"$secret": expr.reference}
            case ListExpr():
                items = [self._written(item, here, what) for item in expr.items]
                return {"$tuple": items} if expr.is_tuple else items
            case DictExpr():
                return {written_text(key): self._written(item, here, what) for key, item in expr.items.items()}
            case Const():
                try:
                    return written_value(expr.value)
                except ConfigError as error:
                    raise ConfigError(f"{what}: {error.message}") from None

    def _reference(self, ref: Ref, here: str) -> str:
        home, key = self._home(ref.node)
        text = f"${self._path_to(home, key, ref.node, here)}"
        for element in ref.path:
            if isinstance(element, str):
                text += f".{element}"
            else:
                text += f"[{element if isinstance(element, int) else json.dumps(element[1])}]"
        return text

    def _home(self, node_id: str) -> tuple[str, str]:
        """The scope in which a node has a key, and the key; a choice is in the scope around its ``when``."""
        scope, _, name = node_id.rpartition("/")
        if node_id not in self._keys and name.startswith("choice"):
            return scope.rpartition("/")[0], self._scopes[scope].key
        return scope, self._keys[node_id]

    def _path_to(self, home: str, key: str, node_id: str, here: str) -> str:
        """How a key is reached: by itself from inside its scope, from outside through the outputs of scopes."""
        if not home or here == home or here.startswith(f"{home}/"):
            return key
        inside = self._scopes[home]
        inside.output[key] = f"${key}"
        outer = home.rpartition("/")[0]
        path = f"{inside.key}.{key}"
        while outer and not (here == outer or here.startswith(f"{outer}/")):
            scope = self._scopes[outer]
            scope.output[key] = f"${path}"
            path = f"{scope.key}.{key}"
            outer = outer.rpartition("/")[0]
        return path


def params_in_words(params: Mapping[str, Expr]) -> str:
    """``trees=100, late_min=15.0``: parameters that a graph was traced with, as far as they are plain."""
    plain = {name: expr.value for name, expr in params.items() if isinstance(expr, Const)}
    return ", ".join(f"{name}={value!r}" for name, value in plain.items())
