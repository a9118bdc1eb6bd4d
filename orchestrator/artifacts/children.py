"""Parts of stored containers by attribute, index or key, without loading the container.

Manifests hold the cells of their children. Plain lists and dicts are one piece of msgpack, whose items can still be
cut out alone. What a map asks for item by item is kept, read-only, so that each item costs no second look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from orchestrator.ports.values import CONTAINERS, INLINE_BYTES, Cell, Entry, decode_manifest

Element: TypeAlias = str | int | tuple[str, str]
Parts: TypeAlias = list[Any] | dict[Any, Any]

_NUMBERS = (int, float, bool)
_MOST_KEPT = 8
_KEPT_FROM = 64
"""Containers with fewer children are cut again each time."""

_decode = msgspec.msgpack.Decoder().decode
_plain_list = msgspec.msgpack.Decoder(list[Any])
_raw_list = msgspec.msgpack.Decoder(list[msgspec.Raw])
_raw_dict = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])


class Children:
    """Children of stored containers. Thread-safe.

    Args:
        data_of: Verified bytes of an entry.
        cell_of: Cell of a plain value.
    """

    def __init__(self, data_of: Callable[[Entry], memoryview], cell_of: Callable[[object], Cell]) -> None:
        self._data_of = data_of
        self._cell_of = cell_of
        self._kept: dict[str, Parts] = {}
        self._lock = threading.Lock()

    def child(self, entry: Entry, element: Element) -> Cell | None:
        """Cell of a child; None if the entry is no container.

        Raises:
            AttributeError: no such field. Properties and methods are not in a manifest either.
            IndexError, KeyError: no such item.
        """
        plain = entry.codec == "msgpack" and entry.type in ("builtins:list", "builtins:dict")
        if not plain and entry.codec not in CONTAINERS:
            return None
        by_field = entry.codec == "dataclass"
        if isinstance(element, str) != by_field:
            raise AttributeError(f"the stored {entry.type} has no {_shown(element)}; only the loaded value may have it")
        parts = self._parts(entry)
        found = _item(entry, parts, element) if isinstance(parts, list) else _value(entry, parts, element)
        if plain:
            return self._cell_of(_decode(found)) if memoryview(found).nbytes <= INLINE_BYTES else None
        cell: Cell = found
        return cell

    def items(self, entry: Entry) -> list[Cell] | None:
        """Cells of all items of a list or tuple; None for anything else, and for plain lists of more than numbers."""
        plain = entry.codec == "msgpack" and entry.type == "builtins:list"
        if not plain and entry.codec not in ("list", "tuple"):
            return None
        if not plain:
            return decode_manifest(self._data_of(entry)).cells
        values: list[Cell] = _plain_list.decode(self._data_of(entry))
        return values if all(type(value) in _NUMBERS for value in values) else None

    def _parts(self, entry: Entry) -> Parts:
        with self._lock:
            kept = self._kept.get(entry.digest)
        if kept is not None:
            return kept
        parts = _cut(entry, self._data_of(entry))
        if len(parts) >= _KEPT_FROM:
            with self._lock:
                while len(self._kept) >= _MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[entry.digest] = parts
        return parts


def _cut(entry: Entry, data: memoryview) -> Parts:
    if entry.codec == "msgpack":
        return _raw_dict.decode(data) if entry.type == "builtins:dict" else _raw_list.decode(data)
    manifest = decode_manifest(data)
    return manifest.cells if manifest.keys is None else dict(zip(manifest.keys, manifest.cells, strict=True))


def _item(entry: Entry, items: list[Any], element: Element) -> Any:
    if not isinstance(element, int):
        raise AttributeError(f"the stored {entry.type} has no {_shown(element)}")
    if not -len(items) <= element < len(items):
        raise IndexError(f"index {element} is out of range: the {entry.type} has {len(items)} items")
    return items[element]


def _value(entry: Entry, values: dict[Any, Any], element: Element) -> Any:
    key = element[1] if isinstance(element, tuple) else element
    if key not in values:
        error = AttributeError if isinstance(element, str) else KeyError
        raise error(f"the stored {entry.type} has no {_shown(element)}")
    return values[key]


def _shown(element: Element) -> str:
    if isinstance(element, tuple):
        return f"key {element[1]!r}"
    return f"field {element!r}" if isinstance(element, str) else f"item {element}"
