"""Values and documents as text for people."""

from __future__ import annotations

import json
from typing import Any


def as_text(value: Any) -> str:
    """Plain data for people: text and numbers bare, containers as indented JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=_other)


def _other(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
