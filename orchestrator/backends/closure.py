"""Which modules of the project some functions need: by the imports written in them, followed from module to module.

The project is what is neither in the standard library nor installed nor the engine itself. Imports are read from the
syntax tree, so that those inside functions count, and modules need not be loaded.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.graph.references import installed, source_of
from orchestrator.graph.syntax import parse

DATA_FILE_BYTES = 4 * 1024 * 1024
DATA_BYTES = 32 * 1024 * 1024
"""Package data up to these sizes, for one file and together, travels with the code."""

_SKIPPED = frozenset({"__pycache__", "node_modules"})
_CODE = (".py", ".pyc", ".pyo", ".pyi")


class Closure:
    """Collects modules; ``left_out`` names data that was too large to come along."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self._modules: dict[str, Path] = {}
        self._seen: set[int] = set()

    def add_function(self, function: Callable[..., Any]) -> None:
        """The module of a function and what it imports; for code outside of modules, what that code imports."""
        pending: list[Any] = [inspect.unwrap(function)]
        while pending:
            found = pending.pop()
            if id(found) in self._seen:
                continue
            self._seen.add(id(found))
            if isinstance(found, types.ModuleType):
                self.add_module(found.__name__)
                continue
            found = getattr(found, "function", found)
            module = getattr(found, "__module__", None) or ""
            if module != "__main__" and not self.add_module(module):
                continue
            if module == "__main__" or "<locals>" in getattr(found, "__qualname__", ""):
                pending += self._loose(found)

    def _loose(self, found: Any) -> Iterator[Any]:
        """What code refers to that is no part of a module: through its globals, its closure, its imports."""
        if isinstance(found, type):
            for value in list(vars(found).values()):
                if inspect.isfunction(value):
                    yield value
            yield from found.__bases__
            return
        if not isinstance(found, types.FunctionType):
            return
        names = set(_names(found.__code__))
        for name in names:
            value = found.__globals__.get(name)
            if isinstance(value, types.ModuleType) or callable(value):
                yield value
        for cell in found.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # not assigned yet
            if isinstance(value, types.ModuleType) or callable(value):
                yield value
        for name in _imports_of_source(found):
            self.add_module(name)

    def add_module(self, name: str) -> bool:
        """A module, its packages and all that they import; False if it is not the project's."""
        if not name or name == "__main__":
            return False
        if name in self._modules:
            return True
        path = source_of(name)
        if path is None or installed(str(path)):
            return False
        self._modules[name] = path
        package, _, _ = name.rpartition(".")
        if package:
            self.add_module(package)
        if path.suffix == ".py":
            for imported in _imports(path.read_bytes(), str(path), name, path.name == "__init__.py"):
                self.add_module(imported)
        return True

    def files(self) -> dict[str, bytes]:
        """Content by path inside the capsule."""
        found: dict[str, bytes] = {}
        for name, path in sorted(self._modules.items()):
            inside = name.replace(".", "/")
            if path.name == "__init__.py":
                found[f"{inside}/__init__.py"] = path.read_bytes()
            else:
                found[f"{inside}{''.join(path.suffixes)}"] = path.read_bytes()
        self._add_data(found)
        return found

    def _add_data(self, found: dict[str, bytes]) -> None:
        total = 0
        for name, path in sorted(self._modules.items()):
            if path.name != "__init__.py":
                continue
            for file in _data_files(path.parent):
                inside = f"{name.replace('.', '/')}/{file.relative_to(path.parent).as_posix()}"
                size = file.stat().st_size
                if size > DATA_FILE_BYTES or total + size > DATA_BYTES:
                    self.left_out.append(inside)
                    continue
                total += size
                found[inside] = file.read_bytes()


@lru_cache(maxsize=1024)
def _imports(source: bytes | str, file: str, module: str, is_package: bool) -> tuple[str, ...]:
    """Modules that a source may import, by full name; names that turn out to be no module do no harm."""
    try:
        return tuple(_imported(parse(source, file), module, is_package))
    except (SyntaxError, ValueError):
        return ()


def _imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _imports_of_source(function: types.FunctionType) -> tuple[str, ...]:
    """Imports in the file or notebook cell that a function was written in."""
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    return _imports("".join(lines), function.__code__.co_filename, "__main__", False)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _data_files(directory: Path) -> Iterator[Path]:
    """Files beside a package's modules and below, but not of packages inside it."""
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED:
            continue
        if path.is_dir():
            if not (path / "__init__.py").exists():
                yield from _data_files(path)
        elif path.is_file() and path.suffix not in _CODE:
            yield path
