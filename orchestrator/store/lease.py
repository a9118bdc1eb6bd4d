"""Who drives a run, where drivers share nothing but the database: a lease that its owner renews, on the server's clock.

A thread renews all leases of this process every third of their time, whatever the work does. Whoever finds a lease
that has run out takes it and raises the epoch; the fence then refuses the former owner. A driver that was frozen asks
(``verify``) before it goes on, so it does not submit work for a run that is another's. The time is the server's
``clock_timestamp()``, since that of a transaction stands still while it waits for a lock.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Double, bindparam, cast, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from orchestrator.errors import RunOwned, StoreUnavailable
from orchestrator.store.database import raise_epoch
from orchestrator.store.fence import standing, taken_over
from orchestrator.store.schema import lease

_BEATS = 3
"""Heartbeats in the time of one lease."""

Transaction = Callable[[], AbstractContextManager[Connection]]

_log = logging.getLogger(__name__)

_now = cast(func.extract("epoch", func.clock_timestamp()), Double)
_until = _now + bindparam("lease_s")
_new = insert(lease).values(
    run=bindparam("run"), driver=bindparam("driver"), epoch=0, token=bindparam("token"), expires_at=_until
)
_TAKE = _new.on_conflict_do_update(
    index_elements=["run"],
    set_={column: _new.excluded[column] for column in ("driver", "token", "expires_at")},
    where=or_(lease.c.expires_at <= _now, lease.c.token == _new.excluded.token),
)
_NOTE_EPOCH = update(lease).where(lease.c.run == bindparam("of_run")).values(epoch=bindparam("new_epoch"))
_HOLDER = select(lease.c.driver, lease.c.expires_at > _now).where(lease.c.run == bindparam("run"))
_RENEW = (
    update(lease)
    .where(lease.c.run == bindparam("of_run"), lease.c.token == bindparam("of_token"))
    .values(expires_at=_until)
)
_END = delete(lease).where(lease.c.run == bindparam("of_run"), lease.c.token == bindparam("of_token"))


class Leased:
    """A driver's hold on a run. Times are monotonic seconds of this process."""

    def __init__(self, run: str, epoch: int, token: str, good_until: float, leases: RunLeases) -> None:
        self.run = run
        self.epoch = epoch
        self.token = token
        self.good_until = good_until
        self.lost = False
        self._leases = leases

    def verify(self) -> None:
        """Nothing while the lease is good; else ask the database, and renew it if nobody has taken the run over.

        Raises:
            StaleEpoch: another driver has taken over.
            StoreUnavailable: the database does not answer.
        """
        if self.lost or time.monotonic() >= self.good_until:
            self._leases.verify(self)

    def release(self) -> None:
        """Give the run up; no error if already done, or if the database is away: the lease then runs out."""
        self._leases.release(self)


class RunLeases:
    """The leases that this process holds in one database, and the thread that renews them.

    Args:
        lease_s: How long a lease lasts.
        beat: Opens a transaction on the connection that is kept for heartbeats.
        write: Opens a transaction on another connection.
        repeat: Does work again when the connection was lost.
    """

    def __init__(
        self, lease_s: float, beat: Transaction, write: Transaction, repeat: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._lease_s = lease_s
        self._beat = beat
        self._write = write
        self._repeat = repeat
        self._held: dict[str, Leased] = {}
        self._mutex = threading.Lock()
        self._stop = threading.Event()

    def take(self, run: str, driver: str, create: Callable[[Connection], str]) -> Leased | str:
        """Lease a run in the name of a driver, under its next epoch; raises RunOwned.

        ``create`` makes the run if need be, in the same transaction; what it gives is returned if that is another run.
        """
        token = secrets.token_hex(8)
        taken: Leased | str = self._repeat(lambda: self._take(run, driver, token, create))
        if isinstance(taken, str):
            return taken
        with self._mutex:
            if not self._held:
                self._stop = threading.Event()
                threading.Thread(target=self._keep, args=(self._stop,), name="leases", daemon=True).start()
            self._held[token] = taken
        return taken

    def _take(self, run: str, driver: str, token: str, create: Callable[[Connection], str]) -> Leased | str:
        asked_at = time.monotonic()
        with self._write() as connection:
            there = create(connection)
            if there != run:
                return there
            values = {"run": run, "driver": driver, "token": token, "lease_s": self._lease_s}
            if connection.execute(_TAKE, values).rowcount != 1:
                name = connection.execute(_HOLDER, {"run": run}).scalar() or "another driver"
                advice = "wait for it (orc resume --wait), or end that process and resume"
                raise RunOwned(f"run {run} is driven by {name}; {advice}", run=run, driver=name)
            epoch = raise_epoch(connection, run, driver)
            connection.execute(_NOTE_EPOCH, {"of_run": run, "new_epoch": epoch})
        return Leased(run, epoch, token, asked_at + self._lease_s, self)

    def holder(self, connection: Connection, run: str) -> str | None:
        """The driver whose lease of a run is good, or None."""
        row = connection.execute(_HOLDER, {"run": run}).one_or_none()
        return row[0] if row is not None and row[1] else None

    def abandoned(self, connection: Connection, run: str) -> str | None:
        """The driver whose lease of a run has run out, which a driver that lives gives back; None otherwise."""
        row = connection.execute(_HOLDER, {"run": run}).one_or_none()
        return row[0] if row is not None and not row[1] else None

    def verify(self, leased: Leased) -> None:
        """See ``Leased.verify``."""
        if not leased.lost:
            self._repeat(lambda: self._renew([leased], self._write))
        if leased.lost:
            with self._write() as connection:
                raise taken_over(leased.run, leased.epoch, standing(connection, leased.run))

    def release(self, leased: Leased) -> None:
        """See ``Leased.release``."""
        with self._mutex:
            if self._held.pop(leased.token, None) is None:
                return
            if not self._held:
                self._stop.set()
        try:
            with self._write() as connection:
                connection.execute(_END, {"of_run": leased.run, "of_token": leased.token})
        except StoreUnavailable as error:
            _log.warning("the lease of run %s cannot be given back and runs out instead: %s", leased.run, error)

    def close(self) -> None:
        """Give everything back."""
        for leased in list(self._held.values()):
            self.release(leased)

    def forget(self) -> None:
        """In a forked child, which owns nothing: its parent goes on renewing."""
        self._mutex = threading.Lock()
        self._held.clear()

    # ---- heartbeats

    def _keep(self, stop: threading.Event) -> None:
        while not stop.wait(self._lease_s / _BEATS):
            with self._mutex:
                held = [leased for leased in self._held.values() if not leased.lost]
            try:
                self._renew(held, self._beat)
            except StoreUnavailable as error:
                _log.warning("leases cannot be renewed now: %s", error)

    def _renew(self, held: list[Leased], transaction: Transaction) -> None:
        """Renew leases, also those that ran out unless somebody has taken them; those are ``lost`` for good."""
        for leased in held:
            asked_at = time.monotonic()
            values = {"of_run": leased.run, "of_token": leased.token, "lease_s": self._lease_s}
            with transaction() as connection:
                renewed = connection.execute(_RENEW, values).rowcount == 1
            if renewed:
                leased.good_until = asked_at + self._lease_s
            else:
                leased.lost = True
