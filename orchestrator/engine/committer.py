"""Commits in a thread of its own, so that the driver's loop never waits for the disk.

One transaction is under way at a time; what is applied meanwhile waits and makes the next one, so groups grow with the
load by themselves. Facts are committed in the order in which they were applied. Whoever needs durability waits with
``flush``: effects, the end of the run, and a driver that stops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator.errors import CursorElsewhere, StoreUnavailable
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Append, Journal

RETRY_S = 1.0
"""Pause before a full or absent store is tried again."""


class Committer:
    """Appends to one journal, one transaction after the other.

    Args:
        on_committed: Told of each transaction after it is durable, from the committing thread.
        wake: Called when a transaction has ended, well or not.

    Attributes:
        in_trouble: The store is full or away, and the transaction under way is being repeated.
        refused: A transaction of which nothing was written, because a cursor is elsewhere, and that error.
    """

    def __init__(
        self, journal: Journal, clock: Clock, on_committed: Callable[[Append], None], wake: Callable[[], None]
    ) -> None:
        self.in_trouble = False
        self.refused: tuple[Append, CursorElsewhere] | None = None
        self._journal = journal
        self._clock = clock
        self._on_committed = on_committed
        self._wake = wake
        self._changed = threading.Condition()
        self._under_way: Append | None = None
        self._failure: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._main, name="committer", daemon=True)
        self._begin()

    def _begin(self) -> None:
        self._thread.start()

    @property
    def busy(self) -> bool:
        """True while a transaction is under way."""
        return self._under_way is not None

    def commit(self, append: Append) -> None:
        """Begin a transaction; only when not ``busy``.

        Raises:
            StaleEpoch, StoreUnavailable: the one before failed; nothing of this one is written.
        """
        self.raise_failure()
        with self._changed:
            assert self._under_way is None
            self._under_way = append
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until the transaction under way has ended; raises as ``commit``."""
        with self._changed:
            while self._under_way is not None and self._failure is None:
                self._changed.wait()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what a transaction failed with, if one has."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread after the transaction under way; a store in trouble is given up."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _main(self) -> None:
        while True:
            with self._changed:
                while self._under_way is None and not self._closing:
                    self._changed.wait()
                append = self._under_way
            if append is None:
                return
            while not self._attempt(append):
                self._clock.sleep(RETRY_S)
            if self._failure is not None:
                return

    def _attempt(self, append: Append) -> bool:
        """Try the transaction under way once; False if the store is full or away, and it is to be tried again."""
        try:
            self._journal.append(append)
            self.in_trouble = False
            self._on_committed(append)
        except CursorElsewhere as error:  # the driver ends the run another way
            self.refused = append, error
        except BaseException as error:  # handed to the driver, which cannot go on
            if isinstance(error, StoreUnavailable) and not self._closing:
                self.in_trouble = True
                return False
            self._failure = error
        with self._changed:
            if self._failure is None:
                self._under_way = None
            self._changed.notify_all()
        self._wake()
        return True
