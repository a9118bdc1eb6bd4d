"""Forms of pages: what they send, and the key by which the same form sent twice acts once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from blake3 import blake3
from starlette.requests import Request

FIELD = "p."
"""Before the name of a parameter in forms."""


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of fields with one name the last."""
    return dict(parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True))


def fields_of(given: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a form; what is left empty has its default."""
    return {name.removeprefix(FIELD): value for name, value in given.items() if name.startswith(FIELD) and value != ""}


def written(value: Any) -> str:
    """A value as it is written on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def form_key(path: str, given: Mapping[str, str]) -> str:
    """An idempotency key of a form. A hidden field that changes with what is acted upon lets it be sent again later."""
    return f"page-{blake3(json.dumps([path, sorted(given.items())]).encode()).hexdigest()}"


def state_of(*parts: object) -> str:
    """Such a hidden field."""
    return blake3(json.dumps(parts, default=str).encode()).hexdigest()[:16]
