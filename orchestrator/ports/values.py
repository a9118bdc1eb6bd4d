"""How values look on the wire and in the journal: cells and chunks, readable without running code.

A *cell* is one encoded value. Plain scalars stand for themselves; everything else is an ``Entry`` that says
which codec wrote it and how it looks, with the bytes inside (small values) or in the artifact store under
their digest (large ones). A *chunk* is a msgpack array of cells and is named by its digest. Containers
(``list``, ``tuple``, ``dict``, ``dataclass``) are manifests: their bytes are a ``Manifest`` of cells, so that a
child can be moved alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec
from blake3 import blake3

from orchestrator.types import Digest

INLINE_BYTES = 64 * 1024
"""Values and chunks up to this size travel inside frames and the journal; larger ones are artifacts."""

PREVIEW_CHARS = 80

CONTAINERS = frozenset({"list", "tuple", "dict", "dataclass"})
"""Codecs whose bytes are a ``Manifest``."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """Description of one encoded value.

    Attributes:
        codec: Name of the codec that wrote it.
        type: ``module:qualname`` of the value's class.
        size: Bytes of the encoded value (with those of all children, for containers).
        digest: BLAKE3 of the encoded bytes.
        truth: ``bool(value)``, None if that is not defined.
        length: ``len(value)``, None if it has none.
        preview: At most ``PREVIEW_CHARS`` characters for people; the same for equal values.
        data: The encoded bytes, or None if they are the artifact ``digest``.
    """

    codec: str
    type: str
    size: int
    digest: Digest
    truth: bool | None
    length: int | None
    preview: str
    data: bytes | None = None


Cell: TypeAlias = bool | int | float | str | Entry | None


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """Children of a container: ``keys`` are dict keys or field names, None for lists and tuples.

    ``type`` is the container's class, so that a tuple and a list of the same children have different digests.
    """

    keys: list[str | int] | None
    cells: list[Cell]
    type: str = ""


class Description(NamedTuple):
    """What the driver and the views know about a value without loading it."""

    type: str
    size: int
    truth: bool | None
    length: int | None
    preview: str


_encode = msgspec.msgpack.Encoder().encode
_chunk_decoder = msgspec.msgpack.Decoder(list[Cell])
_cell_decoder: msgspec.msgpack.Decoder[Cell] = msgspec.msgpack.Decoder(Cell)
_manifest_decoder = msgspec.msgpack.Decoder(Manifest)


def digest_bytes(data: bytes | bytearray | memoryview) -> Digest:
    """BLAKE3 of some bytes, in hexadecimal."""
    return blake3(data).hexdigest()


def encode_cell(cell: Cell) -> bytes:
    """Bytes of one cell."""
    return _encode(cell)


def decode_cell(data: bytes | memoryview) -> Cell:
    """One cell from its bytes; raises msgspec.DecodeError."""
    return _cell_decoder.decode(data)


def encode_chunk(cells: Iterable[bytes]) -> bytes:
    """Bytes of a chunk from the bytes of its cells."""
    parts = list(cells)
    count = len(parts)
    if count < 16:
        header = bytes([0x90 | count])
    elif count < 1 << 16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(parts)


def decode_chunk(data: bytes | memoryview) -> list[Cell]:
    """All cells of a chunk; raises msgspec.DecodeError."""
    return _chunk_decoder.decode(data)


def encode_manifest(keys: list[str | int] | None, cells: list[Cell], type: str = "") -> bytes:
    """Bytes of a container."""
    return _encode(Manifest(keys, cells, type))


def decode_manifest(data: bytes | memoryview) -> Manifest:
    """Children of a container; raises msgspec.DecodeError."""
    return _manifest_decoder.decode(data)


def entries(cells: Iterable[Cell]) -> Iterator[Entry]:
    """Every entry among these cells, and those inside containers that are stored inline.

    Their digests (where ``data`` is None) are the artifacts that the cells name, but for what the containers among
    those artifacts name in turn.
    """
    for cell in cells:
        if isinstance(cell, Entry):
            yield cell
            if cell.data is not None and cell.codec in CONTAINERS:
                yield from entries(decode_manifest(cell.data).cells)


def digest_of(cell: Cell) -> Digest:
    """Content digest of a value: equal values of one type have equal digests."""
    return cell.digest if isinstance(cell, Entry) else digest_bytes(_encode(cell))


def describe(cell: Cell) -> Description:
    """Type, size, truth, length and preview of a value."""
    if isinstance(cell, Entry):
        return Description(cell.type, cell.size, cell.truth, cell.length, cell.preview)
    length = len(cell) if isinstance(cell, str) else None
    size = length if length is not None else 8
    name = "builtins:NoneType" if cell is None else f"builtins:{type(cell).__name__}"
    return Description(name, size, bool(cell), length, shorten(repr(cell)))


def shorten(text: str) -> str:
    """Cut a preview to its limit."""
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 1] + "…"


class Loaded(NamedTuple):
    """A decoded value; ``shareable`` if it cannot be changed, so that several steps may see the same object."""

    value: Any
    shareable: bool


class Values(Protocol):
    """Python objects to cells and back. Only workers and the client's own process load values."""

    def encode(self, value: object) -> bytes:
        """Bytes of the cell for ``value``; what is larger than INLINE_BYTES is durable as an artifact on return.

        Raises:
            ResultNotEncodable: no codec takes the value, or it cannot be pickled; names the part of it to blame.
        """
        ...

    def load(self, cell: Cell) -> Loaded:
        """The value of a cell, its bytes verified against the digest.

        Raises:
            ArtifactMissing, ArtifactCorrupt, SignatureInvalid: the stored bytes are gone or not what was written.
        """
        ...

    def child(self, cell: Cell, element: str | int | tuple[str, str]) -> Cell | None:
        """Cell of an attribute (str), an index (int) or a key (``("key", k)``) if the value is a container; else None.

        Reads the container's manifest only. Raises AttributeError, IndexError or KeyError as the value itself would.
        """
        ...

    def items(self, cell: Cell) -> list[Cell] | None:
        """Cells of all items if the value is a stored list or tuple that can be read without loading; else None."""
        ...
