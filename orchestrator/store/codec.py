"""Facts to bytes and back: msgpack of the dataclass's fields, tagged by the class's name in its own column.

Fields are written by name, so that a later release may add one with a default and still read older runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from orchestrator.errors import JournalCorrupt
from orchestrator.graph.fact import Fact

_encode = msgspec.msgpack.Encoder().encode
_decoders: Mapping[str, msgspec.msgpack.Decoder[Fact]] = {
    kind.__name__: msgspec.msgpack.Decoder(kind) for kind in get_args(Fact)
}
_decode_mapping = msgspec.msgpack.Decoder(dict[str, Any]).decode


def encode_fact(fact: Fact) -> tuple[str, bytes]:
    """Kind and body of a fact.

    Raises:
        ValueError: the fact holds something that msgpack has no form for.
    """
    kind = type(fact).__name__
    if kind not in _decoders:
        raise ValueError(f"{kind} is no fact; the journal stores the classes of graph/fact.py")
    return kind, _encode_or_refuse(fact, kind)


def decode_fact(run: str, seq: int, kind: str, body: bytes) -> Fact:
    """The fact of a row; ``run`` and ``seq`` are for the message.

    Raises:
        JournalCorrupt: the kind is unknown or the body is not what that kind looks like.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        raise JournalCorrupt(
            f"run {run}: fact {seq} has the unknown kind {kind!r}; it was written by a newer release or damaged",
            run=run,
            seq=seq,
        )
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalCorrupt(
            f"run {run}: fact {seq} ({kind}) cannot be read: {error}; restore the journal from a backup",
            run=run,
            seq=seq,
        ) from error


def encode_mapping(mapping: Mapping[str, Any], what: str) -> bytes:
    """Bytes of a request's body or a cache key's parts; ``what`` is for the message.

    Raises:
        ValueError: the mapping holds something that msgpack has no form for.
    """
    return _encode_or_refuse(dict(mapping), what)


def decode_mapping(data: bytes, what: str) -> dict[str, Any]:
    """Inverse of ``encode_mapping``.

    Raises:
        JournalCorrupt: the bytes are no mapping.
    """
    try:
        return _decode_mapping(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalCorrupt(f"{what} cannot be read: {error}; restore the journal from a backup") from error


def _encode_or_refuse(value: object, what: str) -> bytes:
    try:
        return _encode(value)
    except (TypeError, OverflowError, UnicodeEncodeError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"{what} cannot be stored in the journal: {error}") from error
