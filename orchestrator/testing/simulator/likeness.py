"""Whether two moments of a simulation are alike: everything that one can reach from a process, as one flat tuple.

Nothing is picked by hand. The stack of a process is read with all variables on it, and every object that they lead to,
down to plain values; so two moments with the same tuple have the same future. What is left out cannot decide anything:
locks, texts of errors, names of transactions that are drawn by chance. An object of a kind not known here is an error.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from logging import Logger
from threading import Condition, Thread
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ProxyType

import msgspec

from orchestrator.engine.driver import POLL_S
from orchestrator.graph.node import Graph, Node
from orchestrator.ports.journal import Append
from orchestrator.testing.simulator import clockwork
from orchestrator.testing.simulator.clockwork import BEGIN_S, Clockwork, Process

_Take = Callable[["Likeness", Any], None]


class Likeness:
    """Takes objects in, one after the other.

    Args:
        apart: Kinds of objects that several processes share; they are taken in by themselves.

    Attributes:
        now_s: The clock of the process whose objects come next.
    """

    def __init__(self, apart: frozenset[type]) -> None:
        self.now_s = BEGIN_S
        self._told: list[Any] = []
        self._known: dict[int, tuple[int, Any]] = {}
        self._apart = apart

    def told(self) -> tuple[Any, ...]:
        """What was taken in so far."""
        return tuple(self._told)

    def process(self, process: Process) -> None:
        """Where a process stands: its stack, from where it waits down to where it began."""
        self._told += (process.name, process.ended, process.waiting)
        if process.ended:
            return
        error: Any = sys._current_exceptions().get(process.thread.ident or 0)
        self.take(error[1] if isinstance(error, tuple) else error)
        frame: FrameType | None = sys._current_frames().get(process.thread.ident or 0)
        while frame is not None and frame.f_code.co_filename != clockwork.__file__:
            frame = frame.f_back  # it is this process in which the likeness is taken
        while frame is not None and frame.f_code is not _RUN:
            if frame.f_code.co_filename != clockwork.__file__:
                self._told += (frame.f_code, frame.f_lasti)
                self._mapping(frame.f_locals)
            frame = frame.f_back

    def take(self, thing: Any) -> None:
        """One object and all that it leads to."""
        kind: Any = type(thing)
        if kind in _PLAIN:
            self._told.append(thing)
            return
        if kind in self._apart:
            self._told.append(kind)
        else:
            _way(kind)(self, thing)

    # ---- by kind

    def _float(self, thing: float) -> None:
        """A duration, or how far away a moment is; one that is longer ago than anybody asks for is just past."""
        self._told.append(thing if thing < BEGIN_S else max(round(thing - self.now_s, 6), -POLL_S))

    def _bytes(self, thing: bytearray | memoryview) -> None:
        self._told.append(bytes(thing))

    def _type(self, thing: type) -> None:
        self._told.append(thing)

    def _name(self, thing: Any) -> None:
        self._told.append(type(thing).__name__)

    def _node(self, thing: Node) -> None:
        self._told.append(thing.id)

    def _other(self, thing: Process) -> None:
        self._told.append(thing.name)

    def _bound(self, thing: MethodType) -> None:
        self.take(thing.__func__)
        self.take(thing.__self__)

    def _built_in(self, thing: BuiltinFunctionType) -> None:
        self._told.append(thing.__name__)
        self.take(thing.__self__)

    def _each(self, things: Iterable[Any]) -> None:
        for thing in things:
            self.take(thing)
        self._told.append(_END)

    def _mapping(self, things: Mapping[Any, Any]) -> None:
        for name, thing in things.items():
            self.take(name)
            self.take(thing)
        self._told.append(_END)

    def _set(self, things: Iterable[Any]) -> None:
        self._each(sorted(things, key=repr))

    def _function(self, thing: FunctionType) -> None:
        self._told.append(thing.__code__)
        self._each(cell.cell_contents for cell in thing.__closure__ or ())

    def _partial(self, thing: partial[Any]) -> None:
        self._each((thing.func, thing.args, thing.keywords))

    def is_new(self, thing: Any) -> bool:
        """True if it was not taken in before; else that is told."""
        known = self._known.get(id(thing))
        if known is not None:
            self._told.append(("again", known[0]))
            return False
        self._known[id(thing)] = len(self._known), thing
        self._told.append(type(thing))
        return True


_PLAIN = frozenset({type(None), bool, int, str, bytes})
_END = "."
_RUN: Any = Thread.run.__code__
_UNTOLD: Mapping[type, tuple[str, ...]] = {Append: ("attempt", "at")}
"""Of a transaction: its name, and when it was made."""

_WAYS: Mapping[type, _Take] = {
    float: Likeness._float, bytearray: Likeness._bytes, memoryview: Likeness._bytes, type: Likeness._type,
    Node: Likeness._node, Process: Likeness._other, MethodType: Likeness._bound,
    BuiltinFunctionType: Likeness._built_in,
    # the same all the time; or (a proxy) of something that is reached otherwise
    **dict.fromkeys(
        (BaseException, Clockwork, Condition, Graph, Logger, ModuleType, ProxyType, Thread), Likeness._name
    ),
}  # fmt: skip
_INSIDE: Mapping[type, _Take] = {
    Mapping: Likeness._mapping, set: Likeness._set, frozenset: Likeness._set, list: Likeness._each,
    tuple: Likeness._each, deque: Likeness._each, FunctionType: Likeness._function, partial: Likeness._partial,
}  # fmt: skip


@cache
def _way(kind: type) -> _Take:
    """How objects of a kind are taken in; what may be reached on several ways is told once."""
    for known, way in _WAYS.items():
        if issubclass(kind, known):
            return way
    inside = next((way for known, way in _INSIDE.items() if issubclass(kind, known)), None) or _attributes(kind)

    def once(like: Likeness, thing: Any) -> None:
        if like.is_new(thing):
            inside(like, thing)

    return once


def _attributes(kind: type) -> _Take:
    """Of objects that have some; those of others with nothing inside are all alike only if they are ours."""
    slots = [slot for base in kind.__mro__ for slot in _slots(base) if slot not in ("__weakref__", "__dict__")]
    slots += kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else ()
    untold = _UNTOLD.get(kind, ())
    free = any("__dict__" in base.__dict__ for base in kind.__mro__)
    if not (slots or free or kind.__module__.startswith("orchestrator.")):
        raise TypeError(f"it cannot be told whether two {kind.__qualname__} are alike")

    def inside(like: Likeness, thing: Any) -> None:
        for slot in slots:
            if slot not in untold:
                like.take(getattr(thing, slot, _UNSET))
        if free:
            for name, value in thing.__dict__.items():
                if name not in untold:
                    like.take(name)
                    like.take(value)

    return inside


_UNSET = "unset"


def _slots(base: type) -> Iterable[str]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)
