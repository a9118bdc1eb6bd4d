"""``list``, ``tuple``, ``dict`` and ``dataclass``: manifests of one level, whose children are cells of their own.

A child of a large result can so be described, moved and reused alone. Types are exact: a tuple stays a tuple, and the
order of a dict stays. A dataclass is rebuilt from its fields without calling ``__init__``; one that keeps more than its
fields, or says itself how it is pickled, is left to the pickle codec.
"""

from __future__ import annotations

import copyreg
import dataclasses
import types
import weakref
from typing import Any, NamedTuple

from orchestrator.artifacts.codec import Codec, Decoding, Encoded, Encoding
from orchestrator.artifacts.describe import class_path, join, preview, qualname_of
from orchestrator.errors import ArtifactUnreadable
from orchestrator.ports.values import PREVIEW_CHARS, Cell, Entry, Loaded, Manifest, decode_manifest, encode_manifest

_PICKLE_HOOKS = (
    "__reduce__", "__reduce_ex__", "__getnewargs__", "__getnewargs_ex__", "__getstate__", "__setstate__",
)  # fmt: skip
_HEAP_TYPE = 1 << 9
"""Flag of classes written in Python: an instance of another may hold what its fields do not show."""


class ListCodec(Codec):
    """Lists with children that are large or not plain."""

    name = "list"
    roots = ("builtins",)
    order = 20
    kind: type[list[Any]] | type[tuple[Any, ...]] = list

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """A manifest of the items."""
        if type(value) is not self.kind:
            return None
        cells = [encoding.cell(item, f"[{index}]") for index, item in enumerate(value)]
        return _manifest(None, cells, class_path(self.kind), *("[]" if self.kind is list else "()"))

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """The items, loaded; a list is never shareable, a tuple is if all its items are."""
        loaded = [decoding.load(cell) for cell in decode_manifest(data).cells]
        items = self.kind(item.value for item in loaded)
        return Loaded(items, self.kind is tuple and all(item.shareable for item in loaded))


class TupleCodec(ListCodec):
    """Tuples."""

    name = "tuple"
    kind = tuple


class DictCodec(Codec):
    """Dicts with keys that are str or int, and children that are large or not plain."""

    name = "dict"
    roots = ("builtins",)
    order = 20

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """A manifest of the items, in their order."""
        if type(value) is not dict or not all(_is_key(key) for key in value):
            return None
        cells = [encoding.cell(child, f"[{preview(key)}]") for key, child in value.items()]
        return _manifest(list(value), cells, "builtins:dict", "{", "}")

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """A new dict."""
        manifest = decode_manifest(data)
        return Loaded({key: decoding.load(cell).value for key, cell in _items(manifest)}, False)


class DataclassCodec(Codec):
    """Dataclasses, also frozen ones and with slots."""

    name = "dataclass"
    order = 30

    def __init__(self) -> None:
        self._layouts: weakref.WeakKeyDictionary[type, _Layout | None] = weakref.WeakKeyDictionary()

    def encode(self, value: Any, encoding: Encoding) -> Encoded | None:
        """A manifest of the fields; the class must be reachable by its path."""
        kind = type(value)
        layout = self._layout(kind)
        if layout is None or not _reachable(kind, encoding):
            return None
        state = _state(value, layout)
        if state.keys() != set(layout.fields):
            return None
        cells = [encoding.cell(state[name], f".{name}") for name in layout.fields]
        return _manifest(list(layout.fields), cells, class_path(kind), f"{qualname_of(kind)}(", ")", named=True)

    def decode(self, data: memoryview, path: str, decoding: Decoding) -> Loaded:
        """A new instance; shareable if it is frozen and all its fields are shareable.

        Raises:
            ArtifactUnreadable: the class has other fields by now.
        """
        kind = decoding.resolve(path)
        manifest = decode_manifest(data)
        layout = self._layout(kind)
        if layout is None:
            raise ArtifactUnreadable(f"{path} is no plain dataclass any more, but a stored value is one of it")
        stored, present = list(manifest.keys or ()), list(layout.fields)
        if stored != present:
            raise ArtifactUnreadable(f"{path} has the fields {present} by now, but a stored value of it has {stored}")
        value = object.__new__(kind)
        shareable = kind.__dataclass_params__.frozen
        for name, cell in _items(manifest):
            loaded = decoding.load(cell)
            if name in layout.slots:
                layout.slots[str(name)].__set__(value, loaded.value)
            else:
                _dict_of(value)[str(name)] = loaded.value
            shareable = shareable and loaded.shareable
        return Loaded(value, shareable)

    def _layout(self, kind: type) -> _Layout | None:
        try:
            return self._layouts[kind]
        except KeyError:
            return self._layouts.setdefault(kind, _layout(kind))


CODECS = (ListCodec(), TupleCodec(), DictCodec(), DataclassCodec())


def _manifest(
    keys: list[str | int] | None, cells: list[Cell], path: str, opening: str, closing: str, named: bool = False
) -> Encoded:
    data = encode_manifest(keys, cells, path)
    outside = sum(cell.size for cell in cells if isinstance(cell, Entry) and cell.data is None)
    texts = (cell.preview if isinstance(cell, Entry) else repr(cell)[:PREVIEW_CHARS] for cell in cells)
    if keys is not None:
        pairs = zip(keys, texts, strict=True)
        texts = (f"{key}={text}" if named else f"{key!r}: {text}" for key, text in pairs)
    if path == "builtins:tuple" and len(cells) == 1:
        closing = ",)"
    return Encoded((data,), len(data) + outside, join(opening, texts, closing))


def _items(manifest: Manifest) -> zip[tuple[str | int, Cell]]:
    return zip(manifest.keys or (), manifest.cells, strict=True)


def _is_key(key: object) -> bool:
    return type(key) is str or (type(key) is int and -(1 << 63) <= key < 1 << 64)


class _Layout(NamedTuple):
    """Where instances of a dataclass keep what."""

    fields: tuple[str, ...]
    slots: dict[str, types.MemberDescriptorType]


def _layout(kind: Any) -> _Layout | None:
    """Layout of a dataclass whose instances are their fields and nothing else, as far as the class can tell."""
    if (
        not isinstance(kind, type)
        or not dataclasses.is_dataclass(kind)
        or kind.__new__ is not object.__new__
        or kind in copyreg.dispatch_table
    ):
        return None
    slots: dict[str, types.MemberDescriptorType] = {}
    for base in reversed(kind.__mro__[:-1]):
        if not base.__flags__ & _HEAP_TYPE:
            return None
        for hook in _PICKLE_HOOKS:
            found = base.__dict__.get(hook)
            if found is not None and getattr(found, "__module__", None) != "dataclasses":
                return None
        slots |= {name: it for name, it in base.__dict__.items() if isinstance(it, types.MemberDescriptorType)}
    return _Layout(tuple(field.name for field in dataclasses.fields(kind)), slots)


def _reachable(kind: type, encoding: Encoding) -> bool:
    path = class_path(kind)
    if "<locals>" in path:
        return False
    try:
        return encoding.resolve(path) is kind
    except (ImportError, AttributeError):
        return False


def _dict_of(value: object) -> dict[str, Any]:
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


def _state(value: object, layout: _Layout) -> dict[str, Any]:
    """All that an instance holds, without running its class's code."""
    state = dict(_dict_of(value))
    for name, slot in layout.slots.items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue  # an empty slot
    return state
