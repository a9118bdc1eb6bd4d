"""YAML documents that remember the line of every key, so that each complaint can name it.

The reading is that of YAML 1.2's core schema: only ``true`` and ``false`` are booleans, ``1e-3`` is a number, dates
stay text. Mappings have text keys, and no key twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from orchestrator.errors import ConfigError, NotFound

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the top of a document to a value."""

_MOST_VALUES = 100_000


class Place(NamedTuple):
    """A line of a file, counted from 1; 0 for what is written elsewhere, such as the command line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Document:
    """The data of one file, or of several merged ones, and where each part of it was written."""

    data: Mapping[str, Any]
    places: Mapping[KeyPath, Place]

    def at(self, path: KeyPath) -> Any:
        """The value at ``path``; raises KeyError or IndexError."""
        value: Any = self.data
        for key in path:
            value = value[key]
        return value

    def place(self, path: KeyPath) -> Place:
        """Where the value at ``path`` was written, or the nearest thing around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path]

    def error(self, path: KeyPath, text: str) -> ConfigError:
        """An error that names the line of ``path``."""
        place = self.place(path)
        return ConfigError(f"{place}: {text}", file=place.file, line=place.line)

    def over(self, base: Document) -> Document:
        """This document laid over another: mappings are merged key by key, everything else is replaced."""
        places = dict(base.places)
        data = _merge(base.data, self.data, (), places, self.places)
        places[()] = self.places[()]
        return Document(data, places)


def read_document(path: Path) -> Document:
    """Read one file.

    Raises:
        NotFound: there is no such file.
        ConfigError: it cannot be read, or is not YAML, or not a mapping; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: this is not text in UTF-8", file=str(path)) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", file=str(path)) from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str) -> Document:
    """Read a document from text; ``file`` is what its errors call it. Raises ConfigError."""
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{file}:{line}: this is not YAML: {problem}", file=file, line=line) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: this is not YAML: {error}", file=file, line=1) from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            f"{file}:1: a pipeline file is a mapping that starts with 'pipeline:' or 'graph:'", file=file, line=1
        )
    builder = _Builder(file)
    return Document(builder.build(root, ()), builder.places)


def parse_value(text: str) -> Any:
    """The value of ``key=value`` on a command line: a list, mapping or quoted text in YAML, or one bare scalar.

    Bare text is taken as it is: neither ``#`` nor ``:`` means anything in it.

    Raises:
        ConfigError: the text opens a list, a mapping or a quotation that is not YAML.
    """
    if text[:1] in ("[", "{", '"', "'"):
        return parse_document(f"value: {text}", "value").data["value"]
    tag = _Loader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return _scalar_value(tag, text)


class _Loader(yaml.SafeLoader):
    """Composes nodes with the scalars of YAML 1.2; values are built from them by ``_Builder``."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own attribute, filled below


IMPLICIT = [
    (f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})$"), list(first))
    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
        (
            "float",
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
            "-+.0123456789",
        ),
    )
]
"""Tag, pattern and first characters of the plain scalars that are no text."""

for _tag, _pattern, _first in IMPLICIT:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))


def _scalar_value(tag: str, text: str) -> bool | int | float | str | None:
    match tag.removeprefix("tag:yaml.org,2002:"):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        case "float":
            return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    return text


class _Builder:
    """Plain data from composed nodes, noting lines on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[KeyPath, Place] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self.places[path] = self._place(node)
        if len(self.places) > _MOST_VALUES:
            raise self._refuse(node, f"this document unfolds to more than {_MOST_VALUES} values")
        if node.tag not in _TAGS:
            raise self._refuse(node, f"the tag {node.tag!r} has no meaning here")
        if id(node) in self._open:
            raise self._refuse(node, "this value contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return {key: self.build(value, (*path, key)) for key, value in self._items(node, path)}
            if isinstance(node, yaml.SequenceNode):
                return [self.build(value, (*path, index)) for index, value in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node]]:
        seen: set[str] = set()
        for key_node, value in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise self._refuse(key_node, "a key is text; put it in quotes")
            if key in seen:
                raise self._refuse(key_node, f"the key {key!r} is here twice")
            seen.add(key)
            yield key, value
            self.places[*path, key] = self._place(key_node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return _scalar_value(node.tag, node.value)
        except ValueError as error:
            raise self._refuse(node, f"this is no number: {error}") from None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.file, node.start_mark.line + 1)

    def _refuse(self, node: yaml.Node, text: str) -> ConfigError:
        place = self._place(node)
        return ConfigError(f"{place}: {text}", file=place.file, line=place.line)


def _merge(
    base: Any, top: Any, path: KeyPath, places: dict[KeyPath, Place], top_places: Mapping[KeyPath, Place]
) -> Any:
    """``top`` over ``base``; ``places`` is brought up to date on the way."""
    if isinstance(base, Mapping) and isinstance(top, Mapping):
        merged = dict(base)
        for key, value in top.items():
            merged[key] = _merge(base.get(key), value, (*path, key), places, top_places)
        return merged
    for known in [known for known in places if known[: len(path)] == path]:
        del places[known]
    places.update({known: place for known, place in top_places.items() if known[: len(path)] == path})
    return top
