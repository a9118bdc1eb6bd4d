"""Looking at outputs without loading them: from spans to cells, wherever the chunk is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from orchestrator.errors import ArtifactCorrupt, ArtifactMissing
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.frames import Span
from orchestrator.ports.journal import Journal
from orchestrator.ports.values import (
    CONTAINERS,
    INLINE_BYTES,
    Cell,
    Description,
    Entry,
    Values,
    decode_cell,
    decode_chunk,
    decode_manifest,
    describe,
    digest_bytes,
    encode_cell,
)
from orchestrator.ports.values import encode_chunk as encode_chunk_bytes
from orchestrator.types import Digest

_KEPT_CHUNKS = 256
_V = TypeVar("_V")


class Cells:
    """Cells of one run's outputs. Reads chunks from the driver's memory, the journal or the artifact store.

    Args:
        fresh: Inline chunks that are not committed yet, by digest.
    """

    def __init__(
        self, run: str, journal: Journal, artifacts: ArtifactStore, values: Values, fresh: Mapping[Digest, bytes]
    ) -> None:
        self._run = run
        self._journal = journal
        self._artifacts = artifacts
        self._values = values
        self._fresh = fresh
        self._bytes: OrderedDict[Digest, bytes] = OrderedDict()
        self._decoded: OrderedDict[Digest, list[Cell]] = OrderedDict()

    def inline_chunk(self, digest: Digest) -> bytes | None:
        """Bytes of a chunk that travels inside frames; None if it is an artifact."""
        data = self._fresh.get(digest) or self._bytes.get(digest)
        if data is None:
            data = self._journal.chunk(self._run, digest)
            if data is not None:
                _keep(self._bytes, digest, data)
        return data

    def remember(self, chunks: Mapping[Digest, bytes]) -> None:
        """Keep chunks that were just committed at hand."""
        for digest, data in chunks.items():
            _keep(self._bytes, digest, data)

    def chunk(self, digest: Digest) -> list[Cell]:
        """All cells of a chunk.

        Raises:
            ArtifactMissing, ArtifactCorrupt: the chunk is neither in the journal nor whole in the store.
        """
        cells = self._decoded.get(digest)
        if cells is None:
            data = self.inline_chunk(digest)
            cells = decode_chunk(data if data is not None else self._artifacts.get(digest))
            _keep(self._decoded, digest, cells)
        return cells

    def at(self, span: Span) -> Cell:
        """The first cell of a span."""
        return self.chunk(span.chunk)[span.at]

    def part(self, span: Span, path: Sequence[str | int | tuple[str, str]]) -> Cell | None:
        """Cell of a part of an output; None if only loading the value would tell (no container, or a property)."""
        cell: Cell = self.at(span)
        for element in path:
            found = self.child(cell, element)
            if found is None:
                return None
            cell = found
        return cell

    def child(self, cell: Cell, element: str | int | tuple[str, str]) -> Cell | None:
        """Cell of one part of a value; None if only loading it would tell."""
        try:
            return self._values.child(cell, element)
        except (AttributeError, IndexError, KeyError):
            return None

    def items(self, cell: Cell) -> list[Cell] | None:
        """Cells of all items of a list or tuple; None if only loading it would tell."""
        return self._values.items(cell)

    def look(self, cell: Cell) -> Description:
        """Type, size, truth, length and preview of a value."""
        return describe(cell)

    def present(self, cell: Cell) -> bool:
        """True if all bytes of a value are there and whole; that spares its artifacts from collection for a while."""
        if not isinstance(cell, Entry):
            return True
        data: bytes | memoryview | None = cell.data
        try:
            if data is None:
                if not self._artifacts.refresh(cell.digest):
                    return False
                data = self._artifacts.get(cell.digest)
        except (ArtifactMissing, ArtifactCorrupt):
            return False
        return cell.codec not in CONTAINERS or all(self.present(child) for child in decode_manifest(data).cells)

    def store_chunk(self, cells: Sequence[Cell]) -> tuple[Digest, bytes | None]:
        """A new chunk of existing cells: its digest, and its bytes if it is small enough to stay inline."""
        data = encode_chunk_bytes([encode_cell(cell) for cell in cells])
        if len(data) > INLINE_BYTES:
            return self._artifacts.put(data), None
        return digest_bytes(data), data

    def decode(self, cell: bytes) -> Cell:
        """A sealed constant as a cell."""
        return decode_cell(cell)

    def foreign(self, run: str, digest: Digest, at: int) -> Cell:
        """A cell of another run's chunk.

        Raises:
            ArtifactMissing: neither journal nor store has the chunk any more.
        """
        data = self._journal.chunk(run, digest)
        try:
            return decode_chunk(data if data is not None else self._artifacts.get(digest))[at]
        except IndexError:
            raise ArtifactMissing(f"chunk {digest} of run {run} has no cell {at}") from None


def _keep(cache: OrderedDict[Digest, _V], digest: Digest, value: _V) -> None:
    cache[digest] = value
    if len(cache) > _KEPT_CHUNKS:
        cache.popitem(last=False)
