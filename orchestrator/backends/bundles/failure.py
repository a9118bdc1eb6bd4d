"""What a worker says about an exception: text only, and nothing that an exception does can stop it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from traceback import walk_tb

from orchestrator.errors import OrchestratorError, StoreUnavailable
from orchestrator.ports.frames import Failed

MESSAGE_CHARS = 8_000
FRAMES = 30
_ENGINE = str(Path(__file__).resolve().parents[2]) + "/"


class StoreAway(StoreUnavailable):
    """The worker itself, and no step's body, found the store full or away: no failure of the step."""

    code = StoreUnavailable.code


def not_the_bodys(error: BaseException) -> BaseException:
    """An error that came while inputs were read or outputs stored, so that the driver can tell."""
    return StoreAway(error.message) if isinstance(error, StoreUnavailable) else error


def describe_failure(
    node: str, index: int, error: BaseException, root: str = "", mask: Callable[[str], str] = str
) -> Failed:
    """Classes, message and the user's frames of an exception, whatever its ``__str__`` does.

    Args:
        root: Directory of the unpacked capsule; files under it are named relative to it.
        mask: Hides secrets in a text.
    """
    return Failed(node, index, class_paths(type(error)), mask(_message(error)), _frames(error, root))


def class_paths(cls: type[BaseException]) -> list[str]:
    """``module:qualname`` of a class and its bases, most derived first."""
    return [_clean(f"{base.__module__}:{base.__qualname__}") for base in cls.__mro__ if base is not object]


def _message(error: BaseException) -> str:
    try:
        text = error.message if isinstance(error, OrchestratorError) else str(error)
        text = _clean(text) if isinstance(text, str) else f"(its message is a {type(text).__name__})"
    except BaseException as second:
        text = f"(its message cannot be shown: {type(second).__name__})"
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + f" … ({len(text)} characters)"


def _clean(text: str) -> str:
    """The text without lone surrogates, which no frame can carry."""
    return str.encode(text, "utf-8", "replace").decode("utf-8")


def _frames(error: BaseException, root: str) -> list[str]:
    found = []
    for frame, line in walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if not file.startswith(_ENGINE):
            found.append(
                _clean(f"{file.removeprefix(root + '/') if root else file}:{line} in {frame.f_code.co_qualname}")
            )
    return found[-FRAMES:]
