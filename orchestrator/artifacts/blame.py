"""Finding the part of a value that cannot be stored, so that the error names it: ``.model.lock is a lock``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import FunctionType
from typing import Any

from orchestrator.artifacts.describe import INTERRUPTS, class_path, error_text, preview

_MOST_DEPTH = 20
_MOST_CHILDREN = 200
_MOST_TRIES = 1000
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})

_ADVICE = {
    "builtins:generator": "return a list, or mark the stage streaming=True",
    "builtins:async_generator": "return a list",
    "builtins:coroutine": "await it inside the stage",
    "_thread:lock": "leave locks out of results",
    "_thread:RLock": "leave locks out of results",
    "_io:TextIOWrapper": "return the path or the content instead of an open file",
    "_io:BufferedReader": "return the path or the content instead of an open file",
    "_io:BufferedWriter": "return the path instead of an open file",
    "socket:socket": "connect inside the stage that needs it",
    "builtins:memoryview": "return bytes",
}


def blame(value: object, error: BaseException, attempt: Callable[[object], None]) -> tuple[str, str]:
    """Descend from a value to the innermost part that fails alone.

    Args:
        value: What could not be stored.
        error: What was raised.
        attempt: Raises if its argument cannot be stored.

    Returns:
        How the part is reached (``.model[3]``), and what is wrong with it.
    """
    at = ""
    tries = _MOST_TRIES
    visited: set[int] = set()
    for _ in range(_MOST_DEPTH):
        if isinstance(error, RecursionError) or class_path(type(value)) in _ADVICE:
            break
        visited.add(id(value))
        for step, child in islice(_children(value), _MOST_CHILDREN):
            if type(child) in _SCALARS or id(child) in visited:
                continue
            tries -= 1
            failure = _failure(child, attempt) if tries > 0 else None
            if failure is not None:
                value, error, at = child, failure, at + step
                break
        else:
            break
    return at, _reason(value, error)


def _failure(part: object, attempt: Callable[[object], None]) -> BaseException | None:
    try:
        attempt(part)
    except INTERRUPTS:
        raise
    except BaseException as error:
        return error
    return None


def _reason(value: object, error: BaseException) -> str:
    path = class_path(type(value))
    if isinstance(error, RecursionError):
        return f"it is nested too deeply ({path})"
    advice = _ADVICE.get(path)
    reason = f"it is a {path.rpartition(':')[2]}: {error_text(error)}"
    return f"{reason}; {advice}" if advice else reason


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Parts of a value, found without running its class's code."""
    kind = type(value)
    if issubclass(kind, dict):
        for key, child in dict.items(value):
            yield f"[{preview(key)}]", child
    elif issubclass(kind, list | tuple):
        iterate = list.__iter__ if issubclass(kind, list) else tuple.__iter__
        for index, child in enumerate(iterate(value)):
            yield f"[{index}]", child
    elif issubclass(kind, set | frozenset):
        for child in list(value) if kind in (set, frozenset) else ():
            yield "{…}", child
    elif kind is FunctionType:
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield f".<closure {name}>", cell.cell_contents
            except ValueError:
                continue  # a variable that is not set yet
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        attributes = {}
    if type(attributes) is dict:
        for name, child in attributes.items():
            yield f".{name}", child
    for base in kind.__mro__:
        for name, member in base.__dict__.items():
            if type(member).__name__ == "member_descriptor" and base is not type:
                try:
                    yield f".{name}", member.__get__(value, kind)
                except AttributeError:
                    continue  # an empty slot
