"""Writing to standard output: JSON documents, tables, times and sizes; progress and errors go to standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.views.status import size_text


def write_json(document: Any) -> None:
    """One document, indented."""
    write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def write_json_line(document: Any) -> None:
    """One document on one line, at once."""
    write(msgspec.json.encode(document).decode())
    sys.stdout.flush()


def write(text: str) -> None:
    """A line of data."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """A line for people who watch."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, two blanks apart, without lines: easy to read and to cut."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def iso(at: float | None) -> str | None:
    """A wall-clock time as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def local_time(at: float | None) -> str:
    """A wall-clock time for people, in their time zone."""
    return "-" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: float) -> str:
    """``12 B``, ``3.4 MiB``."""
    return size_text(count)


def counted(count: int, noun: str) -> str:
    """``1 step``, ``3 steps``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
