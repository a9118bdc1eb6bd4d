"""Where in the user's code something happens, for errors and for the drawn graph."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import CodeType, FrameType

from orchestrator.errors import DefinitionError
from orchestrator.graph.node import Source
from orchestrator.graph.references import installed

_OWN = __name__.partition(".")[0]
_OWN_PREFIX = _OWN + "."


def user_source() -> Source | None:
    """File and line of the innermost frame of the project; of the innermost that is not ours if there is none."""
    frame: FrameType | None = sys._getframe(1)
    fallback: Source | None = None
    while frame is not None:
        if not _is_ours(frame):
            file = frame.f_code.co_filename
            if not installed(file):
                return _place(file, frame.f_lineno)
            fallback = fallback or _place(file, frame.f_lineno)
        frame = frame.f_back
    return fallback


class Places:
    """``user_source`` for many calls: a place is found out once, because a frame has to search for its line."""

    def __init__(self) -> None:
        self._ours: dict[int, CodeType] = {}  # code is kept, because it is known by its id
        self._known: dict[tuple[int, int], tuple[CodeType, Source | None]] = {}

    def here(self) -> Source | None:
        """File and line of the user's call."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if id(code) not in self._ours:
                known = self._known.get((id(code), frame.f_lasti))
                if known is not None:
                    return known[1]
                if not _is_ours(frame):
                    found = user_source()
                    if not installed(code.co_filename):
                        self._known[id(code), frame.f_lasti] = code, found
                    return found
                self._ours[id(code)] = code
            frame = frame.f_back
        return None


def _is_ours(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return bool(module == _OWN or module.startswith(_OWN_PREFIX))


@lru_cache(maxsize=4096)
def _place(file: str, line: int) -> Source:
    return Source(file, line)


def refusal(error: type[DefinitionError], message: str) -> DefinitionError:
    """An error that carries the user's file and line; to be raised by the caller."""
    source = user_source()
    return error(message) if source is None else error(message, file=source.file, line=source.line)


def located(error: DefinitionError) -> DefinitionError:
    """The same error with the user's file and line, if it has none yet."""
    return error if error.details.get("file") else refusal(type(error), error.message)
