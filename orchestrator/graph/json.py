"""Graphs and nodes as JSON, exactly; and sealing, which turns the author's objects into encoded cells.

Constants that are plain (None, bool, int, float, str, bytes, and lists, tuples, dicts of them) have a readable form;
anything else must be sealed first.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from orchestrator.errors import ConfigError, CyclicGraph, NotSerializable
from orchestrator.graph.node import (
    Const,
    DictExpr,
    Expr,
    Graph,
    Guard,
    ListExpr,
    Node,
    Ref,
    SecretRef,
    Source,
    StageSpec,
    dependencies,
    refs,
)
from orchestrator.graph.policy import Policy, Resources, RetryPolicy

FORMAT = 2
_READ = (1, FORMAT)  # in format 1 each node holds its stage
_EXACT_INT = 2**53
_USUAL = frozenset({"id", "kind", "stage", "args", "source"})
_NO_ARGS: Mapping[str, Any] = {}
_REFS = frozenset({Ref})


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """A graph as JSON values.

    Raises:
        NotSerializable: a constant is neither plain nor sealed; names its place.
    """
    return {
        "format": FORMAT,
        "pipeline": graph.pipeline,
        **_nodes_to_json(graph.nodes),
        "output": _expr_to_json(graph.output, "the pipeline's result"),
        "params": {name: _expr_to_json(expr, f"parameter {name!r}") for name, expr in graph.params.items()},
        "source": _source_to_json(graph.source),
    }


def graph_from_json(document: Mapping[str, Any]) -> Graph:
    """The graph that ``graph_to_json`` wrote.

    Raises:
        ConfigError: the document is no graph, or a newer release wrote it.
        CyclicGraph: a node refers to itself or to a later one.
    """
    if document.get("format") not in _READ:
        raise ConfigError(f"this is no graph that this release reads (format {document.get('format')!r}, not {FORMAT})")
    try:
        stages = [_stage_from_json(stage) for stage in document.get("stages", ())]
        graph = Graph(
            document["pipeline"],
            tuple(node_from_json(node, stages) for node in document["nodes"]),
            _expr_from_json(document["output"]),
            {name: _expr_from_json(expr) for name, expr in document["params"].items()},
            _source_from_json(document["source"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"the stored graph is broken: {type(error).__name__}: {error}") from None
    check_order(graph)
    return graph


def check_order(graph: Graph) -> None:
    """Refuse a graph whose nodes do not stand after what they depend on, or are not unique.

    Raises:
        CyclicGraph: a node refers to itself, to a later node or to none.
    """
    known: set[str] = set()
    for node in graph.nodes:
        for ref in dependencies(node):
            if ref.node not in known:
                raise CyclicGraph(f"node {node.id!r} depends on {ref.node!r}, which does not come before it")
        if node.id in known:
            raise CyclicGraph(f"two nodes have the id {node.id!r}")
        known.add(node.id)
    for ref in refs(graph.output):
        if ref.node not in known:
            raise CyclicGraph(f"the pipeline returns the result of {ref.node!r}, which is not in the graph")


def _nodes_to_json(nodes: Iterable[Node]) -> dict[str, Any]:
    """Nodes, and their stages once each; a node names its stage by its place."""
    places: dict[int, int] = {}
    stages: list[dict[str, Any]] = []
    documents = []
    for node in nodes:
        document = node_to_json(node, with_stage=False)
        if node.stage is not None:
            place = places.get(id(node.stage))
            if place is None:
                place = places[id(node.stage)] = len(stages)
                stages.append(_stage_to_json(node.stage))
            document["stage"] = place
        documents.append(document)
    return {"stages": stages, "nodes": documents}


def node_to_json(node: Node, with_stage: bool = True) -> dict[str, Any]:
    """A node as JSON values; what has its default is left out. Raises NotSerializable."""
    document: dict[str, Any] = {"id": node.id, "kind": node.kind}
    if node.stage is not None and with_stage:
        document["stage"] = _stage_to_json(node.stage)
    if node.args:
        document["args"] = {
            name: {"ref": expr.node}
            if type(expr) is Ref and not expr.path
            else _expr_to_json(expr, f"argument {name!r} of {node.id!r}")
            for name, expr in node.args.items()
        }
    if node.mapped:
        document["mapped"] = list(node.mapped)
    if node.guards:
        document["guards"] = [[guard.branch, guard.expected] for guard in node.guards]
    if node.fallback is not None:
        document["fallback"] = _expr_to_json(node.fallback, f"the fallback of {node.id!r}")
    if node.checks is not None:
        document["checks"] = _expr_to_json(node.checks, f"the checks of {node.id!r}")
    if node.prompt:
        document["prompt"] = node.prompt
    if node.timeout_s is not None:
        document["timeout_s"] = node.timeout_s
    if node.source is not None:
        document["source"] = _source_to_json(node.source)
    return document


def node_from_json(document: Mapping[str, Any], stages: Sequence[StageSpec] = ()) -> Node:
    """The node that ``node_to_json`` wrote, its stage in it or by its place among ``stages``."""
    stage = document.get("stage")
    spec = stages[stage] if isinstance(stage, int) else None if stage is None else _stage_from_json(stage)
    args = {name: _expr_from_json(expr) for name, expr in document.get("args", {}).items()}
    source = _source_from_json(document.get("source"))
    if _USUAL.issuperset(document):
        return Node(document["id"], document["kind"], spec, args, source=source)
    fallback, checks = _const_from_json(document, "fallback"), _const_from_json(document, "checks")
    return Node(
        id=document["id"],
        kind=document["kind"],
        stage=spec,
        args=args,
        mapped=tuple(document.get("mapped", ())),
        guards=tuple(Guard(branch, expected) for branch, expected in document.get("guards", ())),
        fallback=fallback,
        checks=checks,
        prompt=document.get("prompt", ""),
        timeout_s=document.get("timeout_s"),
        source=source,
    )


def _const_from_json(document: Mapping[str, Any], name: str) -> Const | None:
    expr = _expr_from_json(document[name]) if name in document else None
    if expr is not None and not isinstance(expr, Const):
        raise ValueError(f"{name} of a node is a constant")
    return expr


def node_to_bytes(node: Node) -> bytes:
    """JSON text of a node, as ``Call`` frames carry it; the same for equal nodes."""
    return _text(node_to_json(node))


def nodes_to_bytes(nodes: Iterable[Node]) -> bytes:
    """JSON text of several nodes, as ``Define`` frames carry them."""
    return _text(_nodes_to_json(nodes))


class StoredNodes:
    """Nodes in the JSON form that ``nodes_to_bytes`` and ``graph_to_json`` make; each is made when it is asked for.

    Attributes:
        ids: Of the nodes, in order.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._stages = [_stage_from_json(stage) for stage in document.get("stages", ())]
        self._documents = {node["id"]: node for node in document["nodes"]}
        self.ids = list(self._documents)

    def node(self, node_id: str) -> Node:
        """One of them; raises KeyError."""
        return node_from_json(self._documents[node_id], self._stages)

    def wiring(self, node_id: str) -> tuple[StageSpec, dict[str, str]] | None:
        """Stage of a single step and, by argument, the nodes whose whole outputs it takes.

        None if there is more to the node; raises KeyError.
        """
        document = self._documents[node_id]
        stage = document.get("stage")
        if type(stage) is not int or document["kind"] != "stage" or not _USUAL.issuperset(document):
            return None
        inputs = {}
        for name, expr in document.get("args", _NO_ARGS).items():
            if len(expr) != 1 or "ref" not in expr:
                return None
            inputs[name] = expr["ref"]
        return self._stages[stage], inputs


def _text(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def seal(graph: Graph, encode: Callable[[object], bytes]) -> Graph:
    """The graph with every constant as the bytes that ``encode`` makes of it (``Values.encode``)."""
    return replace(
        graph,
        nodes=tuple(seal_node(node, encode) for node in graph.nodes),
        output=_seal_expr(graph.output, encode),
        params={name: _seal_expr(expr, encode) for name, expr in graph.params.items()},
    )


def seal_node(node: Node, encode: Callable[[object], bytes]) -> Node:
    """The node with every constant as the bytes that ``encode`` makes of it."""
    if node.fallback is node.checks is None and _REFS.issuperset(map(type, node.args.values())):
        return node
    return node._replace(
        args={name: _seal_expr(expr, encode) for name, expr in node.args.items()},
        fallback=_seal_const(node.fallback, encode),
        checks=_seal_const(node.checks, encode),
    )


def _seal_const(const: Const | None, encode: Callable[[object], bytes]) -> Const | None:
    return const if const is None or const.cell is not None else Const(cell=encode(const.value))


def _seal_expr(expr: Expr, encode: Callable[[object], bytes]) -> Expr:
    match expr:
        case Const(cell=None):
            return Const(cell=encode(expr.value))
        case ListExpr():
            return replace(expr, items=tuple(_seal_expr(item, encode) for item in expr.items))
        case DictExpr():
            return DictExpr({key: _seal_expr(item, encode) for key, item in expr.items.items()})
        case _:
            return expr


# ---- expressions


def _expr_to_json(expr: Expr, place: str) -> Any:
    match expr:
        case Const(cell=None):
            return {"const": _plain_to_json(expr.value, place)}
        case Const(cell=cell):
            return {"cell": base64.b64encode(cell or b"").decode()}
        case SecretRef(reference=reference):
            return {"secret": reference}
        case Ref(node=node, path=()):
            return {"ref": node}
        case Ref(node=node, path=path):
            return {"ref": node, "path": [list(element) if isinstance(element, tuple) else element for element in path]}
        case ListExpr(items=items, is_tuple=is_tuple):
            return {"tuple" if is_tuple else "list": [_expr_to_json(item, place) for item in items]}
        case DictExpr(items=entries):
            return {"dict": {key: _expr_to_json(item, place) for key, item in entries.items()}}


def _expr_from_json(document: Mapping[str, Any]) -> Expr:
    if "ref" in document:
        path = document.get("path")
        if not path:
            return Ref(document["ref"])
        return Ref(document["ref"], tuple((e[0], e[1]) if isinstance(e, list | tuple) else e for e in path))
    if "const" in document:
        return Const(_plain_from_json(document["const"]))
    if "cell" in document:
        return Const(cell=_bytes(document["cell"]))
    if "secret" in document:
        return SecretRef(document["secret"])
    if "dict" in document:
        return DictExpr({key: _expr_from_json(item) for key, item in document["dict"].items()})
    is_tuple = "tuple" in document
    items = document["tuple" if is_tuple else "list"]
    return ListExpr(tuple(_expr_from_json(item) for item in items), is_tuple)


def _plain_to_json(value: object, place: str) -> Any:
    """Plain values: JSON's own for what JSON keeps exactly, an object with one key that names the type for the rest."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, int) and kind is int:
        return value if -_EXACT_INT < value < _EXACT_INT else {"int": str(value)}
    if isinstance(value, float) and kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, str) and kind is str:
        if value.isascii() or _encodable(value):
            return value
        return {"text": _base64(value.encode("utf-8", "surrogatepass"))}
    if isinstance(value, bytes) and kind is bytes:
        return {"bytes": _base64(value)}
    if isinstance(value, list | tuple) and kind in (list, tuple):
        items = [_plain_to_json(item, place) for item in value]
        return items if kind is list else {"tuple": items}
    if isinstance(value, dict) and kind is dict:
        return {"dict": [[_plain_to_json(key, place), _plain_to_json(item, place)] for key, item in value.items()]}
    raise NotSerializable(f"{place} is a {kind.__name__}, which has no readable form; the graph must be sealed first")


def _plain_from_json(document: Any) -> Any:
    if isinstance(document, list):
        return [_plain_from_json(item) for item in document]
    if not isinstance(document, Mapping):
        return document
    ((kind, content),) = document.items()
    match kind:
        case "int":
            return int(content)
        case "float":
            return float(content)
        case "text":
            return _bytes(content).decode("utf-8", "surrogatepass")
        case "bytes":
            return _bytes(content)
        case "tuple":
            return tuple(_plain_from_json(item) for item in content)
        case "dict":
            return {_plain_from_json(key): _plain_from_json(item) for key, item in content}
        case _:
            raise ValueError(f"no constant is of kind {kind!r}")


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


# ---- stages


def _stage_to_json(stage: StageSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"name": stage.name, "ref": stage.ref, "fingerprint": stage.fingerprint}
    policy = _changed(stage.policy)
    if policy:
        document["policy"] = policy
    for name in ("files", "parameters"):
        if value := getattr(stage, name):
            document[name] = list(value)
    if stage.types:
        document["types"] = dict(stage.types)
    document["returns"] = stage.returns
    if stage.doc:
        document["doc"] = stage.doc
    if stage.checks:
        document["checks"] = list(stage.checks)
    if stage.merge:
        document["merge"] = stage.merge
    return document


def _stage_from_json(document: Mapping[str, Any]) -> StageSpec:
    return StageSpec(
        name=document["name"],
        ref=document["ref"],
        fingerprint=document["fingerprint"],
        policy=_policy_from_json(document.get("policy", {})),
        files=tuple(document.get("files", ())),
        parameters=tuple(document.get("parameters", ())),
        types=dict(document.get("types", {})),
        returns=document["returns"],
        doc=document.get("doc", ""),
        checks=tuple(document.get("checks", ())),
        merge=document.get("merge", ""),
    )


def _changed(record: Policy | RetryPolicy | Resources) -> dict[str, Any]:
    """Fields of a policy that differ from their default."""
    document: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if value == default:
            continue
        if isinstance(value, Policy | RetryPolicy | Resources):
            document[field.name] = _changed(value)
        elif isinstance(value, tuple):
            document[field.name] = list(value)
        else:
            document[field.name] = _plain_to_json(value, f"option {field.name!r}")
    return document


def _policy_from_json(document: Mapping[str, Any]) -> Policy:
    values = _options_from_json({name: value for name, value in document.items() if name not in ("retry", "resources")})
    if "retry" in document:
        values["retry"] = RetryPolicy(**_options_from_json(document["retry"]))
    if "resources" in document:
        values["resources"] = Resources(**_options_from_json(document["resources"]))
    return Policy(**values)


def _options_from_json(document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a policy; no option is a list, so a JSON array is a tuple."""
    values = {name: _plain_from_json(value) for name, value in document.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _source_to_json(source: Source | None) -> list[Any] | None:
    return None if source is None else [source.file, source.line]


def _source_from_json(document: Any) -> Source | None:
    return None if document is None else Source(document[0], document[1])
