"""Small value types and parsers that every layer shares.

Durations and sizes are written by people (``"10m"``, ``"2GiB"``) and kept as plain
numbers; a step has one address everywhere, ``scope/name#2[7]``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from orchestrator.errors import InvalidDuration, InvalidSize, InvalidStepAddress

Digest = str
"""Lower-case hexadecimal BLAKE3 of some bytes (64 characters)."""

Duration = str | int | float
"""``"10ms" "1s" "5m" "2h" "30d"`` or a number of seconds."""

Size = str | int
"""``"512MiB" "2GiB" "1GB"`` or a number of bytes."""

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*")
_DURATION_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)B?\s*")
_SIZE_POWER = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}

_ADDRESS = re.compile(r"(?P<node>.*[^\[\]/])(?:\[(?P<index>\d+)\])?")


def seconds(duration: Duration) -> float:
    """Turn a duration into seconds.

    Raises:
        InvalidDuration: the text is no duration, or the number is negative or not finite.
    """
    if isinstance(duration, str):
        match = _DURATION.fullmatch(duration)
        if match is None:
            raise InvalidDuration(f"{duration!r} is not a duration; write '10ms', '1s', '5m', '2h', '30d' or seconds")
        return float(match[1]) * _DURATION_UNIT_S[match[2]]
    if isinstance(duration, bool) or not 0 <= duration < float("inf"):
        raise InvalidDuration(f"{duration!r} is not a duration; it must be a finite number of seconds, 0 or more")
    return float(duration)


def size_bytes(size: Size) -> int:
    """Turn a size into bytes (``GiB`` is 2**30, ``GB`` is 10**9).

    Raises:
        InvalidSize: the text is no size, or the number is negative.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        if match is None:
            raise InvalidSize(f"{size!r} is not a size; write '512MiB', '2GiB', '1GB' or bytes")
        return int(float(match[1]) * (1024 if match[3] else 1000) ** _SIZE_POWER[match[2]])
    if isinstance(size, bool) or size < 0:
        raise InvalidSize(f"{size!r} is not a size; it must be a number of bytes, 0 or more")
    return int(size)


class StepId(NamedTuple):
    """One node in one run and, for a map, the item; index 0 for a node with one step."""

    node: str
    index: int = 0  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.node}[{self.index}]"


def parse_address(text: str) -> tuple[str, int | None]:
    """Split ``scope/name#2[7]`` into the node and the item (None when not given).

    Raises:
        InvalidStepAddress: the text is no step address.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise InvalidStepAddress(f"{text!r} is not a step address; write 'scope/name#2' or 'scope/name#2[7]'")
    return match["node"], None if match["index"] is None else int(match["index"])
