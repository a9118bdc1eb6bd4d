"""What a function or class refers to outside of itself, and which of it is the project's own code."""

from __future__ import annotations

import dis
import functools
import importlib.machinery
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_INSTALLED = tuple(
    str(Path(path).resolve()) + "/"
    for key in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(key))
)
_OWN = str(Path(__file__).resolve().parents[1]) + "/"
_ABSENT = object()


class ModuleFile(NamedTuple):
    """A project module that is imported inside a function: it counts whole."""

    name: str
    file: str


class Project:
    """Tells the project's code from what is installed. The package of the first function always belongs to it."""

    def __init__(self, function: Any) -> None:
        self._home = str(getattr(function, "__module__", None) or "").partition(".")[0]

    def has(self, value: Any) -> bool:
        """True for a function, class, partial or module of the project."""
        if isinstance(value, functools.partial | ModuleFile):
            return True
        if isinstance(value, types.ModuleType):
            return self._has_file(value.__name__, getattr(value, "__file__", None))
        if isinstance(value, types.FunctionType):
            return self._has_file(value.__module__ or "", value.__code__.co_filename)
        if isinstance(value, type):
            module = sys.modules.get(value.__module__)
            return self._has_file(value.__module__, getattr(module, "__file__", None))
        return False

    def _has_file(self, module: str, file: str | None) -> bool:
        if module == "__main__":
            return True
        if not file or module == "builtins":
            return False
        return module.partition(".")[0] == self._home or not installed(file)

    def module_file(self, name: str) -> ModuleFile | None:
        """A module of the project by its name, without importing it."""
        top = name.partition(".")[0]
        package = source_of(top)
        if name not in sys.modules and package is not None and not self._has_file(top, str(package)):
            return None
        file = source_of(name)
        known = file is not None and file.suffix == ".py" and self._has_file(name, str(file))
        return ModuleFile(name, str(file)) if known else None


def source_of(name: str) -> Path | None:
    """File of a module, loaded or not; None if it has none or does not exist. Imports nothing, not even its package."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return Path(file) if file else None
    package, _, _ = name.rpartition(".")
    try:
        if not package:
            spec = importlib.util.find_spec(name)
        else:
            parent = source_of(package)
            where = [str(parent.parent)] if parent is not None and parent.name == "__init__.py" else _portions(package)
            spec = importlib.machinery.PathFinder.find_spec(name, where)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _portions(package: str) -> list[str]:
    """Directories of a namespace package."""
    module = sys.modules.get(package)
    if module is not None:
        return list(getattr(module, "__path__", []))
    return [str(where) for root in sys.path if (where := Path(root or ".") / package.replace(".", "/")).is_dir()]


@functools.lru_cache(maxsize=4096)
def installed(file: str) -> bool:
    """True for a file of the standard library, an installed package or this one."""
    if file.startswith("<frozen"):
        return True
    path = str(Path(file).resolve())
    return path.startswith((*_INSTALLED, _OWN)) or "/site-packages/" in path


def underlying(value: Any) -> Any:
    """The function under a stage, pipeline or bound method."""
    while True:
        if isinstance(value, types.MethodType):
            value = value.__func__
        elif hasattr(value, "__wrapped__") and not isinstance(value, type | types.FunctionType | types.ModuleType):
            value = value.__wrapped__
        else:
            return value


def references(code: Any, project: Project) -> Iterator[tuple[str, Any]]:
    """Named values that the result of a function, class or partial depends on."""
    if isinstance(code, functools.partial):
        yield from (("function", code.func), ("args", code.args), ("keywords", code.keywords))
    elif isinstance(code, type):
        yield from _class_references(code)
    elif isinstance(code, types.FunctionType):
        yield from _function_references(code, project)


def _class_references(cls: type) -> Iterator[tuple[str, Any]]:
    for position, base in enumerate(cls.__bases__):
        yield f"base {position}", base
    for name, member in vars(cls).items():
        function = underlying(getattr(member, "__func__", getattr(member, "fget", member)))
        if isinstance(function, types.FunctionType):
            if function.__code__.co_filename != "<string>":  # dataclasses write some
                yield f"method {name}", function
        elif not name.startswith("__") and isinstance(member, bool | int | float | str | bytes | tuple | list | dict):
            yield f"attribute {name}", member


def _function_references(function: types.FunctionType, project: Project) -> Iterator[tuple[str, Any]]:
    yield "defaults", function.__defaults__ or ()
    yield "kwdefaults", function.__kwdefaults__ or {}
    wrapped = getattr(function, "__wrapped__", None)
    if wrapped is not None:
        yield "wrapped", wrapped
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"closure {name}", cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    for path in sorted(_global_paths(function.__code__)):
        value = _follow(function.__globals__.get(path[0], _ABSENT), path[1:], project)
        if value is not _ABSENT:
            yield f"global {'.'.join(path)}", value
    package = function.__globals__.get("__package__") or ""
    for name in sorted(_imported(function.__code__, package)):
        module = project.module_file(name)
        if module is not None:
            yield f"import {name}", module


def _follow(value: Any, attributes: tuple[str, ...], project: Project) -> Any:
    """``lib.scale`` as the function it is, if ``lib`` is of the project; other modules count as such."""
    for attribute in attributes:
        if not isinstance(value, types.ModuleType) or not project.has(value):
            break
        value = getattr(value, attribute, _ABSENT)
    return value


@functools.lru_cache(maxsize=4096)
def _global_paths(code: types.CodeType) -> frozenset[tuple[str, ...]]:
    """Global names that a code object reads, with the attributes read from them."""
    paths: set[tuple[str, ...]] = set()
    path: tuple[str, ...] = ()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            path = (str(instruction.argval),)
        elif path and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path = (*path, str(instruction.argval))
        else:
            path = ()
        if path:
            paths.add(path)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            paths |= _global_paths(constant)
    longer = {path[:end] for path in paths for end in range(2, len(path))}
    return frozenset(paths - longer)


@functools.lru_cache(maxsize=4096)
def _imported(code: types.CodeType, package: str) -> frozenset[str]:
    """Modules that a code object imports in its body, submodules named by ``from`` included."""
    names: set[str] = set()
    level = 0
    base = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and isinstance(instruction.argval, int):
            level = instruction.argval
        elif instruction.opname == "IMPORT_NAME":
            base = absolute_name(str(instruction.argval), level, package)
            names.add(base)
        elif instruction.opname == "IMPORT_FROM":
            names.add(f"{base}.{instruction.argval}")
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _imported(constant, package)
    return frozenset(names - {""})


def absolute_name(name: str, level: int, package: str) -> str:
    """Full name of a module imported relatively; empty if that leads out of the package."""
    if level == 0:
        return name
    try:
        return importlib.util.resolve_name("." * level + name, package)
    except ImportError:
        return ""
