"""Kept failures as cells: what ``on_item_error="keep"`` leaves in place of an item.

The driver makes these from the failure that a worker described. They are plain text: making one loads no codec, and
reading one unpickles nothing.
"""

from __future__ import annotations

import msgspec

from orchestrator.graph.fact import Failure
from orchestrator.graph.item import ItemError
from orchestrator.ports.values import Entry, digest_bytes, encode_cell, encode_chunk, shorten
from orchestrator.types import Digest

ITEM_ERROR = "item_error"
"""Name of the codec."""

_CLASS = f"{ItemError.__module__}:{ItemError.__qualname__}"


class ItemErrorContent(msgspec.Struct, frozen=True):
    """The stored form of an ``ItemError``."""

    classes: tuple[str, ...]
    message: str


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(ItemErrorContent)


def item_error_bytes(classes: tuple[str, ...], message: str) -> bytes:
    """Encoded form of a kept failure; a message with lone surrogates is stored with them escaped."""
    return _encode(ItemErrorContent(tuple(classes), message.encode(errors="backslashreplace").decode()))


def item_error_content(data: bytes | memoryview) -> ItemErrorContent:
    """Classes and message of a kept failure; raises msgspec.DecodeError."""
    return _decoder.decode(data)


def item_error_preview(classes: tuple[str, ...], message: str) -> str:
    """``ItemError(ValueError: message)``."""
    name = classes[0].rpartition(":")[2] if classes else "Error"
    return shorten(f"ItemError({name}: {message.encode(errors='backslashreplace').decode()})")


def item_error_cell(failure: Failure) -> bytes:
    """Bytes of the cell for a kept failure, as the ``item_error`` codec would write it."""
    data = item_error_bytes(failure.classes, failure.message)
    text = item_error_preview(failure.classes, failure.message)
    return encode_cell(Entry(ITEM_ERROR, _CLASS, len(data), digest_bytes(data), True, None, text, data))


def item_error_chunk(failure: Failure) -> tuple[Digest, bytes]:
    """Digest and bytes of a chunk that holds one kept failure."""
    chunk = encode_chunk([item_error_cell(failure)])
    return digest_bytes(chunk), chunk
