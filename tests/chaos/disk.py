"""A disk that can be filled: a small file system in memory, where this process may mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_BLOCK = b"\xaa" * 65536


class Disk:
    """A folder on a file system of its own; an ordinary folder where mounting is not permitted.

    Args:
        megabytes: Its size.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "orc-chaos", str(folder)]
        try:
            self.can_be_filled = subprocess.run(mount, capture_output=True).returncode == 0
        except FileNotFoundError:
            self.can_be_filled = False

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more can be written in the block."""
        ballast = self.folder / "ballast"
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for size in (len(_BLOCK), 4096, 1):
                with contextlib.suppress(OSError):
                    while os.write(descriptor, _BLOCK[:size]) == size:
                        pass
            yield
        finally:
            os.close(descriptor)
            ballast.unlink()

    def close(self) -> None:
        """Give it back."""
        if self.can_be_filled:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
