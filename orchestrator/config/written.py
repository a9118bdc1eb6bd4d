"""Plain data as YAML, for files that other programs read."""

from __future__ import annotations

from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Writes what is there twice twice; not every reader follows references."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always."""
        return True


def as_yaml(data: Any) -> str:
    """Mappings, lists and scalars as a YAML document, keys in their order."""
    return str(yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True))
