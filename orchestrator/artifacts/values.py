"""Python objects to cells and back, through the codecs and the artifact store; see ``ports.values`` for the format.

Used by workers and by the client's own process: loading a value may run the code of its class.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.artifacts.children import Children
from orchestrator.artifacts.codec import Encoded, NotATree, Unencodable
from orchestrator.artifacts.describe import INTERRUPTS, ask, class_path, error_text, length, truth
from orchestrator.artifacts.registry import LAST, Registry
from orchestrator.artifacts.signing import Signer
from orchestrator.errors import ArtifactCorrupt, ArtifactUnreadable, OrchestratorError, ResultNotEncodable
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.values import (
    INLINE_BYTES,
    Cell,
    Entry,
    Loaded,
    digest_bytes,
    encode_cell,
    shorten,
)

BARE_CHARS = 1024
"""Longer strings are entries, so that descriptions of them stay short."""
_MOST_DEPTH = 100
_MOST_REPEATED = 5_000_000
"""Objects that decoding would make of parts that are referred to more than once, before a value is taken as one."""
_PLAIN_BYTES = 16
"""Estimate of the bytes of one object in plain data."""

_BARE = frozenset({type(None), bool, int, float})
_encode = msgspec.msgpack.Encoder().encode


def resolve(path: str) -> Any:
    """The object at ``module:qualname``, its module imported if need be.

    Raises:
        ImportError: there is no such module.
        AttributeError: it has no such object.
    """
    module, _, qualname = path.partition(":")
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


class StoredValues:
    """The ``Values`` port over an artifact store. Thread-safe.

    Args:
        store: Keeps what is larger than ``INLINE_BYTES``.
        signer: Signs pickles and checks their signatures; or the directory of the key file.
        registry: The codecs; those of this package and installed ones if not given.
        resolve: Finds classes by ``module:qualname``; raises ImportError or AttributeError.
    """

    def __init__(
        self,
        store: ArtifactStore,
        signer: Signer | str | os.PathLike[str],
        registry: Registry | None = None,
        resolve: Callable[[str], Any] = resolve,
    ) -> None:
        self.store = store
        self.signer = signer if isinstance(signer, Signer) else Signer(signer)
        self.registry = registry or Registry()
        self.resolve = resolve
        self._children = Children(self._data, self.cell)

    def encode(self, value: object) -> bytes:
        """Bytes of the cell for a value; see ``ports.values.Values``."""
        kind = type(value)
        if (
            kind is int
            or kind is float
            or kind is bool
            or value is None
            or (type(value) is str and len(value) <= BARE_CHARS)
        ):
            try:
                return _encode(value)
            except (OverflowError, ValueError):  # beyond 64 bits; lone surrogates
                pass
        return encode_cell(self.cell(value))

    def cell(self, value: object) -> Cell:
        """Cell of a value; the same promises as ``encode``."""
        try:
            try:
                return _Walk(self).cell(value, "")
            except (NotATree, RecursionError):
                return _Walk(self, opaque=True).cell(value, "")
        except Unencodable as error:
            raise _refused(value, error.at, error.reason) from error
        except (OrchestratorError, *INTERRUPTS):
            raise
        except BaseException as error:  # a value's own methods may raise anything
            raise _refused(value, "", error_text(error)) from error

    def load(self, cell: Cell) -> Loaded:
        """The value of a cell; see ``ports.values.Values``.

        Raises:
            ArtifactUnreadable: the bytes are right, but a class, codec or library needed for them is missing here.
        """
        if not isinstance(cell, Entry):
            return Loaded(cell, True)
        codec = self.registry.codec(cell.codec)
        data = self._data(cell)
        try:
            return codec.decode(data, cell.type, self)
        except (OrchestratorError, *INTERRUPTS):
            raise
        except Exception as error:
            raise ArtifactUnreadable(
                f"artifact {cell.digest}, a stored {cell.type}, cannot be rebuilt here: {error_text(error)}"
            ) from error

    def child(self, cell: Cell, element: str | int | tuple[str, str]) -> Cell | None:
        """Cell of a part of a container, from its manifest alone; see ``ports.values.Values``.

        A property or method is not in the manifest: it raises AttributeError like an attribute that does not exist, and
        only the loaded value can tell the two apart. The items of a plain list or dict (codec ``msgpack``) have cells
        too, without loading the rest of it.
        """
        return self._children.child(cell, element) if isinstance(cell, Entry) else None

    def items(self, cell: Cell) -> list[Cell] | None:
        """Cells of all items of a list or tuple; see ``ports.values.Values``."""
        return self._children.items(cell) if isinstance(cell, Entry) else None

    # ---- inside

    def _data(self, entry: Entry) -> memoryview:
        """The verified bytes of an entry."""
        if entry.data is None:
            return self.store.get(entry.digest)
        if digest_bytes(entry.data) != entry.digest:
            raise ArtifactCorrupt(f"the inline bytes of a {entry.type} do not have the digest {entry.digest}")
        return memoryview(entry.data)


class _Walk:
    """Encoding of one value with all its children; what codecs see as ``Encoding``.

    Args:
        opaque: Take the value as one, by the codec that takes everything; for circles.
    """

    __slots__ = ("_done", "_objects", "_opaque", "_open", "_repeated", "_values", "resolve", "signer")

    def __init__(self, values: StoredValues, opaque: bool = False) -> None:
        self.signer = values.signer
        self.resolve = values.resolve
        self._values = values
        self._opaque = opaque
        self._open: set[int] = set()
        self._done: dict[int, tuple[object, Cell, int]] = {}
        self._objects = 0
        self._repeated = 0

    def cell(self, value: object, at: str) -> Cell:
        """Cell of a value or child.

        Raises:
            Unencodable: a part of it cannot be stored.
            NotATree: it contains itself, or the same parts so often that it would never end.
        """
        self._objects += 1
        if type(value) in _BARE or (type(value) is str and len(value) <= BARE_CHARS):
            try:
                _encode(value)
                return value  # type: ignore[return-value]
            except (OverflowError, ValueError):  # beyond 64 bits; lone surrogates
                pass
        known = self._done.get(id(value))
        if known is not None:
            self._objects += known[2]
            self._repeated += known[2]
            if self._repeated > _MOST_REPEATED:
                raise NotATree
            return known[1]
        if id(value) in self._open or len(self._open) > _MOST_DEPTH:
            raise NotATree
        self._open.add(id(value))
        before = self._objects
        try:
            cell = self._entry(value)
        except Unencodable as error:
            raise Unencodable(at + error.at, error.reason) from error
        if cell.codec == "msgpack" and type(value) in (list, dict):
            self._objects += cell.size // _PLAIN_BYTES
        self._open.discard(id(value))
        self._done[id(value)] = value, cell, 1 + self._objects - before
        return cell

    def _entry(self, value: object) -> Entry:
        registry, kind = self._values.registry, type(value)
        for find in (registry.candidates, registry.late_candidates):
            for codec in find(kind):
                if self._opaque and codec.order < LAST:
                    continue
                encoded = codec.encode(value, self)
                if encoded is not None:
                    text = encoded.preview if encoded.preview is not None else shorten(codec.preview(value))
                    return self._stored(value, codec.name, encoded, text)
        raise Unencodable("", f"no codec takes a {class_path(type(value))}")

    def _stored(self, value: object, codec: str, encoded: Encoded, text: str) -> Entry:
        size = sum(memoryview(part).nbytes for part in encoded.parts)
        if size > INLINE_BYTES:
            digest, data = self._values.store.put(*encoded.parts), None
        else:
            data = b"".join(encoded.parts)
            digest = digest_bytes(data)
        return Entry(
            codec=codec,
            type=class_path(type(value)),
            size=size if encoded.size is None else encoded.size,
            digest=digest,
            truth=truth(value),
            length=length(value),
            preview=text,
            data=data,
        )


def _refused(value: object, at: str, reason: str) -> ResultNotEncodable:
    name = ask(class_path, type(value)) or "value"
    return ResultNotEncodable(f"a {name} cannot be stored: {at or 'the value itself'}: {reason}", at=at)
