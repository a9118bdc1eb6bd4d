"""A slot on a cluster, apart from the worker that uses it.

Ray ties what an actor reserves to the actor's life, and an actor takes a second to start. So a pool worker is an actor
that reserves nothing, and its CPU is held by a task that only waits at a socket: that comes and goes in milliseconds,
and the worker stays, parked, until it is needed again. Ray ends such tasks with their driver, like everything else.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any


class Slot:
    """One CPU, once its task has called back.

    Attributes:
        name: What its task is watched under.
        identity, token: What its task proves to be and to know.
        task: Ray's reference to the task.
    """

    def __init__(self, name: str, identity: bytes, token: bytes, released: Callable[[Slot], None]) -> None:
        self.name = name
        self.identity = identity
        self.token = token
        self.task: Any = None
        self._on_release = released
        self._connection: socket.socket | None = None
        self._released = False

    @property
    def arrived(self) -> bool:
        """True once the task has called back."""
        return self._connection is not None

    @property
    def held(self) -> bool:
        """True while the task runs for us."""
        return self._connection is not None and not self._released

    def attach(self, connection: socket.socket) -> bool:
        """The task has called back; False if nobody wants its CPU any more."""
        if self._released or self._connection is not None:
            return False
        self._connection = connection
        return True

    def release(self) -> None:
        """Let the task end; no error if already done."""
        if self._released:
            return
        self._released = True
        self._on_release(self)
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()
