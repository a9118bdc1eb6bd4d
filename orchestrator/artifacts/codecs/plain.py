"""``msgpack``: trees of exact None, bool, int, float, str, bytes, list and dict, as one piece.

"Exact" means that decoding gives the same types again, so subclasses and integers over 64 bits are left to others, and
so are large containers with large children, which are stored child by child. A list or dict that is reached twice is
stored twice: values are trees, and equal trees have equal digests.
"""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.ports.values import INLINE_BYTES, Loaded, shorten

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_NUMBERS = frozenset({type(None), bool, int, float})
_REPR_BYTES = 512
"""Smaller values are shown by ``repr``, which is quick and, for plain types, harmless."""
_MOST_DEPTH = 100
_MOST_REPEATED = 1_000_000
"""Elements reached again by a second reference; beyond it a tree could be exponentially larger than its objects."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_dict_decoder = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])


class Plain(Codec):
    """Plain data as msgpack."""

    name = "msgpack"
    roots = ("builtins",)
    order = 10

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """Bytes of a plain value that is small, or has only small children."""
        kind = type(value)
        if kind is bytes and INLINE_BYTES < len(value) < 1 << 32:
            return Encoded((b"\xc6" + len(value).to_bytes(4, "big"), value))
        if not is_plain(value):
            return None
        try:
            data = _encode(value)
        except (OverflowError, ValueError):  # beyond 64 bits; lone surrogates; over 4 GiB
            return None
        if len(data) > INLINE_BYTES and kind in (list, dict) and _has_large_child(value, data):
            return None
        text = shorten(repr(value)) if len(data) < _REPR_BYTES else None
        return Encoded((data,), preview=text)

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The plain value; only scalars are shareable."""
        value = _decode(data)
        return Loaded(value, type(value) in _SCALARS)


CODEC = Plain()


def is_plain(value: object) -> bool:
    """True if a value is a tree of exact plain types (the range of integers is not looked at)."""
    return type(value) in _SCALARS or _Walk().plain(value, 0)


class _Walk:
    """One look at a tree, which must end also if it is a circle, or small objects repeated without end."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.repeated = 0

    def plain(self, value: Any, depth: int) -> bool:
        kind = type(value)
        if kind is not list and kind is not dict:
            return False
        if id(value) in self.seen:
            self.repeated += 1 + len(value)
        self.seen.add(id(value))
        if depth > _MOST_DEPTH or self.repeated > _MOST_REPEATED:
            return False
        children = value
        if kind is dict:
            if not _SCALARS.issuperset(map(type, value)):
                return False
            children = value.values()
        if _SCALARS.issuperset(map(type, children)):
            return True
        for child in children:  # noqa: SIM110 (a generator would double the time of small values)
            if type(child) not in _SCALARS and not self.plain(child, depth + 1):
                return False
        return True


def _has_large_child(value: list[Any] | dict[Any, Any], data: bytes) -> bool:
    """Whether a child deserves to be moved alone; such containers need keys that a manifest can hold."""
    if type(value) is dict:
        if not all(type(key) is str or type(key) is int for key in value):
            return False
        children = list(_dict_decoder.decode(data).values())
    else:
        if _NUMBERS.issuperset(map(type, value)):
            return False
        children = _list_decoder.decode(data)
    return any(memoryview(child).nbytes > INLINE_BYTES for child in children)
