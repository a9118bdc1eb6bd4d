"""Arguments of steps in a few characters, for people; nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.artifacts.preview import described
from orchestrator.errors import StoreError
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Ref, SecretRef
from orchestrator.ports.values import decode_cell, shorten

if TYPE_CHECKING:
    from orchestrator.app.record import RunRecord


def expr_text(expr: Expr) -> str:
    """An argument in a few characters."""
    if isinstance(expr, Const):
        return shorten(repr(expr.value)) if expr.cell is None else described(decode_cell(expr.cell))
    if isinstance(expr, SecretRef):
        return f"secret {expr.reference}"
    if isinstance(expr, ListExpr):
        return shorten(f"[{', '.join(map(expr_text, expr.items[:20]))}]")
    if isinstance(expr, DictExpr):
        return shorten(f"{{{', '.join(f'{key}: {expr_text(item)}' for key, item in list(expr.items.items())[:20])}}}")
    return expr.node + "".join(f".{one}" if isinstance(one, str) else f"[{one!r}]" for one in expr.path)


def looks_like(record: RunRecord, expr: Expr) -> str:
    """What an argument that comes from a step was, as far as that is on record."""
    if not isinstance(expr, Ref):
        return ""
    state = record.fold.nodes.get(expr.node)
    if state is None or state.node.many:
        return f"{state.length:,} items" if state is not None and state.closed else ""
    span, cells = state.outputs.find(0), record.installation.cells(record.row.id)
    if span is None:
        return ""
    try:
        whole = not expr.path
        cell = cells.at(span) if whole else cells.part(span, expr.path)
    except StoreError:  # the step itself says what is the matter with its output
        return ""
    return "" if cell is None and not whole else described(cell)
