"""From the wiring of a node to the arguments of each of its steps.

A node is compiled once per segment into columns. What is the same for all steps and cannot be changed is
decoded once; what is the same but could be changed by a step is decoded for each; mapped
arguments are picked item by item. A step then costs one small function call per argument.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.backends.bundles.outputs import Outputs, output_of
from orchestrator.errors import StepError
from orchestrator.graph.binding import call_arguments
from orchestrator.graph.node import Const, Expr, ListExpr, Node, Ref, SecretRef
from orchestrator.ports.values import CONTAINERS, Cell, Entry, Values, decode_cell

Element = str | int | tuple[str, str]
Getter = Callable[[int], Any]
"""Gives an argument's value for the item with this index."""

_IMMUTABLE = (int, float, str, bytes, bool, type(None))


class Argument(NamedTuple):
    """One argument: the value of all steps, or how to get that of one."""

    value: Any = None
    get: Getter | None = None


class Reader:
    """Turns expressions into values.

    Args:
        outputs: Of the nodes that the segment's inputs name.
        children: Cells of a container.
        whole: A value of which steps get copies of single elements only.
        secret: Value of a secret by its reference.
        span: First and last + 1 item that will be asked for.
    """

    def __init__(
        self,
        values: Values,
        outputs: Mapping[str, Outputs],
        children: Callable[[Entry], list[Cell]],
        whole: Callable[[Cell], Any],
        secret: Callable[[str], str],
        span: tuple[int, int],
    ) -> None:
        self._values = values
        self._outputs = outputs
        self._children = children
        self._whole = whole
        self._secret = secret
        self._start, self._stop = span

    # ---- the same for all steps

    def argument(self, expr: Expr) -> Argument:
        """An argument that does not depend on the item."""
        if isinstance(expr, Const):
            return self._of_cell(_const_cell(expr))
        if isinstance(expr, SecretRef):
            return Argument(self._secret(expr.reference))
        if isinstance(expr, Ref):
            return self._of_ref(expr)
        if isinstance(expr, ListExpr):
            parts = [self.argument(item) for item in expr.items]
            make: Callable[[Any], Any] = tuple if expr.is_tuple else list
            return Argument(get=lambda i: make(part.value if part.get is None else part.get(i) for part in parts))
        named = {key: self.argument(item) for key, item in expr.items.items()}
        return Argument(get=lambda i: {k: part.value if part.get is None else part.get(i) for k, part in named.items()})

    def _of_cell(self, cell: Cell) -> Argument:
        if not isinstance(cell, Entry):
            return Argument(cell)
        loaded = self._values.load(cell)
        if loaded.shareable:
            return Argument(loaded.value)
        kept: list[Any] = [loaded.value]  # the first step takes what is decoded already

        def fresh(_: int) -> Any:
            return kept.pop() if kept else self._values.load(cell).value

        return Argument(get=fresh)

    def _of_ref(self, ref: Ref) -> Argument:
        source = output_of(self._outputs, ref.node)
        if not source.many:
            return self._of_path(source.at(0), ref.path)
        if ref.path and isinstance(ref.path[0], int):
            return self._of_path(source.at(ref.path[0]), ref.path[1:])
        items = [self._of_cell(cell) for cell in source.all()]
        if all(item.get is None for item in items):
            plain = [item.value for item in items]
            return Argument(get=lambda _: follow(plain.copy(), ref.path))
        return Argument(
            get=lambda i: follow([item.value if item.get is None else item.get(i) for item in items], ref.path)
        )

    def _of_path(self, cell: Cell, path: tuple[Element, ...]) -> Argument:
        cell, rest = self._walk(cell, path)
        whole = self._of_cell(cell)
        if not rest:
            return whole
        get = whole.get
        if get is None:
            return Argument(follow(whole.value, rest))
        return Argument(get=lambda i: follow(get(i), rest))

    def _walk(self, cell: Cell, path: tuple[Element, ...]) -> tuple[Cell, tuple[Element, ...]]:
        """Go into containers by their manifests as far as they reach."""
        while path and isinstance(cell, Entry):
            try:
                child = self._values.child(cell, path[0])
            except (AttributeError, IndexError, KeyError):
                break  # a property, or really missing: the value itself will say
            if child is None and cell.codec not in CONTAINERS:
                break
            cell, path = child, path[1:]
        return cell, path

    # ---- item by item

    def column(self, expr: Expr) -> Argument:
        """A mapped argument: item *i* of a list, or the output of item *i* of another map."""
        if isinstance(expr, ListExpr):
            parts = [self.argument(item) for item in expr.items[self._start : self._stop]]
            start = self._start
            return Argument(get=lambda i: _now(parts[i - start], i))
        if isinstance(expr, Ref):
            source = output_of(self._outputs, expr.node)
            if source.many and not expr.path:
                return self._items(source.run(self._start, self._stop), source.at)
            if not source.many:
                return self._elements(*self._walk(source.at(0), expr.path))
            if isinstance(expr.path[0], int):
                return self._elements(*self._walk(source.at(expr.path[0]), expr.path[1:]))
        if isinstance(expr, Const):
            return self._elements(_const_cell(expr), ())
        raise StepError(f"cannot map over {expr!r}; this is a fault of the engine")

    def _items(self, cells: list[Cell] | None, at: Callable[[int], Cell]) -> Argument:
        load, start = self._values.load, self._start
        if cells is None:

            def lookup(i: int) -> Any:
                cell = at(i)
                return load(cell).value if isinstance(cell, Entry) else cell

            return Argument(get=lookup)
        found = cells
        if not any(isinstance(cell, Entry) for cell in found):
            return Argument(get=found.__getitem__ if start == 0 else lambda i: found[i - start])

        def decode(i: int) -> Any:
            cell = found[i - start]
            return load(cell).value if isinstance(cell, Entry) else cell

        return Argument(get=decode)

    def _elements(self, cell: Cell, rest: tuple[Element, ...]) -> Argument:
        """Elements of one list: by its manifest if it has one, so that only the items asked for are decoded."""
        if isinstance(cell, Entry) and not rest and cell.codec in ("list", "tuple"):
            cells = self._children(cell)
            return self._items(cells[self._start : self._stop], cells.__getitem__)
        whole = follow(self._whole(cell), rest)

        def element(i: int) -> Any:
            value = whole[i]
            return value if type(value) in _IMMUTABLE else copy.deepcopy(value)

        return Argument(get=element)


class Arguments(NamedTuple):
    """Arguments of the steps of a segment: ``fixed`` for all, ``varying`` by name.

    ``signature`` is set where some of them must be passed by position.
    """

    fixed: dict[str, Any]
    varying: tuple[tuple[str, Getter], ...]
    signature: inspect.Signature | None

    def of(self, index: int) -> tuple[Sequence[Any], dict[str, Any]]:
        """Positional and keyword arguments of one step."""
        named = self.fixed.copy()
        for name, get in self.varying:
            named[name] = get(index)
        return ((), named) if self.signature is None else call_arguments(self.signature, named)


def compile_arguments(node: Node, signature: inspect.Signature | None, reader: Reader) -> Arguments:
    """Decode what all steps share and prepare the rest; ``signature`` as in a ``Definition``.

    Raises:
        InputMissing: an input was to be made earlier in this bundle and was not.
        Exception: an input cannot be read; whatever the store or a codec raised.
    """
    fixed: dict[str, Any] = {}
    varying: list[tuple[str, Getter]] = []
    for name, expr in node.args.items():
        argument = reader.column(expr) if name in node.mapped else reader.argument(expr)
        if argument.get is None:
            fixed[name] = argument.value
        else:
            varying.append((name, argument.get))
    return Arguments(fixed, tuple(varying), signature)


def takes_names_only(function: Callable[..., Any]) -> bool:
    """True if each parameter that has a name can be given by it."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_posonlyargcount == 0


def whole_inputs(node: Node) -> Mapping[str, str] | None:
    """Nodes by argument, if every argument of a single step is the whole output of a node."""
    if node.mapped:
        return None
    found = {}
    for name, expr in node.args.items():
        if type(expr) is not Ref or expr.path or name[0] == "*":
            return None
        found[name] = expr.node
    return found


def follow(value: Any, path: tuple[Element, ...]) -> Any:
    """Attributes, indexes and keys of a live value, from outside in."""
    for element in path:
        if isinstance(element, tuple):
            value = value[element[1]]
        elif isinstance(element, str):
            value = getattr(value, element)
        else:
            value = value[element]
    return value


def _now(argument: Argument, index: int) -> Any:
    return argument.value if argument.get is None else argument.get(index)


def _const_cell(expr: Const) -> Cell:
    if expr.cell is None:
        raise StepError("a constant of the graph was not sealed; this is a fault of the engine")
    return decode_cell(expr.cell)
