"""Plain data as YAML, for files that we and other programs read: by YAML 1.1 and 1.2 it means the same."""

from __future__ import annotations

from typing import Any

import yaml

from orchestrator.config.document import IMPLICIT


class _Plain(yaml.SafeDumper):
    """Writes what is there twice twice; not every reader follows references."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Text; the line breaks of Unicode, which PyYAML would fold into blanks, are escaped."""
        style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _Plain.represent_text)

for _tag, _pattern, _first in IMPLICIT:  # text that is no text by YAML 1.2 gets quotes too
    _Plain.add_implicit_resolver(_tag, _pattern, _first)


def as_yaml(data: Any, short: bool = False) -> str:
    """Mappings, lists and scalars as a YAML document, keys in their order.

    Args:
        short: Mappings and lists of scalars on one line.
    """
    style = None if short else False
    text = yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True, default_flow_style=style, width=110)
    return str(text)
