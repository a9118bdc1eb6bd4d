"""What a running step has printed so far: a note that its worker keeps beside its log, for whoever watches the step.

Facts say where the output of a step stands when it is over. Until then the note does, for the one step of a worker
that has run long enough to be watched; what it points at is whole lines, with secrets blotted out.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class LiveLog(msgspec.Struct, array_like=True, frozen=True):
    """Bytes ``start..stop`` of the worker's log are what the running step has printed."""

    bundle: str
    node: str
    index: int
    start: int
    stop: int

    def encode(self) -> bytes:
        """As text."""
        return msgspec.json.encode(self)


def live_path(log: Path) -> Path:
    """Where the note about a log is."""
    return log.with_suffix(".now")


def read_live(log: Path) -> LiveLog | None:
    """The note about a log; None if there is none that can be read."""
    try:
        return msgspec.json.decode(live_path(log).read_bytes(), type=LiveLog)
    except (OSError, msgspec.DecodeError):
        return None


def read_range(log: Path, start: int, stop: int) -> bytes:
    """Bytes of a log; one that cannot be read, such as that of another machine, is told in their place."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)
    except OSError as error:
        return f"[the log {log} cannot be read: {error.strerror}]\n".encode()
