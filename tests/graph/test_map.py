from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import ItemError, Secret, each, fixed, pipeline, stage
from orchestrator.errors import MapError, MissingArgument, UnknownArgument, WrongType
from orchestrator.graph.node import Const, ListExpr, Ref, SecretRef


@stage
def numbers(n: int = 3) -> list[int]:
    return list(range(n))


@stage
def scale(x: int, factor: float = 1.0) -> float:
    return x * factor


@stage
def add(a: float, b: float) -> float:
    return a + b


@stage
def total(xs: list[float]) -> float:
    return sum(xs)


@stage
def loose(x: Any, *more: Any, y: Any = None, **named: Any) -> Any:
    return (x, more, y, named)


@stage
def fails_on_two(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    return x


@stage(streaming=True)
def batches(n: int) -> Iterator[int]:
    yield from range(n)


def graph_of(body: Any) -> Any:
    return pipeline(body, name="p").graph()


def test_positionals_are_zipped_and_keywords_broadcast() -> None:
    graph = graph_of(lambda: scale.map(numbers(), factor=2.0))
    node = graph.node("scale")
    assert node.mapped == ("x",)
    assert node.args == {"x": Ref("numbers"), "factor": Const(2.0)}
    assert graph.output == Ref("scale")
    two = graph_of(lambda: add.map(numbers(), [1.0, 2.0])).node("add")
    assert two.mapped == ("a", "b")
    assert two.args == {"a": Ref("numbers"), "b": Const([1.0, 2.0])}


def test_each_and_fixed_say_otherwise() -> None:
    node = graph_of(lambda: scale.map(fixed(3), factor=each([1.0, 2.0]))).node("scale")
    assert node.mapped == ("factor",)
    assert node.args == {"x": Const(3), "factor": Const([1.0, 2.0])}
    node = graph_of(lambda: add.map(each(numbers()), b=fixed(1.0))).node("add")
    assert node.mapped == ("a",)


def test_a_map_is_one_node_whatever_its_width() -> None:
    graph = graph_of(lambda: scale.map(range(100_000)))
    assert len(graph.nodes) == 1
    assert len(graph.node("scale").args["x"].value) == 100_000


def test_a_map_over_a_map_is_wired_item_by_item() -> None:
    graph = graph_of(lambda: add.map(scale.map(numbers()), scale.map(numbers())))
    assert graph.node("add").args == {"a": Ref("scale"), "b": Ref("scale#2")}
    assert graph.node("add").is_map


def test_a_map_over_a_stream_is_wired_batch_by_batch() -> None:
    graph = graph_of(lambda: scale.map(batches(3)))
    assert graph.node("batches").many
    assert graph.node("scale").args == {"x": Ref("batches")}


def test_an_item_of_a_map_can_be_picked() -> None:
    graph = graph_of(lambda: scale(numbers()[0]) if False else add(scale.map([1, 2])[1], 2.0))
    assert graph.node("add").args["a"] == Ref("scale", (1,))


def test_results_and_secrets_inside_a_literal_list() -> None:
    graph = graph_of(lambda: loose.map([scale(1), 2, Secret("env:A")]))
    assert graph.node("loose").args["x"] == ListExpr((Ref("scale"), Const(2), SecretRef("env:A")))


def test_variadic_arguments_of_a_map() -> None:
    graph = graph_of(lambda: loose.map([1, 2], [3, 4], fixed(5), y=each([6, 7]), z=8, w=each([9, 9])))
    node = graph.node("loose")
    assert node.mapped == ("x", "y", "*0", "**w")
    assert node.args == {
        "x": Const([1, 2]), "y": Const([6, 7]), "*0": Const([3, 4]), "*1": Const(5), "**z": Const(8),
        "**w": Const([9, 9]),
    }  # fmt: skip


def test_any_iterable_is_taken_as_a_list() -> None:
    node = graph_of(lambda: scale.map(n for n in (1, 2))).node("scale")
    assert node.args["x"] == Const([1, 2])
    assert graph_of(lambda: scale.map(())).node("scale").args["x"] == Const([])


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (lambda: add.map([1.0], [1.0, 2.0]), MapError, "differ in length: a has 1, b has 2"),
        (lambda: add.map(scale.map([1, 2, 3]), [1.0]), MapError, "a has 3, b has 1"),
        (lambda: add.map(add.map(scale.map([1, 2]), numbers()), [1.0]), MapError, "a has 2, b has 1"),
        (lambda: scale.map(), MissingArgument, "needs 'x'"),
        (lambda: scale.map(fixed(3)), MapError, "nothing to go over"),
        (lambda: scale.map(x=3), MapError, "nothing to go over"),
        (lambda: scale.map("abc"), MapError, "x is a str, not a list"),
        (lambda: scale.map({"a": 1}), MapError, "not a list"),
        (lambda: scale.map(3), MapError, "not a list"),
        (lambda: scale(each([1])), MapError, r"each\(…\) belongs into scale\.map"),
        (lambda: scale.map([1], [2], [3]), UnknownArgument, "takes 2 positional"),
        (lambda: scale.map([1], fctor=2), UnknownArgument, "did you mean 'factor'"),
        (lambda: batches.map([1]), MapError, "stream"),
        (lambda: scale.map([1, "no"]), WrongType, "an item of x is to be a int, but 'no' is a str"),
        (lambda: total.map(scale.map([1])), WrongType, "an item of xs is to be a list"),
        (lambda: scale.map(scale(1)), WrongType, "x is a float, and only lists and tuples can be mapped over"),
        (lambda: scale.map(numbers(), factor="x"), WrongType, "factor is to be a float"),
        (lambda: scale(scale.map([1, 2])), WrongType, "x is to be a int, but it is a list"),
        (lambda: scale.map([1, 2])[2], MapError, "the map has 2 items"),
        (lambda: scale.map([1, 2])[-1], MapError, "counted from 0"),
        (lambda: scale.map([1, 2]).first, WrongType, "no attribute 'first'"),
    ],
)  # fmt: skip
def test_maps_that_do_not_fit(body: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        graph_of(body)
    assert caught.value.details["file"] == __file__  # type: ignore[attr-defined]


def test_widths_of_unknown_length_are_left_to_the_run() -> None:
    graph_of(lambda: add.map(numbers(), scale.map([1])))


def test_on_item_error_is_part_of_the_policy() -> None:
    graph = graph_of(lambda: total(scale.options(on_item_error="keep").map(numbers())))
    assert graph.node("scale").policy.on_item_error == "keep"


def test_a_plain_map_is_a_list() -> None:
    assert scale.map([1, 2], factor=2.0) == [2.0, 4.0]
    assert add.map([1, 2], fixed(1)) == [2, 3]
    assert scale.map(fixed(3), factor=each((1.0, 2.0))) == [3.0, 6.0]
    assert scale.map([]) == []
    assert scale.map(batches(3)) == [0, 1, 2]
    assert loose.map([1], [2], y=3, z=each([4])) == [(1, (2,), 3, {"z": 4})]


def test_a_plain_map_is_strict() -> None:
    with pytest.raises(MapError, match="differ in length: 1, 2"):
        add.map([1], [1, 2])
    with pytest.raises(MapError, match="nothing to go over"):
        scale.map(fixed(1))
    with pytest.raises(MapError, match="a str cannot be mapped over"):
        scale.map("abc")


def test_failed_items_of_a_plain_map() -> None:
    with pytest.raises(ValueError, match="two"):
        fails_on_two.map([1, 2, 3])
    assert fails_on_two.options(on_item_error="drop").map([1, 2, 3]) == [1, 3]
    kept: list[Any] = fails_on_two.options(on_item_error="keep").map([1, 2, 3])
    assert kept[0] == 1
    assert kept[1] == ItemError("two", ("builtins:ValueError", "builtins:Exception", "builtins:BaseException"))
    assert kept[1].name == "ValueError"


def test_indexes_stay_when_items_are_dropped() -> None:
    dropping = fails_on_two.options(on_item_error="drop")
    assert add.map(dropping.map([1, 2, 3]), [10, 20, 30]) == [11, 33]
    assert add.map(dropping.map([1, 2, 3]), dropping.map([2, 1, 3])) == [6]
    assert total(dropping.map([1, 2, 3])) == 4
