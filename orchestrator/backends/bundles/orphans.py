"""Ending processes that steps have started, also those that hid in a session of their own.

Every process of a worker carries the worker's mark in its environment, which children inherit; besides, the
worker leads a session of its own. Run as a program this is the guard of a driver: it waits until
the driver is gone and then ends what its workers have left. Standard library only, and nothing else of
the engine: the guard has to start fast.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "ORC_WORKER_MARK"
"""Environment variable that holds the mark: the transport's, a slash, the worker's name."""

GUARD_GRACE_S = 3.0
"""How long workers may take to end by themselves after their driver."""

_ROUNDS = 5


def kill_children(mark: str, session: int = 0) -> None:
    """Kill all processes that carry a mark (or one that continues it), or belong to a session; never this one.

    Args:
        session: Process id of a worker that leads a session; 0 for none.
    """
    for _ in range(_ROUNDS):  # a process may fork while we look
        found = [pid for pid in _family(mark, session) if pid != os.getpid()]
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(0.01)


def _family(mark: str, session: int) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid, environment in _environments():
        if wanted in environment or (session and _session_of(pid) == session):
            found.append(pid)
    return found


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _environments() -> Iterator[tuple[int, bytes]]:
    """Living processes with their initial environment, as far as we may see it."""
    proc = Path("/proc")
    if not (proc / "self" / "environ").exists():
        yield from _environments_by_ps()
        return
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if state != b"Z":
                    yield int(entry.name), (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is somebody else's


def _environments_by_ps() -> Iterator[tuple[int, bytes]]:
    listing = subprocess.run(["ps", "-axEww", "-o", "pid=,stat=,command="], capture_output=True, check=False)
    for line in listing.stdout.splitlines():
        pid, state, *rest = line.split(None, 2)
        if not state.startswith(b"Z"):
            yield int(pid), b"".join(rest)


def guard() -> None:
    """Wait for the end of standard input, which is the driver's, then end its workers."""
    mark, sessions = sys.argv[1], set()
    for line in sys.stdin:
        sessions.add(int(line))
    deadline = time.monotonic() + GUARD_GRACE_S
    while time.monotonic() < deadline and _family(mark, 0):
        time.sleep(0.1)
    kill_children(mark)
    for session in sessions:
        if any(_session_of(pid) == session for pid, _ in _environments()):
            kill_children(mark, session)


if __name__ == "__main__":
    guard()
