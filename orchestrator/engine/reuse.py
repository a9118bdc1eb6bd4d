"""The cache: keys of steps from code and inputs, hits, and why a step missed.

A key is a digest of named parts: the stage's code, each argument's content, and the declared environment. The parts
are kept with the entry, so that a miss can say which of them changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.engine.cells import Cells
from orchestrator.engine.state import RunFold
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Node, Ref, SecretRef
from orchestrator.ports.files import Files
from orchestrator.ports.frames import Span
from orchestrator.ports.journal import CacheEntry
from orchestrator.ports.values import Cell, digest_bytes, digest_of
from orchestrator.types import Digest

_COMPARED = 256


class CacheKey(NamedTuple):
    """Key of one step and the parts it was made of."""

    digest: Digest
    parts: Mapping[str, str]


class CacheKeys:
    """Computes cache keys of steps whose inputs exist."""

    def __init__(self, fold: RunFold, cells: Cells, files: Files) -> None:
        self._fold = fold
        self._cells = cells
        self._files = files

    def keys(self, node: Node, start: int, stop: int) -> list[CacheKey]:
        """Keys of the items ``start..stop`` of a node; what they have in common is looked at once.

        Raises:
            NotFound: a ``File`` argument names a file that is not there.
        """
        assert node.stage is not None
        files = node.stage.files
        name = node.stage.ref.partition("#")[0]  # without the digest that tells apart what a notebook cell has held
        common = {"stage": name, "code": node.stage.fingerprint}
        for name, expr in node.args.items():
            if name not in node.mapped:
                common[f"argument {name}"] = self._argument(expr, None, name in files)
        environment = node.policy.resources.runtime_env
        if environment:
            common["runtime_env"] = _digest(json.dumps(environment, sort_keys=True))
        shared = _digest(json.dumps(common, sort_keys=True))
        names = [f"argument {name}" for name in sorted(node.mapped)]
        columns = [self._column(node.args[name], start, stop, name in files) for name in sorted(node.mapped)]
        if not columns:
            return [CacheKey(shared, common)]
        return [
            CacheKey(_digest("\n".join((shared, *own))), {**common, **dict(zip(names, own, strict=True))})
            for own in zip(*columns, strict=True)
        ]

    def _column(self, expr: Expr, start: int, stop: int, is_file: bool) -> list[str]:
        """A mapped argument, item by item; a stored list and the outputs of a map are read as a whole."""
        cells: list[Cell] | None = None
        if isinstance(expr, Const) and expr.cell is not None and not is_file:
            items = self._cells.items(self._cells.decode(expr.cell))
            cells = None if items is None else items[start:stop]
        elif isinstance(expr, Ref) and not expr.path and not is_file and self._fold.nodes[expr.node].node.many:
            spans = self._fold.nodes[expr.node].outputs.within(start, stop)
            cells = [cell for s in spans for cell in self._cells.chunk(s.chunk)[s.at : s.at + s.stop - s.start]]
        if cells is None or len(cells) != stop - start:
            return [self._argument(expr, index, is_file) for index in range(start, stop)]
        return [_part(cell) for cell in cells]

    def _argument(self, expr: Expr, item: int | None, is_file: bool) -> str:
        if is_file:
            path = self._text(expr, item)
            if path is not None:
                return self._files.version(path)
        return self._digest(expr, item)

    def _text(self, expr: Expr, item: int | None) -> str | None:
        """The str value of an argument that names a file, if the driver can see it."""
        if isinstance(expr, Const) and expr.cell is not None and item is None:
            cell = self._cells.decode(expr.cell)
            return cell if isinstance(cell, str) else None
        if isinstance(expr, Ref):
            span = self._span(expr, item)
            cell = self._cells.part(span, self._below(expr, item)) if span else None
            return cell if isinstance(cell, str) else None
        return None

    def _digest(self, expr: Expr, item: int | None) -> str:
        if isinstance(expr, SecretRef):
            return f"secret {expr.reference}"
        if isinstance(expr, Const):
            assert expr.cell is not None
            cell = self._cells.decode(expr.cell)
            if item is None:
                return _part(cell)
            child = self._cells.child(cell, item)
            return _part(child) if child is not None else _digest(f"{digest_of(cell)}[{item}]")
        if isinstance(expr, ListExpr):
            if item is not None:
                return self._digest(expr.items[item], None)
            return _digest("".join(["(" if expr.is_tuple else "[", *(self._digest(e, None) for e in expr.items)]))
        if isinstance(expr, DictExpr):
            return _digest(json.dumps({key: self._digest(e, None) for key, e in expr.items.items()}))
        return self._reference(expr, item)

    def _reference(self, ref: Ref, item: int | None) -> str:
        source = self._fold.nodes[ref.node]
        if source.node.many and item is None and not ref.path:
            spans = source.outputs.spans
            return _digest("".join(
                digest_of(self._cells.chunk(s.chunk)[s.at + i]) for s in spans for i in range(s.stop - s.start)
            ))  # fmt: skip
        span = self._span(ref, item)
        if span is None:
            return "missing"
        path = self._below(ref, item)
        part = self._cells.part(span, path)
        if part is not None:
            return _part(part)
        return _digest(f"{digest_of(self._cells.at(span))}{path}")

    def _span(self, ref: Ref, item: int | None) -> Span | None:
        source = self._fold.nodes[ref.node]
        if not source.node.many:
            return source.outputs.find(0)
        first = item if item is not None else ref.path[0] if ref.path else None
        return source.outputs.find(first) if isinstance(first, int) else None

    def _below(self, ref: Ref, item: int | None) -> tuple[str | int | tuple[str, str], ...]:
        """Path below the output that ``_span`` picked."""
        if not self._fold.nodes[ref.node].node.many:
            return (*ref.path, *(() if item is None else (item,)))
        return ref.path if item is not None else ref.path[1:]


class Miss(NamedTuple):
    """Why items of a node have to run; ``nearest`` and ``changed`` as in ``CacheMissed``."""

    reason: str
    nearest: str = ""
    changed: Mapping[str, tuple[str, str]] = {}


def why_missed(keys: Sequence[CacheKey], nearest: CacheEntry | None) -> Miss:
    """Which parts of the closest of these keys differ from the newest entry of the stage."""
    if nearest is None:
        return Miss("nothing stored for this stage yet")
    key = min(keys[:_COMPARED], key=lambda k: sum(nearest.parts.get(name) != value for name, value in k.parts.items()))
    changed = {name: (nearest.parts.get(name, ""), value) for name, value in key.parts.items()
               if nearest.parts.get(name) != value}  # fmt: skip
    gone = {name: (value, "") for name, value in nearest.parts.items() if name not in key.parts}
    if not changed and not gone:
        return Miss("the stored output has expired or is gone", nearest.run)
    told = [*(f"{name} changed" for name in changed), *(f"{name} is no longer given" for name in gone)]
    return Miss(", ".join(told), nearest.run, {**changed, **gone})


def _part(cell: Cell) -> str:
    """A value in a key: a number as it is, anything else by its digest."""
    if isinstance(cell, int | float):
        return f"{type(cell).__name__} {cell!r}"
    return digest_of(cell)


def _digest(text: str) -> Digest:
    return digest_bytes(text.encode())
