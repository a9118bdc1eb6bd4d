from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from orchestrator import File, Secret, approve, dynamic, pipeline, signal, stage, step
from orchestrator.errors import (
    CyclicGraph,
    InvalidPipeline,
    InvalidStage,
    MissingArgument,
    PlaceholderMisuse,
    UnknownArgument,
    WrongType,
)
from orchestrator.graph.node import Const, DictExpr, ListExpr, Ref, SecretRef


@dataclass
class Parts:
    train: list[int]
    test: list[int]


class Pair(NamedTuple):
    left: int
    right: int


@stage
def load(path: File = "x") -> list[int]:
    return [len(path)]


@stage
def split(rows: list[int]) -> Parts:
    return Parts(rows, rows)


@stage
def total(rows: Any, *more: int, scale: float = 1.0, **named: int) -> int:
    return 0


@stage
def number(x: int = 0) -> int:
    return x


@stage
def loose(x: Any = None) -> Any:
    return x


def test_a_pipeline_becomes_nodes_in_the_order_of_its_calls() -> None:
    @pipeline
    def p(path: str = "a.csv", scale: float = 2) -> int:
        rows = load(path)
        parts = split(rows)
        return total(parts.train, scale=scale)

    graph = p.graph(scale=3.0)
    assert graph.pipeline == "p"
    assert [node.id for node in graph.nodes] == ["load", "split", "total"]
    assert graph.node("load").args == {"path": Const("a.csv")}
    assert graph.node("split").args == {"rows": Ref("load")}
    assert graph.node("total").args == {"rows": Ref("split", ("train",)), "scale": Const(3.0)}
    assert graph.output == Ref("total")
    assert graph.params == {"path": Const("a.csv"), "scale": Const(3.0)}
    assert graph.source is not None
    assert graph.source.file == __file__


def test_nodes_know_the_users_line() -> None:
    @pipeline
    def p() -> int:
        rows = load()  # here
        return total(rows)

    lines, first = inspect.getsourcelines(p.function)
    line = first + next(offset for offset, text in enumerate(lines) if "# here" in text)
    source = p.graph().node("load").source
    assert source is not None
    assert (source.file, source.line) == (__file__, line)


def test_ordinary_python_over_parameters_shapes_the_graph() -> None:
    @pipeline
    def p(count: int, extra: bool = False) -> list[int]:
        results = [number(i) for i in range(count)]
        if extra:
            results.append(number(99))
        return results

    graph = p.graph(3, extra=True)
    assert [node.id for node in graph.nodes] == ["number", "number#2", "number#3", "number#4"]
    assert graph.output == ListExpr(tuple(Ref(node.id) for node in graph.nodes))
    assert len(p.graph(count=0).nodes) == 0


def test_placeholders_in_containers() -> None:
    @pipeline
    def p() -> Any:
        n = number()
        return loose({"a": [n, 1], "b": (n, {"c": n}), "d": "text"})

    assert p.graph().node("loose").args["x"] == DictExpr(
        {
            "a": ListExpr((Ref("number"), Const(1))),
            "b": ListExpr((Ref("number"), DictExpr({"c": Ref("number")})), is_tuple=True),
            "d": Const("text"),
        }
    )


def test_parts_of_results_are_paths() -> None:
    @stage
    def deep() -> dict[str, list[Parts]]:
        return {}

    @pipeline
    def p() -> Any:
        d = deep()
        return [loose(d["k"][0].train[2]), loose(d["k"])]

    graph = p.graph()
    assert graph.node("loose").args["x"] == Ref("deep", (("key", "k"), 0, "train", 2))
    assert graph.node("loose#2").args["x"] == Ref("deep", (("key", "k"),))


def test_a_pipeline_in_a_pipeline_is_inlined_under_its_own_scope() -> None:
    @pipeline
    def inner(rows: list[int], scale: float = 1.0) -> int:
        return total(split(rows).test, scale=scale)

    @pipeline
    def outer() -> list[int]:
        rows = load()
        return [inner(rows), inner(rows, scale=2.0)]

    graph = outer.graph()
    assert [node.id for node in graph.nodes] == ["load", "inner/split", "inner/total", "inner#2/split", "inner#2/total"]
    assert graph.node("inner/split").args == {"rows": Ref("load")}
    assert graph.node("inner#2/total").scope == "inner#2"
    assert graph.output == ListExpr((Ref("inner/total"), Ref("inner#2/total")))


def test_a_sub_pipeline_is_checked_like_a_stage() -> None:
    @pipeline
    def inner(rows: list[int]) -> int:
        return total(rows)

    with pytest.raises(WrongType, match="inner: rows is to be a list"):
        pipeline(lambda: inner(number()), name="p").graph()  # type: ignore[arg-type]
    with pytest.raises(MissingArgument, match="pipeline inner needs 'rows'"):
        pipeline(lambda: inner(), name="p").graph()  # type: ignore[call-arg]


def test_a_pipeline_without_end_is_refused() -> None:
    @pipeline
    def ouroboros(n: int) -> Any:
        return ouroboros(n + 1)

    with pytest.raises(CyclicGraph, match="calls itself without end"):
        ouroboros.graph(0)


def test_names_given_at_the_call_and_ordinals() -> None:
    @pipeline
    def p() -> list[int]:
        return [number(1), number.options(name="big")(2), number.options(name="big")(3), number(4)]

    assert [node.id for node in p.graph().nodes] == ["number", "big", "big#2", "number#2"]


def test_arguments_are_bound_as_python_does() -> None:
    @stage
    def picky(a: int, /, b: int, *, c: int = 3) -> int:
        return a

    @pipeline
    def p() -> list[int]:
        n = number()
        return [picky(n, 2), picky(1, b=n, c=4), total(n, 1, n, scale=2, first=n)]

    graph = p.graph()
    assert graph.node("picky").args == {"a": Ref("number"), "b": Const(2)}
    assert graph.node("picky#2").args == {"a": Const(1), "b": Ref("number"), "c": Const(4)}
    assert graph.node("total").args == {
        "rows": Ref("number"),
        "scale": Const(2),
        "*": ListExpr((Const(1), Ref("number"))),
        "**": DictExpr({"first": Ref("number")}),
    }


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: number(1, 2), UnknownArgument, "takes 1 positional argument, not 2"),
        (lambda: load(paht="x"), UnknownArgument, "did you mean 'path'"),
        (lambda: load(zzz="x"), UnknownArgument, "it has path"),
        (lambda: number(1, x=2), UnknownArgument, "twice"),
        (lambda: split(), MissingArgument, "needs 'rows'"),
        (lambda: load(3), WrongType, "path is to be a File, but 3 is a int"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        pipeline(call, name="p").graph()
    assert caught.value.details["file"] == __file__  # type: ignore[attr-defined]


def test_pipeline_parameters_are_checked() -> None:
    @pipeline
    def p(a: int, b: str = "x") -> int:
        return number(a)

    with pytest.raises(MissingArgument, match="pipeline p needs 'a'"):
        p.graph()  # type: ignore[call-arg]
    with pytest.raises(UnknownArgument, match="no parameter 'c'"):
        p.graph(1, c=3)  # type: ignore[call-arg]
    with pytest.raises(WrongType, match="a is to be a int"):
        p.graph("no")  # type: ignore[arg-type]


def test_the_result_of_a_pipeline_is_checked() -> None:
    @pipeline
    def p() -> str:
        return number()  # type: ignore[return-value]

    with pytest.raises(WrongType, match="pipeline 'p' is to return a str") as caught:
        p.graph()
    assert caught.value.details["file"] == __file__


def test_variadic_pipelines() -> None:
    @pipeline
    def p(*paths: str, **scales: float) -> list[list[int]]:
        return [load(path) for path in paths]

    graph = p.graph("a", "b", x=1.0)
    assert graph.params == {"*": Const(["a", "b"]), "x": Const(1.0)}
    assert len(graph.nodes) == 2


def test_secrets_and_files() -> None:
    @stage
    def query(sql: str, path: File | None = None, password: str = Secret("env:DB")) -> int:
        return 0

    @pipeline
    def p(token: str = Secret("file:/t")) -> Any:
        return [query("select"), query("select", password=Secret("env:OTHER")), loose([token, {"a": token}])]

    graph = p.graph()
    assert graph.params == {"token": SecretRef("file:/t")}
    assert graph.node("query").args == {"sql": Const("select"), "password": SecretRef("env:DB")}
    assert graph.node("query#2").args["password"] == SecretRef("env:OTHER")
    assert graph.node("loose").args["x"] == ListExpr((SecretRef("file:/t"), DictExpr({"a": SecretRef("file:/t")})))
    spec = graph.node("query").stage
    assert spec is not None
    assert spec.files == ("path",)


def test_approvals_and_signals_are_nodes_that_wait() -> None:
    @pipeline
    def p() -> Any:
        ok = approve("Release it?", timeout="3d")
        return loose([ok, signal("labels ready")])

    graph = p.graph()
    assert [(node.id, node.kind, node.prompt, node.timeout_s) for node in graph.nodes[:2]] == [
        ("approve", "approval", "Release it?", 3 * 86400),
        ("labels ready", "signal", "labels ready", None),
    ]
    for bad in (lambda: approve(""), lambda: approve("x", timeout="never")):
        with pytest.raises(InvalidPipeline) as caught:
            pipeline(bad, name="p").graph()
        assert caught.value.details["file"] == __file__


def test_dynamic_stages_are_one_node() -> None:
    calls: list[int] = []

    @dynamic(max_steps=7, retries=1)
    def loop(n: int) -> int:
        calls.append(n)
        return number(n)

    @pipeline
    def p() -> int:
        return loop(number(1))

    node = p.graph().node("loop")
    assert (node.kind, node.policy.max_steps, node.policy.retry.attempts) == ("dynamic", 7, 2)
    assert calls == []
    traced = p.trace()
    assert set(traced.stages.values()) == {loop, number}
    assert {s.spec.ref for s in traced.stages.values()} == set(traced.stages)


def test_fallbacks_travel_with_the_node() -> None:
    @pipeline
    def p() -> int:
        return number.options(fallback=-1, timeout="5s")(1)

    node = p.graph().node("number")
    assert node.fallback == Const(-1)
    assert node.policy.has_fallback
    assert node.timeout_s == 5.0


def test_results_of_another_tracing_are_refused() -> None:
    kept: list[Any] = []

    @pipeline
    def first() -> int:
        kept.append(number())
        return kept[0]

    first.graph()
    with pytest.raises(PlaceholderMisuse, match="another tracing"):
        pipeline(lambda: loose(kept[0]), name="second").graph()


def test_step_is_refused_in_a_pipeline() -> None:
    with pytest.raises(InvalidStage, match="no stage runs"):
        pipeline(lambda: step().key, name="p").graph()


def test_tracings_in_threads_do_not_meet() -> None:
    barrier = threading.Barrier(2, timeout=20)
    found: dict[int, list[str]] = {}

    @pipeline
    def p(count: int) -> Any:
        barrier.wait()
        return [number(i) for i in range(count)]

    def trace(count: int) -> None:
        found[count] = [node.id for node in p.graph(count).nodes]

    threads = [threading.Thread(target=trace, args=(count,)) for count in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {count: len(ids) for count, ids in found.items()} == {2: 2, 3: 3}


def test_a_failed_tracing_leaves_nothing_behind() -> None:
    @pipeline
    def p() -> int:
        number()
        raise ValueError("author's own")

    with pytest.raises(ValueError, match="author's own"):
        p.graph()
    assert number(3) == 3


def test_what_cannot_be_a_pipeline() -> None:
    async def waits() -> None: ...

    for bad in (number, 3, waits, pipeline(lambda: None, name="p")):
        with pytest.raises(InvalidPipeline):
            pipeline(bad)  # type: ignore[call-overload]
    with pytest.raises(InvalidPipeline, match="'local' or 'ray'"):
        pipeline(lambda: None, name="p").options(on="moon")  # type: ignore[arg-type]
    with pytest.raises(InvalidPipeline, match="cannot name"):
        pipeline(lambda: None, name="a/b")


def test_options_of_a_pipeline() -> None:
    p = pipeline(lambda: None, name="p").options(on="local").options(tags={"team": "a"})
    assert (p.run_options.on, p.run_options.tags) == ("local", {"team": "a"})
    assert p.name == "p"


def test_a_call_like_an_earlier_one_is_bound_alike_and_one_of_other_types_is_checked() -> None:
    @stage
    def number(x: int) -> int:
        return x

    @stage
    def text(x: int) -> str:
        return str(x)

    @stage
    def both(a: int, b: int) -> int:
        return a + b

    @pipeline
    def twice() -> list[int]:
        one, two = number(1), number(2)
        return [both(one, two), both(two, one), both(b=one, a=two)]

    args = [node.args for node in twice.graph().nodes if node.name.startswith("both")]
    assert args == [
        {"a": Ref("number"), "b": Ref("number#2")},
        {"a": Ref("number#2"), "b": Ref("number")},
        {"b": Ref("number"), "a": Ref("number#2")},
    ]

    @pipeline
    def wrong() -> int:
        one = number(1)
        both(one, one)
        return both(one, text(1))  # type: ignore[arg-type]

    with pytest.raises(WrongType, match="b is to be a int"):
        wrong.graph()
