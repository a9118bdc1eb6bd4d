"""Chunks of cells on their way to a worker: each inline chunk is sent once, and read once.

The pool remembers which chunks a worker holds by doing what the worker does: both keep a
``ChunkWindow`` and feed it the same frames in the same order, so they drop the same chunks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from orchestrator.ports.frames import Input, Segment
from orchestrator.ports.values import Cell, decode_chunk
from orchestrator.types import Digest

WINDOW_BYTES = 32 * 1024 * 1024
DECODED_CHUNKS = 64


def chunks_of(inputs: Iterable[Input]) -> Iterator[Digest]:
    """Chunks that inputs name, in order, each once."""
    seen = {""}
    for source in inputs:
        for span in source.spans:
            if span.chunk not in seen:
                seen.add(span.chunk)
                yield span.chunk


def inputs_of(segments: Iterable[Segment]) -> Iterator[Input]:
    """Inputs of all segments, in order."""
    for segment in segments:
        yield from segment.inputs


class ChunkWindow:
    """The most recently used inline chunks, up to a number of bytes."""

    def __init__(self, limit_bytes: int = WINDOW_BYTES) -> None:
        self._limit = limit_bytes
        self._total = 0
        self._held: OrderedDict[Digest, bytes] = OrderedDict()

    def get(self, digest: Digest) -> bytes | None:
        """The chunk, now the most recently used; None if it is not held."""
        data = self._held.get(digest)
        if data is not None:
            self._held.move_to_end(digest)
        return data

    def add(self, digest: Digest, data: bytes) -> None:
        """Hold one more chunk; the least recently used ones go."""
        self._held[digest] = data
        self._total += len(data)
        while self._total > self._limit and len(self._held) > 1:
            self._total -= len(self._held.popitem(last=False)[1])

    def use(self, wanted: Iterable[Digest], fresh: Callable[[Digest], bytes | None]) -> dict[Digest, bytes]:
        """Touch or add each chunk in order; those that are not inline anywhere (``fresh`` gives None) stay out.

        Returns:
            The chunks among ``wanted`` that are inline, by digest.
        """
        found: dict[Digest, bytes] = {}
        for digest in wanted:
            data = self.get(digest)
            if data is None:
                data = fresh(digest)
                if data is None:
                    continue
                self.add(digest, data)
            found[digest] = data
        return found


class DecodedChunks:
    """Cells of the chunks a worker has read lately. A chunk that did not come inline is read from the store."""

    def __init__(self, stored: Callable[[Digest], bytes | memoryview]) -> None:
        self._stored = stored
        self._cells: OrderedDict[Digest, list[Cell]] = OrderedDict()
        self._lock = threading.Lock()

    def cells(self, digest: Digest, inline: bytes | None) -> list[Cell]:
        """All cells of a chunk; raises what the store raises for a missing or corrupt artifact."""
        with self._lock:
            cells = self._cells.get(digest)
            if cells is not None:
                self._cells.move_to_end(digest)
                return cells
        cells = decode_chunk(self._stored(digest) if inline is None else inline)
        with self._lock:
            self._cells[digest] = cells
            while len(self._cells) > DECODED_CHUNKS:
                self._cells.popitem(last=False)
        return cells
