"""What steps print: one file per worker, and where in it each step's output stands.

The process's standard output and error are the file itself, so children and C code end up there too. A step that
prints without end is cut to its share while it runs: the file is shortened behind its back, and what it
prints next is appended again. Secrets are blotted out in place, which moves no offset.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from orchestrator.ports.logs import LiveLog, live_path

LOG_BYTES = 1024 * 1024
"""Default share of one step."""

UNNOTICED_US = 50
"""Output that did not come through Python is looked for only after steps that took this long."""


class Log(Protocol):
    """Where steps print."""

    path: str

    def end_step(self, elapsed_us: int) -> tuple[int, int] | None:
        """A step is over; byte offsets of what it printed since the last one, None if nothing."""
        ...

    def tick(self) -> None:
        """Called ten times a second while steps run, from another thread."""
        ...

    def show(self, bundle: str, node: str, index: int, runs: Callable[[], bool]) -> None:
        """Let others read what the running step has printed so far; called as ``tick``.

        Args:
            runs: Says if the step still runs.
        """
        ...

    def hide(self, secret: str) -> None:
        """Blot a text out wherever it is printed from now on."""
        ...

    def mask(self, text: str) -> str:
        """The text with every hidden secret blotted out."""
        ...


class Masks:
    """Secrets that must not be seen."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def hide(self, secret: str) -> None:
        """Blot this text out from now on."""
        for part in (secret, *secret.splitlines()):
            if len(part) >= 4 and part not in self._texts:
                self._texts.append(part)
        self._texts.sort(key=len, reverse=True)

    def mask(self, text: str) -> str:
        """The text with secrets replaced."""
        for secret in self._texts:
            text = text.replace(secret, "***")
        return text

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Where secrets stand in some bytes: (start, stop)."""
        found = []
        for secret in self._texts:
            wanted = secret.encode("utf-8", "surrogatepass")
            at = data.find(wanted)
            while at >= 0:
                found.append((at, at + len(wanted)))
                at = data.find(wanted, at + 1)
        return found

    def __bool__(self) -> bool:
        return bool(self._texts)


class NoLog(Masks):
    """For steps in the user's own process: they print where the user looks."""

    path = ""

    def end_step(self, elapsed_us: int) -> tuple[int, int] | None:
        """Nothing is captured."""
        return None

    def tick(self) -> None:
        """Nothing is captured."""

    def show(self, bundle: str, node: str, index: int, runs: Callable[[], bool]) -> None:
        """Nothing is captured."""


class _Printed(io.TextIOWrapper):
    """Standard output that says when it is used; lines reach the file at once."""

    def __init__(self, descriptor: int, note: Callable[[], None], mask: Callable[[str], str]) -> None:
        raw = io.FileIO(descriptor, "wb", closefd=False)
        super().__init__(
            io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True, newline="\n"
        )
        self._note = note
        self._mask = mask

    def write(self, text: str) -> int:
        self._note()
        super().write(self._mask(text))
        return len(text)


class WorkerLog(Masks):
    """The log file of a worker process, in place of its standard output and error.

    Args:
        path: The file; appended to if it is there.
        step_bytes: Most bytes that are kept of one step.
    """

    def __init__(self, path: Path, step_bytes: int = LOG_BYTES) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = str(path)
        self._step_bytes = step_bytes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._start = os.lseek(self._file, 0, os.SEEK_END)
        self._cut = 0
        self._printed = False
        self._shown = LiveLog("", "", 0, 0, 0)
        self._lock = threading.Lock()

    def take_over(self) -> None:
        """Make the file this process's standard output and error, for Python, C code and children."""
        os.dup2(self._file, 1)
        os.dup2(self._file, 2)
        note = self._note
        sys.stdout = sys.__stdout__ = _Printed(1, note, self.mask)  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _Printed(2, note, self.mask)  # type: ignore[misc]

    def _note(self) -> None:
        self._printed = True

    def end_step(self, elapsed_us: int) -> tuple[int, int] | None:
        """See ``Log``."""
        if self._printed:
            self._printed = False
            sys.stdout.flush()
            sys.stderr.flush()
        elif elapsed_us < UNNOTICED_US:
            return None
        with self._lock:
            stop = os.lseek(self._file, 0, os.SEEK_END)
            start = self._start
            if stop == start and not self._cut:
                return None
            self._shorten(stop)
            if self._cut:
                note = f"\n[{self._cut} more bytes of this step were not kept]\n"
                os.write(self._file, note.encode())
                self._cut = 0
            stop = os.lseek(self._file, 0, os.SEEK_END)
            if self:
                self._blot(start, stop)
            self._start = stop
            return start, stop

    def tick(self) -> None:
        """See ``Log``."""
        with self._lock:
            self._shorten(os.lseek(self._file, 0, os.SEEK_END))

    def show(self, bundle: str, node: str, index: int, runs: Callable[[], bool]) -> None:
        """See ``Log``; whole lines only, so that no secret is cut in two."""
        with self._lock:
            start, size = self._start, os.lseek(self._file, 0, os.SEEK_END)
            if size <= max(start, self._shown.stop if self._shown.start == start else 0):
                return
            stop = start + os.pread(self._file, size - start, start).rfind(b"\n") + 1
            now = LiveLog(bundle, node, index, start, stop)
            if stop <= start or now == self._shown or not runs():
                return
            with contextlib.suppress(OSError):  # a full disk is no reason to stop looking after the step
                if self:
                    self._blot(start, stop)
                draft = Path(f"{self.path}.draft")
                draft.write_bytes(now.encode())
                draft.replace(live_path(Path(self.path)))
                self._shown = now

    def _shorten(self, size: int) -> None:
        """Cut the running step's output to its share; writers append, so they go on from there."""
        excess = size - self._start - self._step_bytes
        if excess > 0:
            os.ftruncate(self._file, self._start + self._step_bytes)
            self._cut += excess

    def _blot(self, start: int, stop: int) -> None:
        found = self.find(os.pread(self._file, stop - start, start))
        if found:
            with open(self.path, "r+b", buffering=0) as file:  # the other descriptor can only append
                for low, high in found:
                    os.pwrite(file.fileno(), b"*" * (high - low), start + low)
