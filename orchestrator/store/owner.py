"""Who drives a run: a kernel lock on a file per run, in a folder beside the database."""

from __future__ import annotations

import os
import threading
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote
from weakref import WeakMethod

from orchestrator.errors import RunOwned, StoreUnavailable
from orchestrator.store.lock import FileLock, holder, left_by, take

_NAME_LIMIT = 200


class RunOwnership:
    """A driver's hold on a run."""

    def __init__(self, run: str, epoch: int, lock: FileLock) -> None:
        self.run = run
        self.epoch = epoch
        self._lock = lock

    def verify(self) -> None:
        """Nothing to do: the kernel gives the lock to nobody else while this process lives, frozen or not."""

    def release(self) -> None:
        """Give the run up; no error if already done."""
        self._lock.release()


class RunLocks:
    """The locks of the runs of one database; those taken here are let go by ``close``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[FileLock] = []
        self._mutex = threading.Lock()
        forget = WeakMethod(self._forget)

        def in_child() -> None:
            if method := forget():
                method()

        os.register_at_fork(after_in_child=in_child)

    def take(self, run: str, driver: str) -> FileLock:
        """Lock a run in the name of a driver.

        Raises:
            RunOwned: a living driver holds the run.
            StoreUnavailable: the lock file cannot be written.
        """
        path = self._path(run)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = take(path, driver)
            if lock is None:
                name = holder(path) or "another driver"
                raise RunOwned(
                    f"run {run} is driven by {name}; wait for it (orc resume --wait), or end that process and resume",
                    run=run,
                    driver=name,
                )
        except OSError as error:
            raise StoreUnavailable(f"run {run} cannot be locked: {error}; free or repair {self._folder}") from error
        with self._mutex:
            self._held = [other for other in self._held if other.held] + [lock]
        return lock

    def holder(self, run: str) -> str | None:
        """The living driver that holds a run, or None."""
        try:
            return holder(self._path(run))
        except OSError as error:
            raise StoreUnavailable(f"the owner of run {run} cannot be read: {error}") from error

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding a run: its lock file is there, and nobody's; None otherwise."""
        try:
            return left_by(self._path(run))
        except OSError as error:
            raise StoreUnavailable(f"the owner of run {run} cannot be read: {error}") from error

    def close(self) -> None:
        """Release everything taken here."""
        with self._mutex:
            for lock in self._held:
                lock.release()
            self._held.clear()

    def _forget(self) -> None:
        # A child forked by a stage that runs in this process must not keep the run locked after its parent is gone.
        for lock in self._held:
            lock.forget()
        self._held.clear()

    def _path(self, run: str) -> Path:
        name = quote(run, safe="", errors="replace")
        if len(name) > _NAME_LIMIT or run != run.lower():
            # Names have a limit, and on some disks do not tell upper from lower case.
            name = f"{name[:100]}-{sha256(name.encode()).hexdigest()}"
        return self._folder / f"{name}.lock"
