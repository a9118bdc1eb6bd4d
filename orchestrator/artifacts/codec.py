"""What a codec is: one file under ``codecs/`` (or behind an entry point) that turns values of some classes into bytes.

A codec file ends with ``CODEC = ItsClass()`` or, for several, ``CODECS = (…)``. It imports the library whose values it
takes inside its methods: a codec is only asked about a value whose class comes from that library, which is loaded then.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from orchestrator.artifacts.describe import preview
from orchestrator.artifacts.signing import Signer
from orchestrator.ports.values import Cell, Loaded

Buffer: TypeAlias = bytes | bytearray | memoryview


class Encoded(NamedTuple):
    """Bytes of a value: ``parts`` one after the other, so that large buffers need no copy.

    Attributes:
        size: Bytes with those of all children, for containers; None means the bytes of the parts.
        preview: Text for people, if the codec knows it by now; else its ``preview`` is asked.
    """

    parts: tuple[Buffer, ...]
    size: int | None = None
    preview: str | None = None


class Encoding(Protocol):
    """What a codec may use while it encodes."""

    signer: Signer

    def cell(self, value: object, at: str) -> Cell:
        """Cell of a child; ``at`` is how it is reached (``.model``, ``[3]``), for messages."""
        ...

    def resolve(self, path: str) -> Any:
        """The object at ``module:qualname``; raises ImportError or AttributeError."""
        ...


class Decoding(Protocol):
    """What a codec may use while it decodes."""

    signer: Signer

    def load(self, cell: Cell) -> Loaded:
        """Value of a child."""
        ...

    def resolve(self, path: str) -> Any:
        """The object at ``module:qualname``; raises ImportError or AttributeError."""
        ...


class Codec:
    """Turns values into bytes and back.

    Attributes:
        name: Stands in every entry the codec wrote; never changes and is never used for another format.
        roots: Top-level modules of the classes it takes (``("pyarrow",)``); empty to be asked about every class.
        order: Of the codecs that may take a value, the one with the lowest is asked first.
    """

    name: ClassVar[str]
    roots: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 50

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """Bytes of a value, or None if another codec has to take it. Equal values should give equal bytes.

        Raises:
            Unencodable: the value, or the named part of it, cannot be stored by any codec.
        """
        raise TypeError(f"{type(self).__name__} does not say how to encode")

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The value of bytes that ``encode`` gave; ``path`` is the ``module:qualname`` of its class."""
        raise TypeError(f"{type(self).__name__} does not say how to decode")

    def preview(self, value: Any) -> str:
        """Short text for people; the same for equal values, so without memory addresses."""
        return preview(value)


class Unencodable(Exception):
    """No codec can store a part of a value.

    Attributes:
        at: How the part is reached from the value, ``.model[3]``; empty for the value itself.
        reason: What is wrong with it, and what to do.
    """

    def __init__(self, at: str, reason: str) -> None:
        super().__init__(at, reason)
        self.at = at
        self.reason = reason


class NotATree(Exception):
    """Containers refer to each other in a circle or too deeply: the outermost is taken as one opaque value."""
