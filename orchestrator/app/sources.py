"""The code of runs as text: what differs between the project files of two capsules. Nothing of it is run."""

from __future__ import annotations

import difflib
import io
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import ArtifactCorrupt, ArtifactMissing

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.types import Digest

MOST_LINES = 400
"""Of one file."""

_MOST_BYTES = 1_000_000


class SourceChange(NamedTuple):
    """A file that differs: lines of a unified diff, cut if they are very many."""

    file: str
    lines: list[str]


def source_changes(here: Installation, before: Digest, after: Digest) -> list[SourceChange]:
    """Files of the project that differ between two capsules; none if one of them is gone."""
    if before == after:
        return []
    old, new = _texts(here, before), _texts(here, after)
    if old is None or new is None:
        return []
    return list(_changes(old, new))


def _changes(old: dict[str, str], new: dict[str, str]) -> Iterator[SourceChange]:
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name, ""), new.get(name, "")
        if one == other:
            continue
        lines = list(difflib.unified_diff(one.splitlines(), other.splitlines(), "before", "after", lineterm="", n=3))
        cut = [f"… {len(lines) - MOST_LINES:,} more lines"] if len(lines) > MOST_LINES else []
        yield SourceChange(name, lines[2 : MOST_LINES + 2] + cut)


def _texts(here: Installation, capsule: Digest) -> dict[str, str] | None:
    """Python files of a capsule by name."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(here.artifacts.get(capsule)))) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".py")]
            return {one.filename: archive.read(one).decode(errors="replace")
                    for one in members if one.file_size <= _MOST_BYTES}  # fmt: skip
    except (ArtifactMissing, ArtifactCorrupt, zipfile.BadZipFile):
        return None
