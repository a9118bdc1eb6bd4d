"""Outputs as plain data, without running any code that a value may bring: nothing is unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Ref, SecretRef
from orchestrator.ports.values import CONTAINERS, Cell, Entry, decode_manifest

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.engine.state import RunFold

_PLAIN = "msgpack"


class StoredValues:
    """Stored values as plain data.

    Anything that is not plain is shown by an object with ``$type``, ``size``, ``digest`` and ``preview``.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def data(self, cell: Cell) -> Any:
        """A cell as plain data."""
        if not isinstance(cell, Entry):
            return cell
        if cell.codec == _PLAIN:
            return msgspec.msgpack.decode(self._bytes(cell))
        if cell.codec not in CONTAINERS:
            return {"$type": cell.type, "size": cell.size, "digest": cell.digest, "preview": cell.preview}
        manifest = decode_manifest(self._bytes(cell))
        children = [self.data(child) for child in manifest.cells]
        return children if manifest.keys is None else dict(zip(map(str, manifest.keys), children, strict=True))

    def stored(self, cells: Sequence[Cell]) -> bytes:
        """The stored bytes of one output: an Arrow IPC file, npy, msgpack, a signed pickle, as its codec wrote it.

        Raises:
            ConfigError: it is several outputs, or a scalar, which has no bytes of its own.
        """
        if len(cells) != 1 or not isinstance(cells[0], Entry):
            what = f"{len(cells)} outputs" if len(cells) != 1 else "a plain value"
            raise ConfigError(f"there is no file to save: the step gave {what}; print it without --to")
        if cells[0].codec in CONTAINERS:
            raise ConfigError(f"the output is a {cells[0].codec} of several parts; print it without --to")
        return bytes(self._bytes(cells[0]))

    def _bytes(self, entry: Entry) -> bytes | memoryview:
        return entry.data if entry.data is not None else self._installation.artifacts.get(entry.digest)


class Outputs(StoredValues):
    """Outputs of one run as plain data."""

    def __init__(self, installation: Installation, fold: RunFold) -> None:
        super().__init__(installation)
        self._fold = fold
        self._cells = installation.cells(fold.run)

    def result(self) -> Any:
        """What the pipeline returned.

        Raises:
            NotFound: a step that it takes its value from has no output.
        """
        return self.value(self._fold.graph.output)

    def value(self, expr: Expr) -> Any:
        """What an argument stands for.

        Raises:
            NotFound: a step that it takes its value from has no output.
        """
        if isinstance(expr, Const):
            return None if expr.cell is None else self.data(self._cells.decode(expr.cell))
        if isinstance(expr, SecretRef):
            return {"$secret": expr.reference}
        if isinstance(expr, ListExpr):
            return [self.value(item) for item in expr.items]
        if isinstance(expr, DictExpr):
            return {key: self.value(item) for key, item in expr.items.items()}
        return self._ref(expr)

    def _ref(self, ref: Ref) -> Any:
        state = self._fold.nodes[ref.node]
        path: Sequence[str | int | tuple[str, str]] = ref.path
        if state.node.many:
            if not path:
                return [self.data(self._cells.chunk(s.chunk)[s.at + i]) for s in state.outputs.spans
                        for i in range(s.stop - s.start)]  # fmt: skip
            first, *path = ref.path
            span = state.outputs.find(first) if isinstance(first, int) else None
        else:
            span = state.outputs.find(0)
        if span is None:
            raise NotFound(f"run {self._fold.run}: {ref.node} has no output")
        part = self._cells.part(span, path)
        if part is None and path:
            return {"$part": "".join(f"[{element!r}]" for element in path), "of": self.data(self._cells.at(span))}
        return self.data(part)
