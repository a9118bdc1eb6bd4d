"""What the journal needs of a database: transactions, the few statements that differ, and who drives a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection, bindparam, update

from orchestrator.ports.journal import Ownership
from orchestrator.store.schema import run as runs

FactRow: TypeAlias = tuple[str, int, str, bytes, float]
"""run, seq, kind, body, at"""

T = TypeVar("T")

LEASE_S = 10.0
"""Time without a heartbeat after which a run may be taken over: long enough for a stall, short enough to wait for."""

_TAKE_OVER = (
    update(runs)
    .where(runs.c.id == bindparam("run"))
    .values(epoch=runs.c.epoch + 1, driver=bindparam("name"))
    .returning(runs.c.epoch)
)


class Database(Protocol):
    """One database. Thread-safe.

    Attributes:
        label: Its name for people, without a password.
        found: The schema that it had when it was opened; None if it was empty.
    """

    label: str
    found: str | None

    @property
    def insert(self) -> Callable[[Any], Any]:
        """``INSERT`` in the database's own dialect, which knows ``ON CONFLICT``."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """A short transaction that changes nothing."""
        ...

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that is durable when the block ends, or undone if it raises."""
        ...

    def still(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of all tables, however long it takes; nobody waits for it."""
        ...

    def repeat(self, work: Callable[[], T]) -> T:
        """Do work that opens a transaction, again if the connection was lost: it must not mind being done twice."""
        ...

    def insert_facts(self, connection: Connection, rows: list[FactRow]) -> None:
        """Insert facts of one append, whose sequence numbers follow each other, in one go."""
        ...

    def own(self, run: str, driver: str) -> Ownership:
        """Take a run over under the next epoch; raises RunOwned if a living driver holds it."""
        ...

    def own_new(self, run: str, driver: str, create: Callable[[Connection], str]) -> Ownership | str:
        """Make a run and begin its first epoch in one transaction; the id that ``create`` gives if that is another."""
        ...

    def holder(self, run: str) -> str | None:
        """The living driver that holds a run, or None."""
        ...

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding a run, or None."""
        ...

    def damage(self) -> list[str]:
        """What the database itself says is broken, at most a few lines; empty if nothing is."""
        ...

    def close(self) -> None:
        """Release the runs owned through this object and close connections; no error if already done."""
        ...


def raise_epoch(connection: Connection, run: str, driver: str) -> int:
    """Begin the next epoch of a run, whose facts are then only taken from that driver; returns the epoch."""
    epoch: int = connection.execute(_TAKE_OVER, {"run": run, "name": driver}).scalar_one()
    return epoch
