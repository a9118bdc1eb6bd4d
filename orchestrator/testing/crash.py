"""Dying at a chosen write: the n-th change of journal or artifact store ends this process with SIGKILL.

There are three moments to die at: before anything of the write has happened; when all of it is written but nothing is
published (the rows are in the transaction and COMMIT has not been executed; the artifact's file is complete and not yet
renamed); and when it is durable but nobody has been told.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.journal import Journal

if TYPE_CHECKING:
    from orchestrator.types import Digest

WRITES = frozenset({"create", "begin", "own", "append", "save_snapshot", "post", "put"})
"""Methods of journal and artifact store that change something durable."""

Moment = Literal["before", "commit", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "commit", "after")


class CrashPoint(NamedTuple):
    """Where to die: at the ``number``-th write (from 1), ``before`` it, at its ``commit``, or right ``after`` that."""

    number: int
    moment: Moment


class CrashingInstallation(Installation):
    """An installation whose process dies at a crash point.

    Args:
        point: None to only count.

    Attributes:
        writes: Names of the writes so far, in order.
    """

    def __init__(self, settings: Settings, point: CrashPoint | None = None) -> None:
        super().__init__(settings)
        self.writes: list[str] = []
        self._point = point
        self._counting = threading.Lock()
        self._publishing: int | None = None  # thread that is to die at its commit
        if point is not None and point.moment == "commit":
            sys.addaudithook(self._die_at_rename)  # stays for the rest of this process's life, which is short

    @cached_property
    def journal(self) -> Journal:
        """The journal, counting."""
        inner: Any = super().journal
        _before_commit(inner._database, self._die_if_publishing)
        counting: Any = _Counting(inner, self._around)
        return counting  # type: ignore[no-any-return]

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store, counting."""
        counting: Any = _Counting(super().artifacts, self._around)
        return counting  # type: ignore[no-any-return]

    def _around(self, name: str, write: Callable[[], Any]) -> Any:
        with self._counting:
            self.writes.append(name)
            number = len(self.writes)
        moment = self._point.moment if self._point is not None and self._point.number == number else None
        if moment == "before":
            _die()
        if moment == "commit":
            self._publishing = threading.get_ident()
        try:
            done = write()
        finally:
            if moment == "commit":  # it had nothing to publish: the artifact is there already
                self._publishing = None
        if moment == "after":
            _die()
        return done

    def _die_if_publishing(self) -> None:
        if self._publishing == threading.get_ident():
            _die()

    def _die_at_rename(self, event: str, _arguments: object) -> None:
        if event == "os.rename":
            self._die_if_publishing()


def _before_commit(database: Any, then: Callable[[], None]) -> None:
    """Have a database call back at the end of each write transaction, when COMMIT comes next."""
    write = database.write

    @contextmanager
    def watched() -> Iterator[Any]:
        with write() as connection:
            yield connection
            then()

    database.write = watched


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Counting:
    """A journal or store whose writes go through ``around``."""

    def __init__(self, inner: object, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._inner = inner
        self._around = around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in WRITES:
            return found
        return lambda *args, **kwargs: self._around(name, lambda: found(*args, **kwargs))

    def exists(self, digest: Digest) -> bool:
        """Reads go straight through."""
        return bool(self._inner.exists(digest))  # type: ignore[attr-defined]
