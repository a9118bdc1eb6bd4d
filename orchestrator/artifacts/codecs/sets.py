"""``set``: sets and frozensets of plain scalars, in an order that does not depend on the process's hash seed."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.ports.values import Loaded, encode_chunk

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class SetCodec(Codec):
    """Sets of scalars: the class's name, then the elements ordered by their bytes."""

    name = "set"
    roots = ("builtins",)
    order = 20

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """Bytes of a set whose elements are all plain scalars."""
        if type(value) not in (set, frozenset) or not _SCALARS.issuperset(map(type, value)):
            return None
        try:
            elements = sorted(map(_encode, value))
        except (OverflowError, ValueError):  # beyond 64 bits; lone surrogates
            return None
        return Encoded((encode_chunk([_encode(type(value).__name__), encode_chunk(elements)]),))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The set; a frozenset is shareable."""
        name, elements = _decode(data)
        return Loaded(frozenset(elements), True) if name == "frozenset" else Loaded(set(elements), False)


CODEC = SetCodec()
