"""Does a value fit the parameter it is wired to? Decided from annotations, before anything runs.

Follows what mypy would say of the same call, where types can say it, and adds what they cannot: maps, streams
and parts of results. What is unknown always fits.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import inspect
import numbers
import types
import typing
from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal, TypeVar, get_args, get_origin

from orchestrator.graph.annotation import (
    Stream,
    describe,
    item_type,
    members,
    named_tuple_types,
    plain,
    substitute,
    union,
)
from orchestrator.graph.placeholder import Placeholder
from orchestrator.graph.secret import Secret
from orchestrator.graph.version import VersionInput

Bindings = dict[Any, Any]
"""Type variables of one call and the types they stand for."""

_SAMPLE = 1000
_CALLABLE: Any = abc.Callable
_WIDER = {
    float: (int, bool),
    complex: (int, float, bool),
    int: (bool,),
}


def compatible(source: Any, target: Any, bindings: Bindings | None = None) -> bool:
    """True if every value of type ``source`` may be given where ``target`` is expected."""
    bound: Bindings = {} if bindings is None else bindings
    source, target = plain(source), plain(target)
    if target is object or source is target:
        return True
    if isinstance(target, TypeVar):
        return _bind(source, target, bound)
    if source is Any or target is Any or isinstance(source, TypeVar):
        return True
    source_members = members(source)
    if source_members is not None:
        return all(compatible(option, target, bound) for option in source_members)
    target_members = members(target)
    if target_members is not None:
        ordered = sorted(target_members, key=lambda option: isinstance(option, TypeVar))
        return any(compatible(source, option, bound) for option in ordered)
    if get_origin(source) is Literal or get_origin(target) is Literal:
        return _compatible_literals(source, target, bound)
    if hasattr(target, "__supertype__"):
        return _derives_from(source, target)
    if hasattr(source, "__supertype__"):
        return compatible(source.__supertype__, target, bound)
    return _compatible_classes(source, target, bound)


def _bind(source: Any, variable: TypeVar, bindings: Bindings) -> bool:
    limits = variable.__constraints__ or ((variable.__bound__,) if variable.__bound__ is not None else ())
    if limits and not any(compatible(source, limit) for limit in limits):
        return False
    known = bindings.get(variable)
    bindings[variable] = source if known is None or known == source else union(known, source)
    return True


def _derives_from(source: Any, target: Any) -> bool:
    while hasattr(source, "__supertype__"):
        if source is target:
            return True
        source = source.__supertype__
    return False


def _compatible_literals(source: Any, target: Any, bindings: Bindings) -> bool:
    if get_origin(source) is not Literal:
        return any(compatible(source, type(value), bindings) for value in get_args(target))
    if get_origin(target) is Literal:
        return set(get_args(source)) <= set(get_args(target))
    return all(compatible(type(value), target, bindings) for value in get_args(source))


def _compatible_classes(source: Any, target: Any, bindings: Bindings) -> bool:
    source_class, target_class = get_origin(source) or source, get_origin(target) or target
    if not isinstance(source_class, type) or not isinstance(target_class, type):
        return True
    if source_class is Stream:
        inner = get_args(source)[0] if get_args(source) else Any
        as_list, as_iterator = types.GenericAlias(list, (inner,)), types.GenericAlias(abc.Generator, (inner, Any, Any))
        return compatible(as_list, target, bindings) or compatible(as_iterator, target, bindings)
    if typing.is_typeddict(target_class):
        return typing.is_typeddict(source_class) or issubclass(source_class, abc.Mapping)
    if typing.is_typeddict(source_class):
        source = source_class = dict
    if getattr(target_class, "_is_protocol", False) and target_class.__module__ not in ("typing", "collections.abc"):
        return True
    if source_class in _WIDER.get(target_class, ()):
        return True
    try:
        related = issubclass(source_class, target_class)
    except TypeError:
        return True
    return related and _compatible_arguments(source, target, bindings)


def _compatible_arguments(source: Any, target: Any, bindings: Bindings) -> bool:
    source_args, target_args = get_args(source), get_args(target)
    if isinstance(source, type):
        source_args = source_args or named_tuple_types(source)
    if not target_args or not source_args:
        if isinstance(source, type) and target_args and item_type(source) not in (None, Any):
            return compatible(item_type(source), target_args[0], bindings)
        return True
    source_class, target_class = get_origin(source) or source, get_origin(target)
    if issubclass(target_class, tuple):
        return _compatible_tuples(source_args, target_args, bindings)
    if target_class is _CALLABLE or target_class is type:
        return True
    if len(target_args) == 1:
        if issubclass(source_class, abc.Mapping):
            return compatible(source_args[0], target_args[0], bindings)
        if issubclass(source_class, tuple):
            return all(compatible(arg, target_args[0], bindings) for arg in source_args if arg is not Ellipsis)
        if source_class in (abc.Generator, abc.AsyncGenerator) or len(source_args) == 1:
            return compatible(source_args[0], target_args[0], bindings)
        return True
    if len(source_args) != len(target_args):
        return True
    return all(compatible(left, right, bindings) for left, right in zip(source_args, target_args, strict=True))


def _compatible_tuples(source: tuple[Any, ...], target: tuple[Any, ...], bindings: Bindings) -> bool:
    if Ellipsis in target:
        return all(compatible(arg, target[0], bindings) for arg in source if arg is not Ellipsis)
    if Ellipsis in source:
        return all(compatible(source[0], arg, bindings) for arg in target)
    return len(source) == len(target) and all(
        compatible(left, right, bindings) for left, right in zip(source, target, strict=True)
    )


def type_of(value: object) -> Any:
    """Type of a value that may be a placeholder, or a list, tuple or dict with placeholders inside."""
    if isinstance(value, Placeholder):
        return value._orc_origin.type
    if isinstance(value, Secret):
        return str
    if type(value) is list:
        return list[union(*{type_of(item): None for item in value[:_SAMPLE]})] if value else list  # type: ignore[misc]
    if type(value) is tuple:
        return tuple[tuple(type_of(item) for item in value)] if value else tuple  # type: ignore[misc]
    if type(value) is dict:
        items = list(islice(value.items(), _SAMPLE))
        keys = union(*{type_of(key): None for key, _ in items})
        return dict[keys, union(*{type_of(item): None for _, item in items})] if value else dict  # type: ignore[valid-type,misc]
    return type(value)


def mismatch(value: object, target: Any, bindings: Bindings) -> str | None:
    """Why a value (placeholders inside allowed) does not fit the annotation; None if it does."""
    target = plain(target)
    if target is Any or target is object or isinstance(value, VersionInput):
        return None
    if isinstance(value, Placeholder):
        source = value._orc_origin.type
        return None if compatible(source, target, bindings) else f"it is a {describe(source)}"
    if isinstance(target, TypeVar):
        return None if _bind(type_of(value), target, bindings) else f"it is a {describe(type_of(value))}"
    options = members(target)
    if options is not None:
        return None if any(_fits(value, option, bindings) for option in options) else _is(value)
    origin, args = get_origin(target), get_args(target)
    if origin is Literal:
        return None if any(value == option and type(value) is type(option) for option in args) else _is(value)
    if hasattr(target, "__supertype__"):
        return mismatch(value, target.__supertype__, bindings)
    cls = origin or target
    if not isinstance(cls, type) or getattr(cls, "_is_protocol", False):
        return None
    if typing.is_typeddict(cls):
        return None if isinstance(value, Mapping) else _is(value)
    if not _instance(value, cls):
        return _is(value)
    return _item_mismatch(value, cls, args, bindings) if args else None


def _fits(value: object, target: Any, bindings: Bindings) -> bool:
    return mismatch(value, target, bindings) is None


def _instance(value: object, cls: type) -> bool:
    if cls is _CALLABLE:
        return callable(value)
    if cls in (int, float, complex):
        wide = {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}[cls]
        return isinstance(value, wide)
    try:
        return isinstance(value, cls)
    except TypeError:
        return True


def _is(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '…'} is a {describe(type_of(value))}"


def _item_mismatch(value: Any, cls: type, args: tuple[Any, ...], bindings: Bindings) -> str | None:
    if issubclass(cls, tuple):
        if len(args) == 2 and args[1] is Ellipsis:
            return _first_mismatch(value, args[0], bindings)
        if len(value) != len(args):
            return f"it has {len(value)} items, not {len(args)}"
        pairs = zip(value, args, strict=True)
        return next((why for item, target in pairs if (why := mismatch(item, target, bindings))), None)
    if isinstance(value, Mapping):
        why = _first_mismatch(value, args[0], bindings)
        return why or (_first_mismatch(value.values(), args[1], bindings) if len(args) == 2 else None)
    if len(args) == 1 and isinstance(value, list | tuple | set | frozenset):
        return _first_mismatch(value, args[0], bindings)
    return None


def _first_mismatch(items: abc.Iterable[Any], target: Any, bindings: Bindings) -> str | None:
    """First item that does not fit; of a long sequence the beginning, and one item of each further class."""
    seen: set[type] = set()
    for position, item in enumerate(items):
        if position < _SAMPLE or type(item) not in seen:
            seen.add(type(item))
            why = mismatch(item, target, bindings)
            if why is not None:
                return why
    return None


def output_type(returns: Any, bindings: Bindings) -> Any:
    """Return type of a call, its type variables replaced by what the arguments say."""
    return substitute(returns, bindings)


def is_record(value: object) -> bool:
    """True for an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not inspect.isclass(value)
