from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Retry, Secret, approve, dynamic, each, pipeline, stage, when
from orchestrator.errors import ConfigError, CyclicGraph, NotSerializable
from orchestrator.graph.json import (
    StoredNodes,
    graph_from_json,
    graph_to_json,
    node_from_json,
    node_to_json,
    nodes_to_bytes,
    seal,
    seal_node,
)
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
)
from orchestrator.graph.policy import Policy, Resources, RetryPolicy

texts = st.text(st.characters(), max_size=8)
names = st.text("abcXYZ_09/#ä", min_size=1, max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(max_size=8),
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(texts | st.integers() | st.tuples(st.integers()), children, max_size=3)
    ),
    max_leaves=8,
)
consts = st.builds(Const, plain) | st.builds(Const, st.none(), st.binary(max_size=16))
refs = st.builds(
    Ref,
    names,
    st.lists(st.text("abc", min_size=1) | st.integers(-9, 9) | st.tuples(st.just("key"), texts), max_size=3).map(tuple),
)
leaves: st.SearchStrategy[Expr] = consts | st.builds(SecretRef, texts) | refs
exprs: st.SearchStrategy[Expr] = st.recursive(
    leaves,
    lambda children: (
        st.builds(ListExpr, st.lists(children, max_size=3).map(tuple), st.booleans())
        | st.builds(DictExpr, st.dictionaries(texts, children, max_size=3))
    ),
    max_leaves=5,
)
durations = st.none() | st.floats(0, allow_nan=False, allow_infinity=True)
amounts = st.floats(0, 1e9)
policies = st.builds(
    Policy,
    retry=st.builds(RetryPolicy, st.integers(1, 9), amounts, amounts, st.lists(names, max_size=2).map(tuple)),
    timeout_s=durations,
    cache_s=durations,
    has_fallback=st.booleans(),
    on_item_error=st.sampled_from(["fail", "drop", "keep"]),
    resources=st.builds(
        Resources, amounts, amounts, st.integers(0, 2**70), st.dictionaries(names, amounts, max_size=2),
        st.none() | names, st.dictionaries(names, names, max_size=2),
        st.none() | st.dictionaries(names, plain, max_size=2),
    ),
    streaming=st.booleans(), effects=st.booleans(), isolated=st.booleans(),
    uses=st.lists(st.sampled_from(["data", "tune", "serving"]), max_size=2).map(tuple),
    max_steps=st.none() | st.integers(1, 99),
)  # fmt: skip
specs = st.builds(
    StageSpec, names, names, names, policies, st.lists(names, max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
    st.dictionaries(names, texts, max_size=2), texts, texts,
)  # fmt: skip
sources = st.none() | st.builds(Source, names, st.integers(1, 999))
nodes = st.builds(
    Node, names, st.sampled_from(["stage", "dynamic", "approval", "signal", "branch", "choice", "pack"]),
    st.none() | specs,
    st.dictionaries(names, exprs, max_size=3), st.lists(names, max_size=2).map(tuple),
    st.lists(st.builds(Guard, names, st.booleans()), max_size=2).map(tuple), st.none() | consts, texts,
    st.none() | amounts,
    sources, st.none() | consts,
)  # fmt: skip


def stored(node: Node) -> Node:
    """The node after a trip to a worker, beside another one of the same stage."""
    return StoredNodes(json.loads(nodes_to_bytes([node._replace(id="other"), node]))).node(node.id)


@settings(max_examples=150, deadline=None)
@given(nodes)
def test_nodes_round_trip(node: Node) -> None:
    text = json.dumps(node_to_json(node), allow_nan=False)
    assert node_from_json(json.loads(text)) == node
    assert stored(node) == node


@settings(max_examples=60, deadline=None)
@given(st.lists(nodes, max_size=3), exprs, st.dictionaries(names, exprs, max_size=2), sources)
def test_graphs_round_trip(some: list[Node], output: Expr, params: dict[str, Expr], source: Source | None) -> None:
    ordered: list[Node] = []
    for position, node in enumerate(some):
        earlier = f"n{position - 1}" if ordered else None
        args: dict[str, Expr] = {"a": Ref(earlier, ("x", 0))} if earlier else {}
        guards = (Guard(earlier, True),) if earlier else ()
        ordered.append(node._replace(id=f"n{position}", args=args, guards=guards))
    output = Ref(ordered[-1].id) if ordered else Const(3)
    graph = Graph("p", tuple(ordered), output, params, source)
    assert graph_from_json(json.loads(json.dumps(graph_to_json(graph), allow_nan=False))) == graph


@given(plain)
def test_constants_keep_value_and_type(value: Any) -> None:
    node = Node("n", "pack", args={"value": Const(value)})
    back = stored(node).args["value"]
    assert isinstance(back, Const)
    assert repr(back.value) == repr(value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -0.0, 2**80, -(2**53), 1.0, 1, True, (), [], "\udcff", {1: (2,)}]
)
def test_constants_that_json_would_change(value: Any) -> None:
    back = stored(Node("n", "pack", args={"v": Const(value)})).args["v"]
    assert repr(back.value) == repr(value)  # type: ignore[union-attr]


@stage(cache=True, retries=Retry(3, "1s..2s", on=(OSError,)), num_gpus=0.5, runtime_env={"pip": ["a"]})
def number(x: Any = None, **more: Any) -> int:
    return 0


@dynamic(max_steps=3)
def loop(x: int) -> int:
    return x


@pipeline
def everything(a: int = 3, secret: str = Secret("env:A")) -> Any:
    n = number.options(fallback=None if a == 0 else 7)([a, {"s": secret}], key=(1, 2))
    mapped = number.map([n, 2], each=1, x2=each([1, 2]))
    result = when(approve("ok?", timeout="1h"), then=lambda: [n, mapped], otherwise=lambda: loop(n))
    return {"r": result, "t": (n, mapped[0]), "c": b"x"}


def test_a_whole_graph_round_trips_with_an_endless_cache() -> None:
    graph = everything.graph()
    assert graph.node("number").policy.cache_s == math.inf
    document = json.loads(json.dumps(graph_to_json(graph), allow_nan=False))
    assert graph_from_json(document) == graph


def test_sealing_replaces_every_constant() -> None:
    graph = seal(everything.graph(), lambda value: repr(value).encode())

    def constants(expr: Expr | None) -> list[Const]:
        match expr:
            case Const():
                return [expr]
            case ListExpr():
                return [const for item in expr.items for const in constants(item)]
            case DictExpr():
                return [const for item in expr.items.values() for const in constants(item)]
            case _:
                return []

    exprs_of_all = [graph.output, *graph.params.values()]
    for node in graph.nodes:
        exprs_of_all += [*node.args.values(), *([node.fallback] if node.fallback else [])]
    found = [const for expr in exprs_of_all for const in constants(expr)]
    assert len(found) >= 6
    assert all(const.cell is not None and const.value is None for const in found)
    assert graph.node("number").fallback == Const(cell=b"7")
    assert graph_from_json(json.loads(json.dumps(graph_to_json(graph)))) == graph
    assert seal(graph, lambda value: b"again") == graph


def test_a_constant_with_no_readable_form_has_to_be_sealed() -> None:
    node = Node("n", "pack", args={"value": Const({"a": [object()]})})
    with pytest.raises(NotSerializable, match="argument 'value' of 'n' is a object"):
        node_to_json(node)
    with pytest.raises(NotSerializable):
        node_to_json(Node("n", "pack", args={"value": Const(Secret("env:A"))}))
    assert node_from_json(node_to_json(seal_node(node, lambda value: b"\x00"))).args["value"] == Const(cell=b"\x00")


def test_broken_documents_are_refused() -> None:
    good = graph_to_json(everything.graph())
    with pytest.raises(ConfigError, match="format 99"):
        graph_from_json({**good, "format": 99})
    for broken in (
        {**good, "nodes": [{"id": "x"}]},
        {**good, "nodes": 3},
        {**good, "output": {"const": {"complex": 1}}},
        {**good, "output": {"cell": "!"}},
        {key: value for key, value in good.items() if key != "params"},
    ):
        with pytest.raises(ConfigError, match="broken"):
            graph_from_json(broken)


def test_nodes_stand_after_what_they_depend_on() -> None:
    one = Const(1)

    def graph(*nodes: Node, output: Expr = one) -> dict[str, Any]:
        return graph_to_json(Graph("p", nodes, output))

    a, b = Node("a", "pack", args={"value": Ref("b")}), Node("b", "pack", args={"value": Ref("a")})
    loose = Node("c", "pack", args={"value": Const(1)})
    for document in (
        graph(a, b),
        graph(Node("a", "pack", args={"value": Ref("a")})),
        graph(loose, loose),
        graph(loose, output=Ref("x")),
        graph(Node("c", "pack", guards=(Guard("x", True),))),
    ):
        with pytest.raises(CyclicGraph):
            graph_from_json(document)
