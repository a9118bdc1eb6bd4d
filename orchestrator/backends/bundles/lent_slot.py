"""The slot that a ``@dynamic`` body may borrow from its pool, to run light calls itself.

A body holds no slot while it computes or waits. With one, a light call costs microseconds in place of a trip
through the driver; whoever needs the slot more gets it back after the call that runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator.ports.frames import Borrow, HandBack


class LentSlot:
    """A body's side of the loan. ``lent`` and ``recalled`` come from the listening thread, the rest from the body's."""

    def __init__(self, bundle: str, send: Callable[[Borrow | HandBack], None]) -> None:
        self._bundle = bundle
        self._send = send
        self._lock = threading.Lock()
        self._asked = self._held = self._in_use = self._recalled = False

    def take(self) -> bool:
        """Use the slot for a call; False if there is none: then one has been asked for."""
        with self._lock:
            if self._held:
                self._in_use = True
                return True
            if self._asked:
                return False
            self._asked = True
        self._send(Borrow(self._bundle))
        return False

    def done(self) -> None:
        """The call is over."""
        with self._lock:
            self._in_use = False
            recalled = self._recalled
        if recalled:
            self.hand_back()

    def hand_back(self) -> None:
        """Give the slot back, if it is held: the body is about to wait, or has ended."""
        with self._lock:
            held = self._held
            self._held = self._recalled = False
        if held:
            self._send(HandBack(self._bundle))

    def lent(self) -> None:
        """The pool has lent a slot."""
        with self._lock:
            self._held, self._asked = True, False

    def recalled(self) -> None:
        """The pool wants it back."""
        with self._lock:
            self._recalled = self._held and self._in_use
            if self._recalled:
                return
        self.hand_back()
