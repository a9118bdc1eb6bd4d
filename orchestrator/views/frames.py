"""Frames of a failure, the author's own first: those of libraries only say where it came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3", "<frozen ", "<string>")


class Frames(NamedTuple):
    """Frames as ``file:line in function``, innermost last."""

    own: list[str]
    library: list[str]


def split_frames(frames: Sequence[str]) -> Frames:
    """Which frames are the author's; all of them if none can be told to be."""
    own = [frame for frame in frames if not is_library(frame)]
    return Frames(own, [frame for frame in frames if is_library(frame)]) if own else Frames(list(frames), [])


def is_library(frame: str) -> bool:
    """True for a frame of an installed package or of Python itself."""
    return any(mark in frame for mark in _LIBRARIES)


def frame_lines(frames: Sequence[str], most_of_libraries: int = 3) -> list[str]:
    """The author's frames, innermost last and marked, then the innermost ones of libraries."""
    own, library = split_frames(frames)
    shown = [f"  {frame}" for frame in own[:-1]] + [f"> {frame}" for frame in own[-1:]]
    if library:
        shown.append(f"  in libraries below: {'; '.join(library[-most_of_libraries:])}")
    return shown
