"""Values of simulated runs as cells, where they are, and what a worker makes of the expressions that refer to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.errors import ArtifactMissing
from orchestrator.graph import fact as f
from orchestrator.graph.node import Const, DictExpr, Expr, ListExpr, Ref
from orchestrator.ports import frames
from orchestrator.ports.artifacts import ArtifactInfo
from orchestrator.ports.values import (
    Cell,
    Entry,
    Loaded,
    decode_cell,
    decode_chunk,
    digest_bytes,
    encode_cell,
    encode_chunk,
)
from orchestrator.types import Digest

_pack, _unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def encode(value: Any) -> bytes:
    """A JSON-like value as a cell."""
    if value is None or isinstance(value, bool | int | float | str):
        return encode_cell(value)
    data = _pack(value)
    return encode_cell(
        Entry("msgpack", "builtins:list", len(data), digest_bytes(data), bool(value), len(value), "", data)
    )


def decode(cell: Cell) -> Any:
    """The value of a cell."""
    return _unpack(cell.data) if isinstance(cell, Entry) and cell.data is not None else cell


def encode_error(failure: f.Failure) -> tuple[str, bytes]:
    """A kept item error as a chunk: here simply its message."""
    data = encode_chunk([encode_cell(f"error: {failure.message}")])
    return digest_bytes(data), data


class PlainValues:
    """``ports.values.Values`` for what ``encode`` takes."""

    def encode(self, value: object) -> bytes:
        """See ``Values``."""
        return encode(value)

    def load(self, cell: Cell) -> Loaded:
        """See ``Values``."""
        return Loaded(decode(cell), False)

    def child(self, cell: Cell, element: str | int | tuple[str, str]) -> Cell | None:
        """See ``Values``."""
        return decode_cell(encode(decode(cell)[element[1] if isinstance(element, tuple) else element]))

    def items(self, cell: Cell) -> list[Cell] | None:
        """See ``Values``."""
        return [decode_cell(encode(item)) for item in decode(cell)] if isinstance(cell, Entry) else None


class MemoryArtifacts:
    """``ports.artifacts.ArtifactStore`` in memory; some cannot be read for a while.

    Attributes:
        missing: Digests of artifacts that are not there (at the moment).
    """

    def __init__(self) -> None:
        self.missing: set[Digest] = set()
        self._bytes: dict[Digest, bytes] = {}

    def put(self, *parts: bytes | bytearray | memoryview) -> Digest:
        """See ``ArtifactStore``; what is missing is there again."""
        data = b"".join(parts)
        digest = digest_bytes(data)
        self._bytes[digest] = data
        self.missing.discard(digest)
        return digest

    def get(self, digest: Digest) -> memoryview:
        """See ``ArtifactStore``."""
        if digest in self.missing or digest not in self._bytes:
            raise ArtifactMissing(f"artifact {digest} is not in the store")
        return memoryview(self._bytes[digest])

    def exists(self, digest: Digest) -> bool:
        """See ``ArtifactStore``."""
        return digest in self._bytes and digest not in self.missing

    def peek(self, digest: Digest, count: int) -> bytes:
        """See ``ArtifactStore``."""
        return bytes(self.get(digest)[:count])

    def refresh(self, digest: Digest) -> bool:
        """See ``ArtifactStore``."""
        return self.exists(digest)

    def delete(self, digest: Digest, modified_before: float | None = None) -> bool:
        """See ``ArtifactStore``."""
        return self._bytes.pop(digest, None) is not None

    def list(self) -> Iterator[ArtifactInfo]:
        """See ``ArtifactStore``."""
        return (ArtifactInfo(digest, len(data), 0.0) for digest, data in self._bytes.items())


class NoFiles:
    """``ports.files.Files`` for pipelines that name none."""

    def version(self, url: str) -> str:
        """The name itself."""
        return url


class Reader:
    """What the arguments of a step are.

    Args:
        inputs: Where the outputs are that the step needs.
        here: Outputs made in the same bundle.
        chunk: Bytes of a chunk; raises ArtifactMissing.
    """

    def __init__(
        self,
        inputs: Sequence[frames.Input],
        here: Mapping[str, Any],
        chunk: Callable[[Digest], bytes | memoryview],
    ) -> None:
        self._inputs = {source.node: source for source in inputs}
        self._here = here
        self._chunk = chunk

    @property
    def incomplete(self) -> bool:
        """True if something that was to be made in this bundle was not."""
        return any(
            source.spans and not source.spans[0].chunk and source.node not in self._here
            for source in self._inputs.values()
        )

    def value(self, expr: Expr, item: int | None = None) -> Any:
        """The value of an expression, or one item of it."""
        if isinstance(expr, Ref):
            return self._referenced(expr, item)
        if isinstance(expr, ListExpr):
            if item is not None:
                return self.value(expr.items[item])
            values = [self.value(e) for e in expr.items]
            return tuple(values) if expr.is_tuple else values
        if isinstance(expr, DictExpr):
            return {key: self.value(e) for key, e in expr.items.items()}
        value = decode(decode_cell((expr.cell if isinstance(expr, Const) else None) or b"\xc0"))
        return value if item is None else value[item]

    def batches(self, node: str) -> list[Any]:
        """What an earlier attempt of a streaming step delivered."""
        source = self._inputs.get(node)
        return [] if source is None else [value for span in source.spans for value in self._cells(span)]

    def _referenced(self, ref: Ref, item: int | None) -> Any:
        source = self._inputs[ref.node]
        path: list[Any] = list(ref.path) if item is None else [*ref.path, item]
        if not source.many:
            value = self._here[ref.node] if not source.spans[0].chunk else self._cells(source.spans[0])[0]
        elif path and isinstance(path[0], int):
            wanted = path.pop(0)
            (span,) = [s for s in source.spans if s.start <= wanted < s.stop]
            value = self._cells(span)[wanted - span.start]
        else:
            value = [v for span in source.spans for v in self._cells(span)]
        for element in path:
            value = value[element[1] if isinstance(element, tuple) else element]
        return value

    def _cells(self, span: frames.Span) -> list[Any]:
        cells = decode_chunk(self._chunk(span.chunk))
        return [decode(cell) for cell in cells[span.at : span.at + span.stop - span.start]]
