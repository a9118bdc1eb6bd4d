"""Which commit the working directory is at, for the record of a run, and on which branch.

Read from git's own files: to ask ``git`` takes longer than a small run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def git_commit(folder: Path) -> str:
    """Commit that is checked out in a folder or above it; empty outside of git and before a first commit."""
    return _asked(folder, _commit)


def git_branch(folder: Path) -> str:
    """Branch that is checked out in a folder or above it; empty outside of git and where there is only a commit."""
    return _asked(folder, _branch)


def _asked(folder: Path, question: Callable[[Path], str]) -> str:
    for above in (folder, *folder.parents):
        place = above / ".git"
        try:
            if place.is_file():  # a worktree or submodule: the file says where the rest is
                place = above / place.read_text().removeprefix("gitdir:").strip()
            if place.is_dir():
                return question(place)
        except (OSError, UnicodeDecodeError):
            return ""
    return ""


def _branch(place: Path) -> str:
    head = (place / "HEAD").read_text().strip()
    prefix = "ref: refs/heads/"
    return head.removeprefix(prefix) if head.startswith(prefix) else ""


def _commit(place: Path) -> str:
    head = (place / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else ""
    reference = head.removeprefix("ref:").strip()
    common = place / "commondir"
    shared = place / common.read_text().strip() if common.is_file() else place
    for root in (place, shared):
        if (root / reference).is_file():
            return (root / reference).read_text().strip()
    packed = shared / "packed-refs"
    for line in packed.read_text().splitlines() if packed.is_file() else ():
        commit, _, name = line.partition(" ")
        if name == reference:
            return commit
    return ""
