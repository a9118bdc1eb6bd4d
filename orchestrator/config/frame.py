"""Running code under a frame that seems to be somewhere else, so that errors and graphs name that place.

Whatever looks for the line of the user's code walks up the stack to the first frame that is not ours. For what a file
or a command line asks for, that line is in the file or command line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from orchestrator.config.document import Place

T = TypeVar("T")


def run_at(place: Place, action: Callable[[], T]) -> T:
    """Call ``action`` as if the call were written at ``place``."""
    code = compile("\n" * (place.line - 1) + "action()", place.file, "eval")
    return cast(T, eval(code, {"__name__": "a configured pipeline", "action": action}))
