"""Memory of this process and all that it has started, while something runs: what is their own, not mapped files."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil

SAMPLE_S = 0.1
MEMORY = "all processes, added MB"


class PeakMemory:
    """A ``with`` block whose memory is watched.

    Attributes:
        added_mb: Most that all together held, over what they held at the beginning; shared memory counted once.
    """

    def __init__(self) -> None:
        self.added_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._before = sum(_total(_own_mb()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """For a reading."""
        return {MEMORY: self.added_mb}

    def _watch(self) -> None:
        while True:
            self.added_mb = max(self.added_mb, sum(_total(_own_mb())) - self._before)
            if self._ended.wait(SAMPLE_S):
                return


def _total(held: list[tuple[float, float]]) -> tuple[float, float]:
    return sum(private for private, _ in held), max((shared for _, shared in held), default=0.0)


def _own_mb() -> list[tuple[float, float]]:
    """Of each process its private memory and what of shared memory it has touched; resident memory elsewhere."""
    found = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        status = Path(f"/proc/{process.pid}/status")
        try:
            if os.path.isdir("/proc/self"):
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                kb = [int(lines.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem")]
                found.append((kb[0] / 1024, kb[1] / 1024))
            else:
                found.append((process.memory_info().rss / 2**20, 0.0))
        except (OSError, psutil.Error):  # it has ended meanwhile
            continue
    return found
