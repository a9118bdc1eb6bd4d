"""Types as authors annotate them: read late and forgivingly, taken apart, printed.

An annotation that cannot be evaluated (a name imported only for type checkers) becomes ``Any``: an unknown type
never refuses a wiring.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ForwardRef, Generic, Literal, TypeVar, Union, get_args, get_origin

from orchestrator.graph.secret import FILE_MARK

T = TypeVar("T")


class Stream(Generic[T]):
    """Type of the result of a streaming stage: an iterator for maps, a list for a stage that takes it whole."""


class Unresolvable(AttributeError):
    """A type has no such attribute; ``candidates`` are those it has."""

    def __init__(self, candidates: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.candidates = candidates


ITERATORS = (abc.Iterator, abc.Generator, abc.Iterable)


def enclosing_names(function: Callable[..., Any], depth: int) -> dict[str, Any]:
    """Local names, ``depth`` frames up, that the annotations of a nested function mention as text."""
    texts = [text for text in getattr(function, "__annotations__", {}).values() if isinstance(text, str)]
    if not texts or "<locals>" not in getattr(function, "__qualname__", ""):
        return {}
    found = sys._getframe(depth).f_locals
    return {name: found[name] for text in texts for name in _names(text) if name in found}


def _names(text: str) -> tuple[str, ...]:
    try:
        return compile(text, "<annotation>", "eval").co_names
    except SyntaxError:
        return ()


def hints(function: Callable[..., Any], local_names: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations of a function as types, ``Annotated`` kept; ``Any`` where one cannot be evaluated."""
    target = inspect.unwrap(function)
    if isinstance(target, type):
        target = target.__init__  # type: ignore[misc]
    elif not hasattr(target, "__annotations__"):
        target = type(target).__call__
    names = {**_closure_names(target), **local_names}
    namespace = getattr(target, "__globals__", {})
    return {
        name: _evaluate(name, annotation, namespace, names)
        for name, annotation in getattr(target, "__annotations__", {}).items()
    }


def _closure_names(function: Any) -> dict[str, Any]:
    names: dict[str, Any] = {}
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return names


def _evaluate(name: str, annotation: Any, namespace: dict[str, Any], names: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, namespace, names, include_extras=True)[name]
    except Exception:  # whatever the text does when evaluated, it only means that the type is unknown
        return Any


def is_file(annotation: Any) -> bool:
    """True for ``File``, also as ``File | None`` or ``list[File]``."""
    if get_origin(annotation) is Annotated and FILE_MARK in annotation.__metadata__:
        return True
    return any(is_file(part) for part in get_args(annotation))


def plain(annotation: Any) -> Any:
    """The type under ``Annotated``, ``type X = …``, ``Final``, ``Required``; ``Any`` for what says nothing."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = annotation.__origin__
        elif origin in (typing.Final, typing.Required, typing.NotRequired, typing.ClassVar):
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        elif annotation is None:
            return type(None)
        elif annotation is inspect.Parameter.empty or isinstance(annotation, str | ForwardRef):
            return Any
        else:
            return annotation


def members(annotation: Any) -> tuple[Any, ...] | None:
    """Members of a union, or None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return None


def union(*annotations: Any) -> Any:
    """Union of types; ``Any`` if one of them is."""
    if any(plain(annotation) is Any for annotation in annotations) or not annotations:
        return Any
    return Union[tuple(annotations)]  # noqa: UP007 - built from a tuple


def item_type(annotation: Any) -> Any:
    """Type of the items a map takes from a value of this type; None if it cannot be mapped over."""
    annotation = plain(annotation)
    options = members(annotation)
    if options is not None:
        items = [item_type(option) for option in options]
        return None if None in items else union(*items)
    if annotation is Any or isinstance(annotation, TypeVar):
        return Any
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if not isinstance(origin, type):
        return Any
    if origin is Stream:
        return args[0] if args else Any
    if issubclass(origin, str | bytes | bytearray):
        return None
    if issubclass(origin, tuple):
        args = args or named_tuple_types(origin)
        if len(args) == 2 and args[1] is Ellipsis:
            return args[0]
        return union(*args) if args else Any
    if issubclass(origin, abc.Sequence) or origin in (abc.Iterable, abc.Iterator, abc.Generator, abc.Collection):
        return args[0] if args else Any
    return Any if origin is object else None


def named_tuple_types(cls: type) -> tuple[Any, ...]:
    """Types of the fields of a NamedTuple; empty for other classes."""
    names = getattr(cls, "_fields", ()) if issubclass(cls, tuple) else ()
    found = _class_hints(cls) if names else {}
    return tuple(found.get(name, Any) for name in names)


def yielded_type(annotation: Any) -> Any:
    """Type of the batches of a streaming stage with this return annotation; None if it says something else."""
    annotation = plain(annotation)
    if annotation is Any:
        return Any
    if (get_origin(annotation) or annotation) in ITERATORS:
        args = get_args(annotation)
        return args[0] if args else Any
    return None


def attribute_type(annotation: Any, name: str) -> Any:
    """Type of an attribute of a value of this type.

    Raises:
        Unresolvable: values of this type have no such attribute.
    """
    annotation = plain(annotation)
    options = members(annotation)
    if options is not None:
        return union(*(attribute_type(option, name) for option in options))
    cls = get_origin(annotation) or annotation
    if hasattr(cls, "__supertype__"):
        return attribute_type(cls.__supertype__, name)
    if not isinstance(cls, type) or cls is object or getattr(cls, "_is_protocol", False):
        return Any
    found = _class_hints(cls)
    if name in found:
        return _substituted(annotation, cls, found[name])
    member = inspect.getattr_static(cls, name, None)
    if isinstance(member, property) and member.fget is not None:
        return hints(member.fget, {}).get("return", Any)
    closed = dataclasses.is_dataclass(cls) or cls is type(None) or cls.__module__ == "builtins" or cls is Stream
    closed = closed or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    if member is None and not hasattr(cls, name) and closed and not hasattr(cls, "__getattr__"):
        raise Unresolvable(tuple(found))
    return Any


def _class_hints(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        namespace = dict(vars(sys.modules[base.__module__])) if base.__module__ in sys.modules else {}
        names = {base.__name__: base}
        for name, annotation in inspect.get_annotations(base).items():
            found[name] = _evaluate(name, annotation, namespace, names)
    return found


def _substituted(annotation: Any, cls: type, found: Any) -> Any:
    parameters = getattr(cls, "__parameters__", ())
    return substitute(found, dict(zip(parameters, get_args(annotation), strict=False))) if parameters else found


def substitute(annotation: Any, bindings: Mapping[Any, Any]) -> Any:
    """The type with its type variables replaced; unbound ones become ``Any``."""
    if isinstance(annotation, TypeVar):
        return bindings.get(annotation, Any)
    free = getattr(annotation, "__parameters__", ())
    if not free or isinstance(annotation, type):
        return annotation
    options = members(annotation)
    if options is not None:
        return union(*(substitute(option, bindings) for option in options))
    return annotation[tuple(bindings.get(parameter, Any) for parameter in free)]


def key_type(annotation: Any, key: int | str) -> Any:
    """Type of ``value[key]`` for a value of this type.

    Raises:
        Unresolvable: values of this type cannot be indexed so.
    """
    annotation = plain(annotation)
    options = members(annotation)
    if options is not None:
        return union(*(key_type(option, key) for option in options))
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if typing.is_typeddict(origin) and isinstance(key, str):
        fields = typing.get_type_hints(origin, include_extras=True)
        if key not in fields:
            raise Unresolvable(tuple(fields))
        return fields[key]
    if not isinstance(origin, type) or origin is object:
        return Any
    args = args or named_tuple_types(origin)
    if dataclasses.is_dataclass(origin) and not hasattr(origin, "__getitem__"):
        raise Unresolvable
    if origin in (int, float, bool, complex, type(None), set, frozenset):
        raise Unresolvable
    if isinstance(key, int):
        if issubclass(origin, tuple) and args and Ellipsis not in args:
            if not -len(args) <= key < len(args):
                raise Unresolvable
            return args[key]
        item = item_type(annotation)
        return Any if item is None else item
    if issubclass(origin, list | tuple | str | bytes | Stream):
        raise Unresolvable
    if issubclass(origin, abc.Mapping) and len(args) == 2:
        return args[1]
    return Any


def describe(annotation: Any) -> str:
    """Printable name of a type, without the modules."""
    annotation = annotation if get_origin(annotation) is Annotated else plain(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return "Any"
    if annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if origin is Annotated:
        return "File" if is_file(annotation) else describe(annotation.__origin__)
    options = members(annotation)
    if options is not None:
        return " | ".join(describe(option) for option in options)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if isinstance(annotation, list):
        return f"[{', '.join(map(describe, annotation))}]"
    name = getattr(origin or annotation, "__qualname__", None) or getattr(origin or annotation, "__name__", None)
    name = name.rpartition("<locals>.")[2] if name else str(annotation).removeprefix("typing.")
    return f"{name}[{', '.join(map(describe, args))}]" if args else name
