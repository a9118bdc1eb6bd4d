"""Arrays of strings and bytes as PostgreSQL's binary protocol wants them, in one ``join``.

psycopg would adapt each element by itself, which takes longer than everything else that a commit does in the client.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

_length = Struct("!i").pack
_head = Struct("!iiIii").pack
"""Dimensions, whether there are nulls, type of the elements, how many, number of the first."""


class Array:
    """Elements of one type, ready to be sent."""

    element = 0

    def __init__(self, elements: Iterable[bytes]) -> None:
        parts = [part for element in elements for part in (_length(len(element)), element)]
        self.data = _head(1, 0, self.element, len(parts) // 2, 1) + b"".join(parts)


class TextArray(Array):
    """``text[]`` of UTF-8."""

    element = 25


class BytesArray(Array):
    """``bytea[]``."""

    element = 17


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        data: bytes = obj.data
        return data


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _BytesArrayDumper(_ArrayDumper):
    oid = 1001


def register(connection: Any) -> None:
    """Let a psycopg connection send these arrays."""
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
    connection.adapters.register_dumper(BytesArray, _BytesArrayDumper)
