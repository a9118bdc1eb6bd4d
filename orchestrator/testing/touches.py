"""What a step body does to the world outside, as Python's audit events tell it.

Files opened for writing, removed or renamed, sockets that connect, programs that are started. What C libraries do
without an audit event is not seen; nor is what a socket carries. Files that the body made and removed again do not
count, nor bytecode caches, devices, and whatever lies under folders that the engine itself writes to.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestrator.ports.values import digest_bytes

MOST_PAYLOAD_BYTES = 16 * 1024 * 1024
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {
    "os.remove": "removes", "os.rename": "renames", "os.mkdir": "makes the directory", "os.rmdir": "removes",
    "os.link": "links", "os.symlink": "links", "os.truncate": "truncates", "os.chmod": "changes",
    "sqlite3.connect": "opens the database",
}  # fmt: skip
_OTHERS = {"open", "socket.connect", "socket.sendto", "subprocess.Popen", "os.system", "os.posix_spawn"}


class Touch(NamedTuple):
    """Something done to the outside; ``payload`` is the digest of what was written, where that can be read back."""

    what: str
    target: str
    payload: str = ""


@dataclass(slots=True)
class Body:
    """What one running body has touched so far: sizes of files before, or None where there was no file."""

    touches: list[Touch] = field(default_factory=list)
    before: dict[str, int | None] = field(default_factory=dict)
    muted: bool = False


class Touches:
    """Listens to this process's audit events, for the rest of its life.

    Args:
        ignored: Folders whose files do not count.
    """

    def __init__(self, ignored: Sequence[str]) -> None:
        self._ignored = tuple(os.path.realpath(folder) + os.sep for folder in ignored)
        self._mine = threading.local()
        self._running: list[Body] = []
        sys.addaudithook(self._heard)

    @contextmanager
    def of_body(self) -> Iterator[list[Touch]]:
        """Collect what the body of this block touches; the list is complete when the block has ended."""
        outer: Body | None = getattr(self._mine, "body", None)
        body, found = Body(), list[Touch]()
        self._mine.body = body
        self._running.append(body)
        try:
            yield found
        finally:
            self._mine.body = outer
            self._running.remove(body)
            found += list(_lasting(body))

    @contextmanager
    def muted(self) -> Iterator[None]:
        """What this thread does in the block is not the body's."""
        outer: Body | None = getattr(self._mine, "body", None)
        self._mine.body = Body(muted=True)
        try:
            yield
        finally:
            self._mine.body = outer

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (event in _OTHERS or event in _PATHS) and self._running:
            body: Body | None = getattr(self._mine, "body", None)
            if body is None and len(self._running) == 1:
                body = self._running[0]  # a thread that the only running body has started, or one of the engine's
            if body is not None and not body.muted:
                self._note(body, event, arguments)

    def _note(self, body: Body, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._note_path(body, "writes", path)
        elif event in _PATHS:
            self._note_path(body, _PATHS[event], arguments[0])
        elif event.startswith("socket."):
            body.touches.append(Touch("connects to", _address(arguments[1])))
        else:
            body.touches.append(Touch("starts the program", _program(arguments)))

    def _note_path(self, body: Body, what: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        full = os.path.realpath(os.fsdecode(path))
        if full.startswith((*self._ignored, "/dev/", "/proc/")) or "__pycache__" in full or "/:memory:" in full:
            return
        body.before.setdefault(full, os.path.getsize(full) if os.path.exists(full) else None)
        if Touch(what, full) not in body.touches:
            body.touches.append(Touch(what, full))


def _lasting(body: Body) -> Iterator[Touch]:
    for touch in body.touches:
        if touch.target not in body.before:
            yield touch
        elif body.before[touch.target] is not None or os.path.exists(touch.target):
            yield touch._replace(payload=_written(touch.target, body.before[touch.target] or 0))


def _written(path: str, before: int) -> str:
    """Digest of what a body appended to a file, or of all of it if it is not longer than before."""
    if not os.path.isfile(path) or os.path.getsize(path) > MOST_PAYLOAD_BYTES:
        return ""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(before if size > before else 0)
        return digest_bytes(file.read())[:24]


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return ":".join(str(part) for part in address[:2])
    return os.fsdecode(address) if isinstance(address, bytes | str) else str(address)


def _program(arguments: tuple[Any, ...]) -> str:
    given = arguments[1] if len(arguments) > 1 and arguments[1] else arguments[0]
    words = given if isinstance(given, list | tuple) else [given]
    return " ".join(os.fsdecode(word) if isinstance(word, bytes | os.PathLike) else str(word) for word in words)[:120]
