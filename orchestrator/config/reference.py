"""References in the ``graph:`` of a pipeline file: ``$node.field[0]``, ``$params.lr``, and ``$$`` for a dollar.

Text that begins with one dollar is wholly a reference; a dollar elsewhere in a text is a dollar. A mapping with a key
that begins with one dollar is a value that YAML has no form for, see ``literal``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.config.literal import is_literal, literal_value
from orchestrator.errors import ConfigError

PARAMS = "params"

_REFERENCE = re.compile(r"\$(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<path>.*)", re.DOTALL)
_ELEMENT = re.compile(r"\.(?P<field>[A-Za-z_]\w*)|\[(?P<index>-?\d+)\]|\[(?P<key>\"(?:[^\"\\]|\\.)*\")\]")


@dataclass(frozen=True, slots=True)
class Reference:
    """What ``$name.field["key"][0]`` means: field names (str), indexes (int) and keys (one in a tuple)."""

    name: str
    path: tuple[str | int | tuple[str], ...]

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a text that begins with a dollar; raises ConfigError."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ConfigError(f"{text!r} is no reference; write $node, $node.field, $params.name, or $$ for a dollar")
        path: list[str | int | tuple[str]] = []
        position, rest = 0, match["path"]
        while position < len(rest):
            element = _ELEMENT.match(rest, position)
            if element is None:
                raise ConfigError(f"{text!r}: after {text[: len(text) - len(rest) + position]!r} comes .field or [0]")
            if element["field"]:
                path.append(element["field"])
            elif element["index"]:
                path.append(int(element["index"]))
            else:
                path.append((json.loads(element["key"]),))
            position = element.end()
        return cls(match["name"], tuple(path))

    def of(self, value: Any) -> Any:
        """The part of ``value`` that the path leads to; attributes of a mapping are its keys.

        Raises:
            ConfigError: it has no such part.
        """
        for element in self.path:
            try:
                if isinstance(element, str):
                    value = value[element] if isinstance(value, Mapping) else getattr(value, element)
                else:
                    value = value[element[0] if isinstance(element, tuple) else element]
            except (AttributeError, IndexError, KeyError, TypeError):
                shown = element[0] if isinstance(element, tuple) else element
                raise ConfigError(f"${self.name} has no {shown!r} there: {value!r}") from None
        return value


def is_reference(value: Any) -> bool:
    """True for text that begins with exactly one dollar."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def references(value: Any) -> Iterator[str]:
    """All references inside a value, in order."""
    if is_reference(value):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)


def resolved(value: Any, look_up: Callable[[str], Any]) -> Any:
    """The value with what its references mean in their place, and ``$$`` at the start of a text as one dollar.

    Raises:
        ConfigError: a literal is none, or its class cannot be made.
    """
    if is_reference(value):
        return look_up(value)
    if isinstance(value, str):
        return value[1:] if value.startswith("$$") else value
    if isinstance(value, list):
        return [resolved(item, look_up) for item in value]
    if isinstance(value, Mapping):
        found = {key: resolved(item, look_up) for key, item in value.items()}
        if is_literal(value):
            return literal_value(found)
        return {key[1:] if key.startswith("$$") else key: item for key, item in found.items()}
    return value
