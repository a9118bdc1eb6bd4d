"""Where in the user's code something happens, for errors and for the drawn graph."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import FrameType

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
        module = frame.f_globals.get("__name__", "")
        if module != _OWN and not module.startswith(_OWN_PREFIX):
            file = frame.f_code.co_filename
            if not installed(file):
                return _place(file, frame.f_lineno)
            fallback = fallback or _place(file, frame.f_lineno)
        frame = frame.f_back
    return fallback


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
