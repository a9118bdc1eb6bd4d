"""Descriptions of values for people and for the driver, made without trusting the values.

A value's own methods may raise anything, ``SystemExit`` included, or print memory addresses. Previews therefore never
call ``__repr__`` of classes that are not known to be harmless, and ``bool`` and ``len`` count as undefined where they
raise.
"""

from __future__ import annotations

import enum
import operator
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from orchestrator.errors import StepCancelled, StepTimedOut
from orchestrator.ports.values import PREVIEW_CHARS, shorten

T = TypeVar("T")

INTERRUPTS = (KeyboardInterrupt, MemoryError, StepTimedOut, StepCancelled)
"""What may arrive from outside while a value is looked at, and is not the value's doing."""

_PRINTABLE_ROOTS = frozenset({"datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo", "ipaddress"})
_SHAPED_ROOTS = frozenset({"numpy", "pandas", "polars", "scipy"})
_PRINTABLE = frozenset({bool, int, float, complex, str, bytes, type(None), type(...), range, slice})
_LONG_INT_BITS = 1000
_SORTED_SET = 100
_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}

_module = type.__dict__["__module__"].__get__
_qualname = type.__dict__["__qualname__"].__get__

TIMES = "\N{MULTIPLICATION SIGN}"


def module_of(kind: type) -> str:
    """Module of a class, without asking its metaclass; ``?`` for a class that has none."""
    try:
        module = _module(kind)
    except AttributeError:
        return "?"
    return module if type(module) is str else "?"


def qualname_of(kind: type) -> str:
    """Qualified name of a class, without asking its metaclass."""
    name: str = _qualname(kind)
    return name


def class_path(kind: type) -> str:
    """``module:qualname`` of a class."""
    return f"{module_of(kind)}:{qualname_of(kind)}"


def ask(question: Callable[[Any], T], value: object) -> T | None:
    """Answer of a value's own method, or None if it raises."""
    try:
        return question(value)
    except INTERRUPTS:
        raise
    except BaseException:
        return None


def truth(value: object) -> bool | None:
    """``bool(value)``, None if that raises."""
    return ask(bool, value)


def length(value: object) -> int | None:
    """``len(value)``, None if it has none."""
    return ask(len, value) if hasattr(type(value), "__len__") else None


def preview(value: object) -> str:
    """At most ``PREVIEW_CHARS`` characters; the same for equal values."""
    return shorten(ask(lambda it: _show(it, PREVIEW_CHARS + 1, 3), value) or qualname_of(type(value)))


def join(opening: str, texts: Iterable[str], closing: str) -> str:
    """A container's preview from its children's; stops when there is enough."""
    shown: list[str] = []
    room = PREVIEW_CHARS + 1 - len(opening)
    for text in texts:
        shown.append(text)
        room -= len(text) + 2
        if room <= 0:
            break
    return shorten(f"{opening}{', '.join(shown)}{closing}")


def error_text(error: BaseException) -> str:
    """``ValueError: message``, also if the error's own ``__str__`` raises."""
    message = ask(str, error)
    name = qualname_of(type(error))
    return f"{name}: {message}" if message and type(message) is str else name


def _show(value: Any, room: int, depth: int) -> str:
    kind = type(value)
    if kind is int and value.bit_length() > _LONG_INT_BITS:
        return f"int of {value.bit_length()} bits"
    if kind in (str, bytes):
        return repr(value[:room])
    if kind in _PRINTABLE:
        return repr(value)
    if kind in (list, tuple, dict, set, frozenset):
        return _show_container(value, room, depth)
    if issubclass(kind, enum.Enum):
        return f"{qualname_of(kind)}.{value._name_}"
    if issubclass(kind, BaseException):
        return f"{qualname_of(kind)}{_show_container(value.args, room, depth)}"
    if kind in (types.FunctionType, types.BuiltinFunctionType, type):
        return f"{'class' if kind is type else 'function'} {value.__qualname__}"
    root = module_of(kind).partition(".")[0]
    if root in _PRINTABLE_ROOTS:
        return repr(value)
    if root in _SHAPED_ROOTS and type(shape := ask(operator.attrgetter("shape"), value)) is tuple and shape:
        return f"{qualname_of(kind)} {TIMES.join(map(str, shape))}"
    return qualname_of(kind)


def _show_container(value: Any, room: int, depth: int) -> str:
    kind = type(value)
    if depth == 0:
        return f"{kind.__name__} of {len(value)}"
    opening, closing = _BRACKETS[kind]
    if kind is tuple and len(value) == 1:
        closing = ",)"
    if kind is dict:
        texts: Iterator[str] = (
            f"{_show(key, room, depth - 1)}: {_show(child, room, depth - 1)}" for key, child in value.items()
        )
    elif kind in (set, frozenset):
        if len(value) > _SORTED_SET:
            return f"{kind.__name__} of {len(value)}"
        texts = iter(sorted(_show(child, room, depth - 1) for child in value))
    else:
        texts = (_show(child, room, depth - 1) for child in value)
    return join(opening, texts, closing)
