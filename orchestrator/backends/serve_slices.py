"""Slices of an experiment: which field and value of a request an outcome belongs to, told by the id of its answer.

Outcomes come long after the request and need no table of requests: what they are told apart by stands in the id.
Fields are those of the request, so a slice was settled before any version answered.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import Any

from orchestrator.backends.serve_choice import SEPARATOR

LARGEST_BODY = 65_536
"""Longer requests belong to no slice: reading them would hold up others."""

LONGEST_VALUE = 40


def slices_of(body: bytes, fields: tuple[str, ...]) -> tuple[str, ...]:
    """``field=value`` of a request's first row, for each of the fields that it has with a plain value."""
    if not fields or len(body) > LARGEST_BODY:
        return ()
    try:
        row = json.loads(body)["rows"][0]
        return tuple(f"{name}={_text(row[name])}" for name in fields if _plain(row.get(name)))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ()


def request_id(slices: tuple[str, ...]) -> str:
    """A new id of a request, which names its slices; with the version in front it is that of an answer."""
    told = base64.urlsafe_b64encode(json.dumps(slices).encode()).decode().rstrip("=") if slices else ""
    return f"{secrets.token_hex(8)}{'.' if told else ''}{told}"


def slices_in(answer: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The slices that an id names, as far as they are of these fields; whoever reports may have made the id up."""
    told = answer.partition(SEPARATOR)[2].partition(".")[2]
    if not fields or not told or len(told) > LARGEST_BODY:
        return ()
    try:
        found = json.loads(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return ()
    if not isinstance(found, list):
        return ()
    longest = max(map(len, fields)) + 1 + LONGEST_VALUE
    return tuple(one for one in dict.fromkeys(str(name)[:longest] for name in found) if one.partition("=")[0] in fields)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _text(value: str | float) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:LONGEST_VALUE]
