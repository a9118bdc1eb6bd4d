"""Chunks, outputs and arguments: how a step finds what it is called with."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.artifacts import Signer, StoredValues, open_store
from orchestrator.backends.bundles.arguments import Reader, compile_arguments, follow, takes_names_only
from orchestrator.backends.bundles.chunks import ChunkWindow, chunks_of
from orchestrator.backends.bundles.definitions import Loaded
from orchestrator.backends.bundles.outputs import InputMissing, Outputs
from orchestrator.errors import StepError
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Node, Ref, SecretRef, StageSpec
from orchestrator.ports.frames import Input, Span
from orchestrator.ports.values import Cell, Entry, decode_cell, decode_manifest, encode_cell


@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=30), st.integers(0, 300))
def test_driver_and_worker_agree_on_which_chunks_are_held(frames: list[list[int]], limit: int) -> None:
    sizes = {number: random.Random(number).randint(1, 60) for number in range(31)}
    driver, worker = ChunkWindow(limit), ChunkWindow(limit)
    for numbers in frames:
        wanted = [str(number) for number in dict.fromkeys(numbers)]
        sent: dict[str, bytes] = {}

        def fresh(digest: str, sent: dict[str, bytes] = sent) -> bytes | None:
            data = None if int(digest) % 7 == 0 else bytes(sizes[int(digest)])  # every seventh is an artifact
            if data is not None:
                sent[digest] = data
            return data

        there = driver.use(wanted, fresh)
        here = worker.use(wanted, sent.get)
        assert here == there
        assert set(here) == {digest for digest in wanted if int(digest) % 7}


def test_chunks_are_named_once_and_those_of_the_bundle_itself_not_at_all() -> None:
    spans = [Span(0, 1, "a", 0), Span(1, 2, "", 0), Span(2, 3, "b", 0), Span(3, 4, "a", 1)]
    assert list(chunks_of([Input("n", True, spans), Input("m", False, spans[:1])])) == ["a", "b"]


def signature_of(node: Node, function: Callable[..., Any]) -> inspect.Signature | None:
    return Loaded(function, "", False, takes_names_only(function)).signature_for(node.args)


CHUNKS: Mapping[str, list[Cell]] = {"a": [10, 11, 12], "b": [20, 21, 22]}


def outputs(*spans: Span, many: bool = True, made: dict[tuple[str, int], bytes] | None = None) -> Outputs:
    return Outputs(Input("n", many, list(spans)), lambda digest: CHUNKS[digest], made or {})


def test_outputs_leave_dropped_items_out_and_keep_their_indexes() -> None:
    found = outputs(Span(0, 2, "a", 1), Span(5, 6, "b", 2))
    assert found.all() == [11, 12, 22]
    assert [found.at(0), found.at(5), found.at(-1)] == [11, 22, 22]
    assert found.run(0, 2) == [11, 12]
    assert found.run(0, 3) is None
    with pytest.raises(IndexError, match="n has no output 3"):
        found.at(3)


def test_outputs_made_in_the_bundle_are_found_when_they_are_there() -> None:
    made: dict[tuple[str, int], bytes] = {}
    found = outputs(Span(0, 1, "a", 0), Span(1, 2, "", 0), made=made or {})
    with pytest.raises(InputMissing):
        found.all()
    made[("n", 1)] = encode_cell(99)
    found = outputs(Span(0, 1, "a", 0), Span(1, 2, "", 0), made=made)
    assert found.all() == [10, 99]


class Kitchen:
    """Values in a store, and readers over them."""

    def __init__(self, root: Path) -> None:
        (root / "keys").mkdir(mode=0o700)
        self.values = StoredValues(open_store(root / "artifacts"), Signer(root / "keys"))

    def const(self, value: object) -> Const:
        return Const(cell=self.values.encode(value))

    def call(self, function: Callable[..., Any], index: int = 0, span: tuple[int, int] = (0, 3), **args: Expr) -> Any:
        """Call a function as a step; names that begin with ``each_`` are mapped."""
        named = {name.removeprefix("each_").replace("star", "*"): expr for name, expr in args.items()}
        mapped = tuple(name.removeprefix("each_").replace("star", "*") for name in args if name.startswith("each_"))
        node = Node("node", "stage", StageSpec("node", "m:f", ""), args=named, mapped=mapped)
        compiled = compile_arguments(node, signature_of(node, function), self.reader(span))
        positional, keyword = compiled.of(index)
        return function(*positional, **keyword)

    def reader(self, span: tuple[int, int] = (0, 3), **more: object) -> Reader:
        cells = {name: decode_cell(self.values.encode(value)) for name, value in more.items()}
        found = {"n": outputs(Span(0, 3, "a", 0), Span(3, 6, "b", 0))}
        for name, cell in cells.items():
            found[name] = Outputs(Input(name, False, [Span(0, 1, "", 0)]), lambda _: [], {(name, 0): encode_cell(cell)})
        return Reader(self.values, found, self.children, self.whole, lambda reference: f"value of {reference}", span)

    def whole(self, cell: Cell) -> Any:
        return self.values.load(cell).value

    def children(self, entry: Entry) -> list[Cell]:
        return decode_manifest(self.values.store.get(entry.digest) if entry.data is None else entry.data).cells


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def echo(**named: Any) -> dict[str, Any]:
    return named


def test_constants_secrets_and_containers(kitchen: Kitchen) -> None:
    found = kitchen.call(
        echo,
        a=kitchen.const([1, 2]),
        b=SecretRef("env:X"),
        c=ListExpr((Ref("n", (1,)), kitchen.const("x")), is_tuple=True),
        d=DictExpr({"k": Ref("n")}),
    )
    assert found == {"a": [1, 2], "b": "value of env:X", "c": (11, "x"), "d": {"k": [10, 11, 12, 20, 21, 22]}}


def test_mapped_arguments_are_taken_item_by_item(kitchen: Kitchen) -> None:
    args: dict[str, Expr] = {
        "each_a": Ref("n"),
        "each_b": kitchen.const(["x", "y", "z", "u", "v", "w"]),
        "each_c": ListExpr(tuple(kitchen.const(i * i) for i in range(6))),
    }
    assert kitchen.call(echo, 4, (3, 6), **args) == {"a": 21, "b": "v", "c": 16}
    assert kitchen.call(echo, 2, (1, 4), **args) == {"a": 12, "b": "z", "c": 4}


def test_what_a_step_could_change_is_fresh_for_each(kitchen: Kitchen) -> None:
    node = Node(
        "node", "stage", StageSpec("node", "m:f", ""), args={"x": kitchen.const({"k": [1]}), "y": kitchen.const("text")}
    )
    compiled = compile_arguments(node, signature_of(node, echo), kitchen.reader())
    first, second = compiled.of(0)[1], compiled.of(1)[1]
    assert first == second
    assert first["x"] is not second["x"]
    assert first["x"]["k"] is not second["x"]["k"]


def test_parts_of_values_by_manifest_and_by_attribute(kitchen: Kitchen) -> None:
    reader = kitchen.reader(record={"a": [1, {"b": 2}]}, number=3 + 4j, nothing={"empty": None})

    def at(node: str, *path: Any) -> Any:
        argument = reader.argument(Ref(node, path))
        return argument.value if argument.get is None else argument.get(0)

    assert at("record", ("key", "a"), 1, ("key", "b")) == 2
    assert at("number", "imag") == 4.0
    assert at("nothing", ("key", "empty")) is None
    with pytest.raises(KeyError):
        at("record", ("key", "z"))
    with pytest.raises(StepError, match="without the output of 'absent'"):
        at("absent")


def test_functions_that_want_positions(kitchen: Kitchen) -> None:
    def function(a: int, /, b: int = 5, *rest: int, c: int = 7, **named: int) -> Any:
        return a, b, rest, c, named

    one, two, three = kitchen.const(1), kitchen.const(2), kitchen.const(3)
    assert kitchen.call(function, a=one) == (1, 5, (), 7, {})
    assert kitchen.call(function, a=one, b=two, star=ListExpr((three,)), c=one) == (1, 2, (3,), 1, {})
    assert kitchen.call(function, a=one, starstar=DictExpr({"z": two})) == (1, 5, (), 7, {"z": 2})
    assert kitchen.call(function, 1, each_a=Ref("n"), b=two, each_star0=Ref("n"), starstarz=one) == (
        11, 2, (11,), 7, {"z": 1},
    )  # fmt: skip


def test_follow_goes_from_outside_in() -> None:
    assert follow({"a": [3 + 4j]}, (("key", "a"), 0, "real")) == 3.0
