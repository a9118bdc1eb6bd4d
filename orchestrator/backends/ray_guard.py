"""Ends what is left of a local Ray when the process that started it is killed.

Ray binds most of its processes to the driver, but its agents look for a dead head for a minute before they give up.
All processes of a local Ray carry a mark, and a small process that outlives the driver ends those that do not go.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.backends.bundles import orphans

GRACE_S = 3.0
"""How long the processes may take to end by themselves."""

_END_S = 10.0
_ROOT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from orchestrator.backends.ray_guard import main; main(sys.argv[2])"
)


class ProcessGuard:
    """A process that waits for the end of this one, then ends everything that carries the mark (``orphans.MARK``)."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, _ROOT, self.mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextmanager
    def marking(self) -> Iterator[None]:
        """What is started meanwhile carries the mark, and so does all that it starts."""
        before = os.environ.get(orphans.MARK)
        os.environ[orphans.MARK] = self.mark
        try:
            yield
        except BaseException:
            self.end()
            raise
        finally:
            del os.environ[orphans.MARK]
            if before is not None:
                os.environ[orphans.MARK] = before

    def end(self) -> None:
        """End the guard now, and with it whatever still carries the mark."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(mark: str) -> None:
    """Wait for the end of standard input, which is that of the driver, then see to it that what it started ends."""
    sys.stdin.read()
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and orphans.are_there(mark):
        time.sleep(0.1)
    orphans.kill_children(mark)
