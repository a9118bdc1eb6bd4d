"""Kernel locks on files: they exclude processes and threads alike, and end with the process that holds them.

``flock`` belongs to the open file, so two owners in one process exclude each other too, and a killed driver is
succeeded at once. The file's text says who holds it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

_ATTEMPTS = 200
_PAUSE_S = 0.001
_NOTE_BYTES = 4096


class FileLock:
    """An exclusive lock that is held; made by ``take``."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._mutex = threading.Lock()

    @property
    def held(self) -> bool:
        """False once the lock was released or forgotten."""
        return self._fd >= 0

    def release(self) -> None:
        """Give the lock up and remove its file; no error if already done."""
        with self._mutex:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            # Removed while still locked: whoever opened it meanwhile sees that the name is gone and starts over.
            self.path.unlink(missing_ok=True)
            # Not only closed: a forked child may hold a copy of the descriptor.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def forget(self) -> None:
        """Close this process's copy without unlocking: for a forked child, which owns nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def take(path: Path, note: str) -> FileLock | None:
    """Lock a file and write ``note`` into it; None if somebody holds it.

    Raises:
        OSError: the file cannot be made or written.
    """
    for _ in range(_ATTEMPTS):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        taken = False
        try:
            if not _exclusive(fd):
                return None
            if _is_at(fd, path):
                os.ftruncate(fd, 0)
                os.pwrite(fd, note.encode(errors="replace")[:_NOTE_BYTES], 0)
                taken = True
                return FileLock(path, fd)
        finally:
            if not taken:
                os.close(fd)
    return None


def take_within(path: Path, note: str, timeout_s: float) -> FileLock | None:
    """Like ``take``, but wait up to ``timeout_s`` for the holder."""
    deadline = time.monotonic() + timeout_s
    while (lock := take(path, note)) is None and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    return lock


def holder(path: Path) -> str | None:
    """The note of whoever holds the lock, or None if it is free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _try(fd, fcntl.LOCK_SH):
            return None
        return os.pread(fd, _NOTE_BYTES, 0).decode(errors="replace") or "a driver that is just starting"
    finally:
        os.close(fd)


def left_by(path: Path) -> str | None:
    """The note of a holder that died, and so left its file behind; None if it is held, or was given up in order."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not _try(fd, fcntl.LOCK_SH) or not _is_at(fd, path):
            return None
        return os.pread(fd, _NOTE_BYTES, 0).decode(errors="replace") or None
    finally:
        os.close(fd)


def _exclusive(fd: int) -> bool:
    for _ in range(_ATTEMPTS):
        if _try(fd, fcntl.LOCK_EX):
            return True
        # ``holder`` locks for an instant to look; only when no shared lock is to be had either is there an owner.
        if not _try(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(_PAUSE_S)
    return False


def _try(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
