"""Ending processes that steps have started, also those that hid in a session of their own.

Every program that a step starts inherits the worker's mark in its environment; besides, the worker leads a
session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "ORC_WORKER_MARK"
"""Environment variable that holds the mark: the transport's, a slash, the worker's name."""

_ROUNDS = 5


def kill_children(mark: str, session: int = 0) -> None:
    """Kill all processes that carry a mark (or one that continues it), belong to a session or descend from its leader.

    Never the calling process.

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


def are_there(mark: str) -> bool:
    """True if some process carries a mark, or one that continues it."""
    return bool(_family(mark, 0))


def _family(mark: str, session: int) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found, parents = [], {}
    for pid, parent, environment in _processes():
        parents[pid] = parent
        if wanted in environment or (session and _session_of(pid) == session):
            found.append(pid)
    return [*found, *(pid for pid in parents if pid not in found and session in _ancestors(pid, parents))]


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while (pid := parents.get(pid, 0)) > 1:
        yield pid


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _processes() -> Iterator[tuple[int, int, bytes]]:
    """Living processes with their parent and their initial environment, as far as we may see it."""
    proc = Path("/proc")
    if not (proc / "self" / "environ").exists():
        yield from _processes_by_ps()
        return
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    yield int(entry.name), int(parent), (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is somebody else's


def _processes_by_ps() -> Iterator[tuple[int, int, bytes]]:
    columns = ["ps", "-axEww", "-o", "pid=,ppid=,stat=,command="]
    for line in subprocess.run(columns, capture_output=True, check=False).stdout.splitlines():
        pid, parent, state, *rest = line.split(None, 3)
        if not state.startswith(b"Z"):
            yield int(pid), int(parent), b"".join(rest)
