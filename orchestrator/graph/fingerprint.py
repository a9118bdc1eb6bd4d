"""Digest of the code that decides a stage's output.

What counts: the function's source without comments, docstrings and formatting, its defaults, what its closure and the
globals it names hold, and in the same way every function and class of the project that it calls. Installed packages
and the standard library count by name only. Where there is no source, the bytecode stands for it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.graph.references import ModuleFile, Project, absolute_name, references, underlying
from orchestrator.graph.syntax import class_text, function_text, module_tree

T = TypeVar("T")

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def fingerprint(function: Callable[..., Any]) -> str:
    """One digest over all parts; equal in every process and on every machine for equal code."""
    parts = fingerprint_parts(function)
    described = (f"{name} {digest}" for name, digest in sorted(parts.items()))
    return _digest("\n".join([code_name(underlying(function)), *described]))


def fingerprint_parts(function: Callable[..., Any]) -> dict[str, str]:
    """Digest by name, ``module:qualname``, of each function, class and module that counts, with what it refers to.

    Two of these tell which function changed between two fingerprints.
    """
    found: dict[str, str] = {}
    for code, described in _Walk(function).all():
        name = code_name(code)
        while name in found:
            name += "'"
        found[name] = _digest("\n".join([_text(code), *described]))
    return found


def values_fingerprint(digest: str, function: Callable[..., Any], values: Any) -> str:
    """A function's fingerprint together with values that count beside its code: what they hold and the project code
    of their classes."""
    walk = _Walk(function, start=False)
    parts = [digest, walk.value(values)]
    parts += [f"{code_name(code)} {_text(code)} {' '.join(described)}" for code, described in walk.all()]
    return _digest("\n".join(parts))


def reachable(function: Callable[..., Any], kind: type[T]) -> list[T]:
    """Objects of a class (stages, say) that a function names, directly or through project functions it calls."""
    walk = _Walk(function, kind)
    for _ in walk.all():
        continue
    return [value for value in walk.met if isinstance(value, kind)]


@functools.lru_cache(maxsize=4096)
def reads_key(function: Callable[..., Any]) -> bool:
    """True if a function, or project functions it calls, seem to read ``step().key``: both names are in their code."""
    return {"step", "key"} <= _all_names(function)


@functools.lru_cache(maxsize=4096)
def asks_for_step(function: Callable[..., Any]) -> bool:
    """True if a function, or project functions it calls, seem to call ``step()``, under whatever name."""
    called = {f"{found.__module__}:{found.__qualname__}" for found in reachable(function, types.FunctionType)}
    return "step" in _all_names(function) or "orchestrator.graph.context:step" in called


def _all_names(function: Callable[..., Any]) -> set[str]:
    functions = [underlying(function), *reachable(function, types.FunctionType)]
    return {name for found in functions for name in _names(getattr(found, "__code__", None))}


def _names(code: types.CodeType | None) -> Iterator[str]:
    if code is not None:
        yield from code.co_names
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from _names(constant)


def code_name(code: Any) -> str:
    """``module:qualname`` of a function or class; ``__main__`` under the name it would be imported by."""
    if isinstance(code, ModuleFile):
        return code.name
    module, name = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if module == "__main__":
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        module = Path(file).stem if file else module
    return f"{module or '?'}:{name or type(code).__qualname__}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def _text(code: Any) -> str:
    if isinstance(code, types.FunctionType):
        return function_text(code)
    if isinstance(code, type):
        return class_text(code)
    if isinstance(code, ModuleFile):
        tree = module_tree(code.file)
        return code.name if tree is None else ast.dump(tree)
    return type(code).__name__


class _Walk:
    """Goes from a function to all project code it refers to, each once, in a fixed order."""

    def __init__(self, function: Callable[..., Any], collect: type | None = None, *, start: bool = True) -> None:
        first = underlying(function)
        self.met: list[Any] = []
        self._collect = collect
        self._project = Project(first)
        self._pending: list[Any] = [first] if start else []
        self._seen: list[Any] = []
        self._seen_ids: set[Any] = set()

    def all(self) -> Iterator[tuple[Any, list[str]]]:
        """Each piece of code with descriptions of what it refers to."""
        while self._pending:
            code = self._pending.pop()
            key = code if isinstance(code, ModuleFile) else id(code)
            if key in self._seen_ids:
                continue
            self._seen_ids.add(key)
            self._seen.append(code)  # keeps the id from being given to another object
            if isinstance(code, ModuleFile):
                yield code, self._module_imports(code)
            else:
                named = references(code, self._project)
                yield code, [f"{name}={self._value(value, ())}" for name, value in named]

    def value(self, value: Any) -> str:
        """How a value counts by itself; project code in it is queued."""
        return self._value(value, ())

    def _value(self, value: Any, inside: tuple[int, ...]) -> str:
        """How a referenced value counts; project code in it is queued."""
        if self._collect is not None and isinstance(value, self._collect) and not any(value is m for m in self.met):
            self.met.append(value)
        value = underlying(value)
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if id(value) in inside:
            return "…"
        inside = (*inside, id(value))
        if isinstance(value, types.ModuleType):
            return f"module:{value.__name__}"
        if self._project.has(value):
            self._pending.append(value)
            return code_name(value)
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return code_name(value)
        if isinstance(value, tuple | list):
            return f"{type(value).__name__}({', '.join(self._value(item, inside) for item in value)})"
        if isinstance(value, set | frozenset):
            return f"{type(value).__name__}({', '.join(sorted(self._value(item, inside) for item in value))})"
        if isinstance(value, dict):
            pairs = (f"{self._value(key, inside)}: {self._value(item, inside)}" for key, item in value.items())
            return f"{type(value).__name__}({', '.join(pairs)})"
        return self._object(value, inside)

    def _object(self, value: Any, inside: tuple[int, ...]) -> str:
        cls = type(value)
        own = self._project.has(cls)
        if own:
            self._pending.append(cls)
        state: Any
        if isinstance(value, functools.partial):
            state = (value.func, value.args, value.keywords)
        elif dataclasses.is_dataclass(value):
            state = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        elif hasattr(value, "tobytes") and hasattr(value, "dtype"):
            state = (str(value.dtype), str(getattr(value, "shape", "")), hashlib.blake2b(value.tobytes()).hexdigest())
        elif isinstance(value, re.Pattern):
            state = (value.pattern, value.flags)
        elif own and hasattr(value, "__dict__"):
            state = vars(value)
        else:
            state = _pickled(value)
        return f"{code_name(cls)}{'' if state is None else self._value(state, inside)}"

    def _module_imports(self, module: ModuleFile) -> list[str]:
        tree = module_tree(module.file)
        package = module.name if module.file.endswith("__init__.py") else module.name.rpartition(".")[0]
        names: set[str] = set()
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = absolute_name(node.module or "", node.level, package)
                names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
        found = [self._project.module_file(name) for name in sorted(names) if name]
        self._pending.extend(entry for entry in found if entry is not None)
        return [entry.name for entry in found if entry is not None]


def _pickled(value: Any) -> str | None:
    """Digest of an installed class's object; None for what cannot be pickled (locks, connections): its class counts."""
    try:
        return hashlib.blake2b(pickle.dumps(value, protocol=5), digest_size=16).hexdigest()
    except Exception:  # any class may refuse in its own way; then nothing is known of its content
        return None
