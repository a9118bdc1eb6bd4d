"""What is particular to PostgreSQL: connections that break and come back, transactions, settings and error codes.

Commits are durable (``synchronous_commit`` is never ``off`` here). A connection may break at any moment, also between
a COMMIT and its answer; ``repeat`` then connects anew and does the work again, which finds out by a random id whether
the first time was a success. Sessions end by themselves when their client is frozen inside a transaction, so that it
keeps no row locked from whoever takes over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar
from weakref import WeakMethod

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.exc import ArgumentError, DBAPIError

from orchestrator.errors import ConfigError, JournalCorrupt, StoreUnavailable
from orchestrator.store.arrays import BytesArray, TextArray, register
from orchestrator.store.database import LEASE_S, FactRow
from orchestrator.store.lease import Leased, RunLeases
from orchestrator.store.migrations import prepare, revision
from orchestrator.store.schema import HEAD

T = TypeVar("T")

OUTAGE_S = 60.0
"""How long a call waits for a server that went away: a restart takes seconds, a failover up to a minute."""

_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_CONNECT_S = 10
_POOL_SIZE = 4
_MOST_CONNECTIONS = 16
_UPGRADING = 0x6F7263
"""Number of the advisory lock under which one process at a time makes or upgrades the tables."""

# Without these, a driver that is cut off from the server would wait for hours for an answer that was lost.
_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}

SYNCED = (
    "CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"
)
"""Makes commits durable where a server or user has them otherwise; stricter settings stay."""

_INSERT_FACTS = """
INSERT INTO fact (run, seq, kind, at, body)
SELECT %(run)s, %(first)s + number - 1, kind, %(at)s, body
FROM unnest(%(kinds)s, %(bodies)s) WITH ORDINALITY AS given (kind, body, number)
"""

_AGAIN = ("08", "25P03", "40001", "40P01", "53300", "57P")
"""SQLSTATEs, or their beginnings: connection lost, ended because idle in a transaction, serialization failure,
deadlock, too many connections, and a server that shuts down, crashed or starts."""

_UNFIT = ("42P01", "42703", "XX001", "XX002", "23")
"""A table or column is missing, data or index is corrupt, rows contradict each other."""

_ADVICE = {
    "53100": "the server's disk is full; free some space and resume the run",
    "28": "the server refuses the user or password of ORC_STORE",
    "3D": "there is no such database; make it with: createdb",
    "42501": "the user of ORC_STORE may not do that; grant it",
    "25006": "the server is read-only; ORC_STORE must name the primary",
    "55P03": "another process keeps it locked; try again",
}


class Lost(StoreUnavailable):
    """The connection broke: it is not known whether what was done last took effect."""

    code = StoreUnavailable.code


def server_url(url: str) -> URL:
    """The address of a database as SQLAlchemy reads it.

    Raises:
        ConfigError: it is no address of a PostgreSQL database.
    """
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        advice = "set ORC_STORE to postgresql://user@host/database"
        raise ConfigError(f"the address of the journal cannot be read: {advice}") from error
    return parsed


class PostgresDatabase:
    """One database on a PostgreSQL server. Thread-safe."""

    insert = staticmethod(postgres_insert)

    def __init__(self, url: str, lease_s: float = LEASE_S, outage_s: float = OUTAGE_S) -> None:
        """Connect, and make or upgrade the tables if need be.

        Args:
            lease_s: Time after which a silent driver may be succeeded.
            outage_s: How long a call waits for a server that went away.

        Raises:
            StoreUnavailable: no connection.
            SchemaTooNew: a newer release wrote the database.
            ConfigError, JournalCorrupt: it is something other than a journal.
        """
        address = server_url(url)
        self.label = address.render_as_string(hide_password=True).replace("+psycopg", "", 1)
        self.found: str | None = None
        self._outage_s = outage_s
        self._engine = _engine(address, lease_s, _POOL_SIZE, _MOST_CONNECTIONS)
        # A connection of its own, so that no work in this process can keep a heartbeat waiting.
        self._heart = _engine(address, lease_s, 1, 1)
        self.leases = RunLeases(lease_s, self._beat, self.write, self.repeat)
        self._leave_to_parent_in_children()
        self._open()

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that changes nothing; each of its statements sees what was committed before it."""
        return self._transaction(self._engine)

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that is durable when the block ends, or undone if it raises."""
        return self._transaction(self._engine)

    def still(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of all tables, however long it takes; nobody waits for it."""
        return self._transaction(self._engine.execution_options(isolation_level="REPEATABLE READ"))

    def repeat(self, work: Callable[[], T]) -> T:
        """Do work that opens a transaction, again after a new connection if the old one was lost.

        Raises:
            StoreUnavailable: the server has been away for ``outage_s``.
        """
        deadline, pause_s = None, _PAUSE_S
        while True:
            try:
                return work()
            except Lost:
                now = time.monotonic()
                deadline = now + self._outage_s if deadline is None else deadline
                if now >= deadline:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def insert_facts(self, connection: Connection, rows: list[FactRow]) -> None:
        """Insert facts of one append in one go."""
        # One message that is complete before the server begins, however many rows: a client that is frozen while it
        # sends (as a COPY would let it) could keep the run locked for as long as it pleases.
        (run, first, _, _, at), (_, _, kinds, bodies, _) = rows[0], zip(*rows, strict=True)
        values = {"run": run, "first": first, "at": at}
        arrays = {"kinds": TextArray(kind.encode() for kind in kinds), "bodies": BytesArray(bodies)}
        connection.exec_driver_sql(_INSERT_FACTS, values | arrays)

    def own(self, run: str, driver: str) -> Leased:
        """Lease a run and begin its next epoch; raises RunOwned."""
        owned = self.own_new(run, driver, lambda connection: run)
        assert isinstance(owned, Leased)
        return owned

    def own_new(self, run: str, driver: str, create: Callable[[Connection], str]) -> Leased | str:
        """Make a run and begin its first epoch in one transaction; see ``Database.own_new``."""
        return self.leases.take(run, driver, create)

    def holder(self, run: str) -> str | None:
        """The living driver that holds a run, or None."""

        def ask() -> str | None:
            with self.read() as connection:
                return self.leases.holder(connection, run)

        return self.repeat(ask)

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding a run, or None."""

        def ask() -> str | None:
            with self.read() as connection:
                return self.leases.abandoned(connection, run)

        return self.repeat(ask)

    def damage(self) -> list[str]:
        """Indexes and constraints that are not valid, and facts of no run; pages are checked by whoever reads them."""
        with self.read() as connection:
            names = connection.exec_driver_sql(
                "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid UNION ALL "
                "SELECT conname::text FROM pg_constraint WHERE NOT convalidated LIMIT 5"
            ).all()
            lost = connection.exec_driver_sql(
                "SELECT run FROM (SELECT DISTINCT run FROM fact) AS named "
                "WHERE NOT EXISTS (SELECT FROM run WHERE run.id = named.run) LIMIT 5"
            )
            return [*(f"{name} is not valid" for (name,) in names), *(f"run {run} has facts only" for (run,) in lost)]

    def settings(self) -> dict[str, str]:
        """Those settings of the server that durability depends on, and its version."""
        names = ("server_version", "fsync", "full_page_writes", "synchronous_commit")
        with self.read() as connection:
            return {name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in names}

    def close(self) -> None:
        """Give the leases back and close connections."""
        self.leases.close()
        self._engine.dispose()
        self._heart.dispose()

    # ---- connections

    def _open(self) -> None:
        try:
            with self.read() as connection:
                self.found = revision(connection, self.label)
            if self.found != HEAD:
                with self.write() as connection:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADING})")
                    self.found = revision(connection, self.label)
                    if self.found != HEAD:
                        prepare(connection, self.found, self.label)
        except BaseException:
            self.close()
            raise

    def _beat(self) -> AbstractContextManager[Connection]:
        return self._transaction(self._heart)

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise self._store_error(error) from error

    def _store_error(self, error: DBAPIError) -> Exception:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        told = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"
        if state.startswith("22"):
            return ValueError(f"PostgreSQL cannot store this: {told}")
        if state.startswith(_UNFIT):
            return JournalCorrupt(f"{self.label} is damaged or no journal: {told}; restore it from a backup")
        advice = next((text for code, text in _ADVICE.items() if state.startswith(code)), None)
        if advice is None and (error.connection_invalidated or not state or state.startswith(_AGAIN)):
            return Lost(f"{self.label} does not answer: {told}; start the server or correct ORC_STORE, then try again")
        return StoreUnavailable(f"{self.label}: {told}: {advice or 'try again'}")

    def _leave_to_parent_in_children(self) -> None:
        forget = WeakMethod(self._forget)

        def in_child() -> None:
            if method := forget():
                method()

        os.register_at_fork(after_in_child=in_child)

    def _forget(self) -> None:
        # A child forked by a stage that runs in this process must not talk on its parent's connections.
        self.leases.forget()
        self._engine.dispose(close=False)
        self._heart.dispose(close=False)


def _engine(address: URL, lease_s: float, kept: int, most: int) -> Engine:
    engine = create_engine(
        address,
        pool_size=kept,
        max_overflow=most - kept,
        pool_timeout=OUTAGE_S,
        execution_options={"preserve_rowcount": True},  # else unknown where SQLAlchemy adds a RETURNING of its own
        connect_args={"connect_timeout": _CONNECT_S, "application_name": "orc", **_KEEPALIVE},
    )
    # A client frozen inside a transaction is cut off when its lease ends: the run's row is free for whoever takes over.
    idle_ms = max(int(lease_s * 1000), 1)
    configure = f"SELECT set_config('idle_in_transaction_session_timeout', '{idle_ms}', false), {SYNCED}"

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        register(connection)
        connection.execute(configure)
        connection.commit()

    return engine
