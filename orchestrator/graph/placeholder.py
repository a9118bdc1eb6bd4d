"""Results of stages while a pipeline is traced: they can be passed on, taken apart, and nothing else."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple, NoReturn

from orchestrator.errors import DefinitionError, MapError, PlaceholderMisuse, WrongType
from orchestrator.graph.annotation import Unresolvable, attribute_type, describe, key_type
from orchestrator.graph.node import Ref
from orchestrator.graph.source import refusal


class Origin(NamedTuple):
    """What a placeholder stands for.

    Attributes:
        trace: Identity of the tracing that made it.
        type: Annotated type of the value.
        many: It is the whole list of a map or stream.
        width: Number of items, where it is known while tracing.
    """

    trace: object
    ref: Ref
    type: Any
    many: bool = False
    width: int | None = None


class Placeholder:
    """The result of a stage, or a part of it, before there is one."""

    __slots__ = ("_orc_origin",)
    _orc_origin: Origin

    def __init__(self, origin: Origin) -> None:
        object.__setattr__(self, "_orc_origin", origin)

    def __getattr__(self, name: str) -> Placeholder:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        origin = self._orc_origin
        try:
            part = attribute_type(origin.type, name)
        except Unresolvable as error:
            raise refusal(WrongType, _no_attribute(origin, name, error.candidates)) from None
        return Placeholder(Origin(origin.trace, Ref(origin.ref.node, (*origin.ref.path, name)), part))

    def __getitem__(self, key: object) -> Placeholder:
        origin = self._orc_origin
        if isinstance(key, bool) or not isinstance(key, int | str):
            misuse(self, f"it cannot be indexed with {key!r} (only with whole numbers and text)")
        if isinstance(key, int) and origin.many:
            _check_item(origin, key)
        try:
            part = key_type(origin.type, key)
        except Unresolvable as error:
            raise refusal(WrongType, _no_key(origin, key, error.candidates)) from None
        element = key if isinstance(key, int) else ("key", key)
        return Placeholder(Origin(origin.trace, Ref(origin.ref.node, (*origin.ref.path, element)), part))

    def __repr__(self) -> str:
        return f"<result of {printed(self._orc_origin.ref)}: {describe(self._orc_origin.type)}>"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        misuse(self, f"its attribute {name!r} cannot be set; results are never changed")

    def __reduce__(self) -> NoReturn:
        misuse(self, "it cannot be pickled or copied; in a container, use lists, tuples and dicts only")


def misuse(placeholder: Placeholder, why: str) -> NoReturn:
    """Refuse what needs a value."""
    raise refusal(
        PlaceholderMisuse,
        f"the result of {printed(placeholder._orc_origin.ref)!r} is not known while the pipeline is traced: {why}. "
        "Use when(...) to choose, .map(...) to go over items, or @dynamic for ordinary Python on real values",
    )


def _refused(why: str) -> Any:
    def method(self: Placeholder, *args: object, **kwargs: object) -> NoReturn:
        misuse(self, why)

    return method


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul")
_BINARY = (*_ARITHMETIC, "lshift", "rshift", "and", "or", "xor")
_UNARY = ("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil")
_REASONS = {
    "it is neither true nor false yet": ("__bool__",),
    "it cannot be iterated or unpacked": ("__iter__", "__next__", "__reversed__"),
    "it has no length yet": ("__len__",),
    "it cannot be searched with 'in'": ("__contains__",),
    "it cannot be compared": ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    "it cannot be calculated with": tuple(f"__{prefix}{name}__" for name in _BINARY for prefix in ("", "r"))
    + tuple(f"__{name}__" for name in _UNARY),
    "it is no number yet": ("__int__", "__float__", "__complex__", "__index__"),
    "it cannot be made into text": ("__str__", "__format__", "__bytes__", "__fspath__"),
    "it cannot be called; do that in a stage": ("__call__",),
    "it cannot be entered with 'with'": ("__enter__", "__exit__", "__aenter__", "__aexit__"),
    "it cannot be awaited": ("__await__", "__aiter__"),
    "its items cannot be set or deleted": ("__setitem__", "__delitem__"),
    "its attributes cannot be deleted": ("__delattr__",),
}
for _why, _methods in _REASONS.items():
    for _method in _methods:
        setattr(Placeholder, _method, _refused(_why))
Placeholder.__hash__ = object.__hash__  # type: ignore[method-assign]


def printed(ref: Ref) -> str:
    """``train.model[0]`` for a reference."""
    text = ref.node
    for element in ref.path:
        if isinstance(element, str):
            text += f".{element}"
        else:
            text += f"[{element if isinstance(element, int) else repr(element[1])}]"
    return text


def _check_item(origin: Origin, index: int) -> None:
    if index < 0:
        raise refusal(MapError, f"{printed(origin.ref)}[{index}]: items of a map or stream are counted from 0")
    if origin.width is not None and index >= origin.width:
        raise refusal(MapError, f"{printed(origin.ref)}[{index}]: the map has {origin.width} items")


def _no_attribute(origin: Origin, name: str, candidates: tuple[str, ...]) -> str:
    hint = _suggestion(name, candidates)
    return f"{printed(origin.ref)} is a {describe(origin.type)}, which has no attribute {name!r}{hint}"


def _no_key(origin: Origin, key: object, candidates: tuple[str, ...]) -> str:
    hint = _suggestion(str(key), candidates)
    return f"{printed(origin.ref)} is a {describe(origin.type)}, which has no item [{key!r}]{hint}"


def _suggestion(name: str, candidates: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, candidates, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def escaping(error: type[DefinitionError], placeholder: Placeholder, why: str) -> DefinitionError:
    """A refusal about the use of a placeholder where it does not belong."""
    return refusal(error, f"the result of {printed(placeholder._orc_origin.ref)!r} {why}")
