"""What a step was called with, from the record: where each argument came from and how it looks. Nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.artifacts.preview import described
from orchestrator.errors import StoreError
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Ref, SecretRef
from orchestrator.ports.values import Cell, decode_cell, shorten

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.cells import Cells
    from orchestrator.engine.state import NodeState, RunFold

_MOST = 8


class StepInput(NamedTuple):
    """One argument of a step.

    Attributes:
        source: Where it came from, such as ``load`` or ``scale[3]``; empty for a constant.
        preview: How it looks; empty while it does not exist.
    """

    name: str
    source: str
    preview: str


def inputs_of(here: Installation, fold: RunFold, state: NodeState, index: int) -> list[StepInput]:
    """Arguments of one step, those that are its own of a map first."""
    looking = _Looking(fold, here.cells(fold.run))
    node = state.node
    names = sorted(node.args, key=lambda name: name not in node.mapped)
    return [looking.at(name, node.args[name], index if name in node.mapped else None) for name in names]


class _Looking:
    def __init__(self, fold: RunFold, cells: Cells) -> None:
        self._fold = fold
        self._cells = cells

    def at(self, name: str, expr: Expr, item: int | None) -> StepInput:
        """One argument; the item of it that a step of a map gets."""
        if isinstance(expr, SecretRef):
            return StepInput(name, "", f"secret {expr.reference}")
        if isinstance(expr, Const):
            return StepInput(name, "", self._const(expr, item))
        if isinstance(expr, ListExpr) and item is not None:
            return self.at(name, expr.items[item], None)
        if isinstance(expr, ListExpr | DictExpr):
            return StepInput(name, "", self._several(expr))
        return self._ref(name, expr, item)

    def _const(self, expr: Const, item: int | None) -> str:
        if expr.cell is None:
            return shorten(repr(expr.value))
        cell = decode_cell(expr.cell)
        if item is None:
            return described(cell)
        child = self._cells.child(cell, item)
        return f"item {item} of {described(cell)}" if child is None else described(child)

    def _several(self, expr: ListExpr | DictExpr) -> str:
        if isinstance(expr, ListExpr):
            parts = [self.at("", one, None) for one in expr.items[:_MOST]]
            named = [part.source or part.preview for part in parts]
            more = ["…"] if len(expr.items) > _MOST else []
            return shorten(f"[{', '.join([*named, *more])}]")
        pairs = [(key, self.at("", one, None)) for key, one in list(expr.items.items())[:_MOST]]
        return shorten(f"{{{', '.join(f'{key}: {part.source or part.preview}' for key, part in pairs)}}}")

    def _ref(self, name: str, ref: Ref, item: int | None) -> StepInput:
        told = ref.node + "".join(f".{one}" if isinstance(one, str) else f"[{one!r}]" for one in ref.path)
        source = self._fold.nodes.get(ref.node)
        if source is None:
            return StepInput(name, told, "")
        path = ref.path
        if source.many and not path and item is None:
            return StepInput(name, told, f"{source.items:,} outputs")
        if source.many:
            first = item if not path else path[0]
            span = source.outputs.find(first) if isinstance(first, int) else None
            told, path, item = (f"{ref.node}[{first}]", (), None) if not ref.path else (told, path[1:], item)
        else:
            span = source.outputs.find(0)
        if span is None:
            return StepInput(name, told, "")
        try:
            cell: Cell | None = self._cells.part(span, path)
            if item is not None and cell is not None:
                told, cell = f"{told}[{item}]", self._cells.child(cell, item)
        except StoreError as error:
            return StepInput(name, told, f"({error.message})")
        return StepInput(name, told, "" if cell is None and (path or item is not None) else described(cell))
