"""Code as text that changes only when the code does: no comments, docstrings, formatting or annotations."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import threading
import types
from pathlib import Path
from typing import Any

_PARSING = threading.Lock()


def parse(source: str | bytes, file: str = "<unknown>") -> ast.Module:
    """``ast.parse``, one thread at a time: CPython 3.11 raises SystemError when two parse deep trees at once.

    Raises:
        SyntaxError, ValueError: the source is no Python.
    """
    with _PARSING:
        return ast.parse(source, file)


def function_text(function: types.FunctionType) -> str:
    """Canonical syntax tree of a function; its bytecode where no source is found."""
    code = function.__code__
    return _code_text(code, code.co_filename, function.__doc__)


@functools.lru_cache(maxsize=4096)
def _code_text(code: types.CodeType, file: str, doc: str | None) -> str:
    """Text of a code object, found once: the file may change under a running process, the code does not.

    ``file`` is part of the key because equal code objects may come from different files.
    """
    tree = _tree(code)
    node = None if tree is None else _own_node(tree, code.co_name)
    if node is None:
        return bytecode_text(code, doc)
    node = _Stripper().visit(node)
    if isinstance(node, ast.FunctionDef):
        node.decorator_list = []
    return ast.dump(node)


@functools.lru_cache(maxsize=1024)
def class_text(cls: type) -> str:
    """Canonical syntax tree of a class; its name where no source is found."""
    tree = _tree(cls)
    return f"class {cls.__qualname__}" if tree is None else ast.dump(_Stripper().visit(tree))


def module_tree(file: str) -> ast.Module | None:
    """Syntax tree of a file, stripped; None if it cannot be read or is no Python."""
    try:
        tree = parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    stripped: ast.Module = _Stripper().visit(tree)
    return stripped


def bytecode_text(code: types.CodeType, doc: str | None = None) -> str:
    """Instructions, names and constants of a code object."""
    constants = list(code.co_consts)
    if doc is not None and constants and constants[0] == doc:
        constants[0] = None
    shown = [bytecode_text(item) if isinstance(item, types.CodeType) else _constant(item) for item in constants]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} {shown}"


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(repr, value))})"
    return repr(value)


def _tree(code: Any) -> ast.Module | None:
    try:
        with _PARSING:  # finding the source of a class parses its file
            source = inspect.getsource(code)
        return parse(textwrap.dedent(source))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None


def _own_node(tree: ast.Module, name: str) -> ast.AST | None:
    """A function's own node. A lambda is found among what else stands on its lines if it is the only one there."""
    if name == "<lambda>":
        lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
        return lambdas[0] if len(lambdas) == 1 else None
    first = tree.body[0] if tree.body else None
    known = isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef) and first.name == name
    return first if known else None


class _Stripper(ast.NodeTransformer):
    """Takes away docstrings, and annotations of parameters and results."""

    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if hasattr(node, "returns"):
            node.returns = None
        return node

    visit_FunctionDef = _strip
    visit_AsyncFunctionDef = _strip
    visit_ClassDef = _strip
    visit_Module = _strip

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        node.type_comment = None
        return node
