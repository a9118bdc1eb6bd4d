"""Dying at a chosen write: the n-th change of journal or artifact store ends this process with SIGKILL."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.ports.artifacts import ArtifactStore
from orchestrator.ports.journal import Journal

if TYPE_CHECKING:
    from orchestrator.types import Digest

WRITES = frozenset({"create", "own", "append", "save_snapshot", "post", "put"})
"""Methods of journal and artifact store that change something durable."""


class CrashPoint(NamedTuple):
    """Where to die: ``before`` the ``number``-th write (from 1) or ``after`` it, before anybody hears of it."""

    number: int
    moment: Literal["before", "after"]


class CrashingInstallation(Installation):
    """An installation whose process dies at a crash point; counts its writes.

    Args:
        point: None to only count.
    """

    def __init__(self, settings: Settings, point: CrashPoint | None = None) -> None:
        super().__init__(settings)
        self.writes = 0
        self._point = point

    @cached_property
    def journal(self) -> Journal:
        """The journal, counting."""
        counting: Any = _Counting(super().journal, self._around)
        return counting  # type: ignore[no-any-return]

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store, counting."""
        counting: Any = _Counting(super().artifacts, self._around)
        return counting  # type: ignore[no-any-return]

    def _around(self, write: Callable[[], Any]) -> Any:
        self.writes += 1
        number = self.writes
        if self._point == (number, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        done = write()
        if self._point == (number, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return done


class _Counting:
    """A journal or store whose writes go through ``around``."""

    def __init__(self, inner: object, around: Callable[[Callable[[], Any]], Any]) -> None:
        self._inner = inner
        self._around = around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in WRITES:
            return found
        return lambda *args, **kwargs: self._around(lambda: found(*args, **kwargs))

    def exists(self, digest: Digest) -> bool:
        """Reads go straight through."""
        return bool(self._inner.exists(digest))  # type: ignore[attr-defined]
