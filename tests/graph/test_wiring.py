from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import numpy as np
import pyarrow as pa
import pytest

from orchestrator import File, pipeline, stage
from orchestrator.errors import WrongType
from orchestrator.graph.annotation import Stream, describe, item_type
from orchestrator.graph.wiring import compatible, mismatch

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

T = TypeVar("T")
N = TypeVar("N", bound=float)
UserId = NewType("UserId", int)


class Animal: ...


class Dog(Animal): ...


class Speaks(Protocol):
    def speak(self) -> str: ...


class Row(TypedDict):
    name: str
    age: int


class Pair(NamedTuple):
    left: int
    right: str


@dataclass
class Holder(Generic[T]):
    content: T
    rest: list[T]


@dataclass
class Fitted:
    model: Animal
    auc: float
    history: list[float]
    best: Fitted | None = None

    @property
    def short(self) -> str:
        return ""

    def describe(self) -> str:
        return ""


GOOD: list[tuple[Any, Any]] = [
    (int, int), (bool, int), (int, float), (int, complex), (Dog, Animal), (int, object), (int, Any), (Any, int),
    (list[int], list[int]), (list[int], list), (list, list[int]), (list[int], list[float]), (list[int], Sequence[int]),
    (list[int], Iterable[float]), (dict[str, int], dict[str, float]), (dict[str, int], Mapping[str, int]),
    (dict[str, int], Iterable[str]), (tuple[int, str], tuple[int, str]), (tuple[int, int], tuple[int, ...]),
    (tuple[int, ...], tuple[int, int]), (tuple[int, str], Sequence[int | str]), (int, int | None), (None, int | None),
    (int | str, str | int | float), (bool | None, int | None), (Literal["a"], str), (Literal["a"], Literal["a", "b"]),
    (str, Literal["a", "b"]), (UserId, int), (UserId, UserId), (UserId, float), (Annotated[int, "x"], int),
    (int, Annotated[int, "x"]), (str, File), (File, str), (pa.Table, pa.Table), (Dog, Speaks), (list[int], list[T]),
    (int, N), (Stream[int], list[int]), (Stream[int], Iterator[int]), (Stream[int], Iterable[float]), (Row, Row),
    (Row, dict), (dict, Row), (Row, Mapping[str, Any]), (Callable[[int], str], Callable[[str], str]),
    (type[Dog], type[Animal]),
    ("Unresolved", int), (int, "Unresolved"), (list[list[int]], list[Sequence[int]]), (str, Sequence[str]),
    (Pair, tuple[int, str]),
    (Holder[int], Holder[int]), (Holder, Holder[int]), (range, Sequence[int]), (bytes, bytes),
    (set[int], Iterable[int]),
    (list[Any], list[int]), (T, int), (int, T),
]  # fmt: skip
BAD: list[tuple[Any, Any]] = [
    (float, int), (int, str), (int, bool), (Animal, Dog), (list[str], list[int]), (list[int], tuple[int, ...]),
    (list[int], dict[str, int]), (dict[str, str], dict[str, int]), (dict[int, int], Mapping[str, int]),
    (dict[str, int], Iterable[int]), (tuple[int, str], tuple[int, int]), (tuple[int, int, int], tuple[int, int]),
    (tuple[int, str], Sequence[int]), (int | None, int), (None, int), (int | str, int),
    (Literal["c"], Literal["a", "b"]),
    (Literal["a"], int), (int, Literal["a"]), (int, UserId), (UserId, str), (pa.Table, pa.RecordBatch), (pa.Table, str),
    (pa.Table | None, pa.Table), (list[str], list[N]), (str, N), (Stream[str], list[int]), (Stream[int], int),
    (list[list[str]], list[list[int]]), (Row, int), (Holder[str], Holder[int]), (str, int | None), (bytes, str),
    (str, int),
    (list[int | None], list[int]), (Pair, list),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), GOOD, ids=lambda t: describe(t))
def test_fits(source: Any, target: Any) -> None:
    assert compatible(source, target)


@pytest.mark.parametrize(("source", "target"), BAD, ids=lambda t: describe(t))
def test_does_not_fit(source: Any, target: Any) -> None:
    assert not compatible(source, target)


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (1, int), (True, int), (1, float), (np.int64(1), int), (np.float32(1), float), (None, int | None),
        ([1, 2], list[int]),
        ([], list[int]), ({"a": 1}, dict[str, int]), ((1, "a"), tuple[int, str]), ((1, 2), tuple[int, ...]),
        ("a", Literal["a"]),
        (3, UserId), ("x", File), (len, Callable[[Any], int]), (int, type[int]), (Dog(), Animal), (3, Speaks),
        (3, Any), (3, "Unknown"),
        ({"name": "x", "age": 1}, Row), (Pair(1, "a"), tuple[int, str]), ([1, "a"], list[int | str]),
        ({1, 2}, set[int]),
        ([1], Iterable[int]), (pa.table({"a": [1]}), pa.Table), ([1, 2.5], list[T]), (iter([1]), Iterator[str]),
    ],
)  # fmt: skip
def test_values_that_fit(value: Any, target: Any) -> None:
    assert mismatch(value, target, {}) is None


@pytest.mark.parametrize(
    ("value", "target", "why"),
    [
        ("x", int, "'x' is a str"), (1.0, int, "1.0 is a float"), (None, int, "None is a None"), (1, str, "1 is a int"),
        (["a"], list[int], "'a' is a str"), ({"a": "b"}, dict[str, int], "'b' is a str"),
        ({1: 1}, dict[str, int], "1 is a int"),
        ((1,), tuple[int, str], "1 items, not 2"), ((1, 2), tuple[int, str], "2 is a int"),
        ("c", Literal["a", "b"], "'c' is a str"),
        (True, Literal[1], "True is a bool"), ("x", int | None, "'x' is a str"), (Animal(), Dog, "is a Animal"),
        (3, Row, "3 is a int"),
        (Path("x"), File, "is a P"), ("x", Callable[[], int], "'x' is a str"),
        ({"a": 1}, pa.Table, "is a dict[str, int]"),
        ([*range(5000), "x"], list[int], "'x' is a str"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(value: Any, target: Any, why: str) -> None:
    assert why in str(mismatch(value, target, {}))


@pytest.mark.parametrize(
    ("annotation", "item"),
    [
        (list[int], int), (list, Any), (tuple[int, ...], int), (tuple[int, str], int | str), (Sequence[int], int),
        (Stream[int], int),
        (Iterator[int], int), (Any, Any), (list[int] | tuple[str, ...], int | str), (range, Any), (object, Any),
        (str, None), (int, None), (dict[str, int], None), (set[int], None), (bytes, None), (pa.Table, None),
        (Fitted, None),
        (list[int] | None, None), (Mapping[str, int], None), (np.ndarray, None),
    ],
)  # fmt: skip
def test_what_a_map_takes_from_a_value(annotation: Any, item: Any) -> None:
    assert item_type(annotation) == item


@stage
def fit() -> Fitted:
    return Fitted(Dog(), 0.5, [])


@stage
def holder() -> Holder[int]:
    return Holder(1, [])


@stage
def pair() -> Pair:
    return Pair(1, "a")


@stage
def row() -> Row:
    return {"name": "a", "age": 1}


@stage
def table() -> pa.Table:
    return pa.table({})


@stage
def vague() -> Unknown:
    return None


@stage
def need_float(x: float) -> float:
    return x


@stage
def need_text(x: str) -> str:
    return x


@stage
def need_animal(x: Animal) -> Animal:
    return x


@stage
def need_table(x: pa.Table) -> pa.Table:
    return x


@stage
def need_unknown(x: Unknown, y: list[Unknown] | None = None) -> int:
    return 0


@stage
def first(xs: list[T], other: T | None = None) -> T:
    return xs[0]


@stage
def texts() -> list[str]:
    return []


def trace(body: Any) -> Any:
    return pipeline(body, name="p").graph()


@pytest.mark.parametrize(
    "body",
    [
        lambda: need_float(fit().auc),
        lambda: need_animal(fit().model),
        lambda: need_float(fit().history[0]),
        lambda: need_text(fit().short),
        lambda: need_float(holder().content),
        lambda: need_float(holder().rest[0]),
        lambda: need_float(pair()[0]),
        lambda: need_text(pair().right),
        lambda: need_text(row()["name"]),
        lambda: need_table(table()),
        lambda: need_float(table().num_rows),
        lambda: need_table(table()["column"]),
        lambda: need_unknown(vague(), [vague()]),
        lambda: need_float(vague().whatever[0]),
        lambda: need_unknown(need_float(1.0)),
        lambda: need_text(first(texts())),
        lambda: need_text(first(["a", need_text("b")])),
        lambda: need_text.map(texts()),
        lambda: first([fit(), fit()]).auc,
    ],
)
def test_wirings_that_fit(body: Any) -> None:
    trace(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (lambda: need_text(fit().auc), "need_text: x is to be a str, but it is a float"),
        (lambda: fit().ac, "fit is a Fitted, which has no attribute 'ac'; did you mean 'auc'?"),
        (lambda: need_animal(fit().best), r"it is a Fitted \| None"),
        (lambda: fit().best.auc, "None"),
        (lambda: fit()[0], r"no item \[0\]"),
        (lambda: need_text(fit().history[0]), "it is a float"),
        (lambda: need_text(holder().content), "it is a int"),
        (lambda: need_text(pair()[0]), "it is a int"),
        (lambda: pair()[2], r"no item \[2\]"),
        (lambda: pair().middle, "no attribute 'middle'"),
        (lambda: row()["nmae"], "did you mean 'name'"),
        (lambda: texts()["a"], "no item"),
        (lambda: need_float(1.0).nothing, "no attribute"),
        (lambda: need_table(texts()), "x is to be a Table, but it is a list"),
        (lambda: need_text(table()), "it is a Table"),
        (lambda: need_text.map(table()), "only lists and tuples can be mapped over"),
        (lambda: need_float.map(texts()), "an item of x is to be a float, but it is a str"),
        (lambda: need_float(first(texts())), "it is a str"),
        (lambda: need_table([1, 2]), r"\[1, 2\] is a list\[int\]"),
    ],
)
def test_wirings_that_do_not(body: Any, text: str) -> None:
    with pytest.raises(WrongType, match=text) as caught:
        trace(body)
    assert caught.value.details["file"] == __file__
    assert caught.value.details["line"] > 1


def test_a_stream_may_be_taken_as_iterator_or_list() -> None:
    @stage(streaming=True)
    def produce() -> Iterator[int]:
        yield 1

    @stage
    def whole(xs: list[int]) -> int:
        return 0

    @stage
    def one_by_one(xs: Iterable[int]) -> int:
        return 0

    @stage
    def wrong(xs: list[str]) -> int:
        return 0

    trace(lambda: [whole(produce()), one_by_one(produce()), need_float.map(produce())])  # type: ignore[arg-type]
    with pytest.raises(WrongType):
        trace(lambda: wrong(produce()))  # type: ignore[arg-type]


def test_annotations_of_nested_functions_see_local_classes() -> None:
    @dataclass
    class Local:
        size: int

    @stage
    def make() -> Local:
        return Local(1)

    @stage
    def take(x: Local) -> int:
        return 0

    trace(lambda: take(make()))
    with pytest.raises(WrongType, match="it is a Local"):
        trace(lambda: need_text(make()))  # type: ignore[arg-type]
    with pytest.raises(WrongType, match="is to be a Local"):
        trace(lambda: take(need_text("a")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"), (None, "None"), (list[int], "list[int]"), (int | None, "int | None"),
        (typing.Optional[int], "int | None"),  # noqa: UP045
        (dict[str, list[float]], "dict[str, list[float]]"), (Any, "Any"), (File, "File"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Callable[[int], str], "Callable[[int], str]"), (tuple[int, ...], "tuple[int, ...]"), (pa.Table, "Table"),
        (UserId, "UserId"),
        (Annotated[int, 3], "int"), (T, "T"), ("Unknown", "Any"),
    ],
)  # fmt: skip
def test_types_are_printed_as_they_are_written(annotation: Any, text: str) -> None:
    assert describe(annotation) == text
