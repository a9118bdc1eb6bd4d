"""What is particular to SQLite: the library, its settings, transactions, locks and error codes.

Commits are durable (WAL, ``synchronous=FULL``, ``F_FULLFSYNC`` on macOS). Writers start with ``BEGIN IMMEDIATE``, so
that a transaction never finds out in its middle that another one was faster. ``pysqlite3`` brings a newer SQLite
than the system often has, whose write-ahead log may have a bug that damages the file (see ``checks.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from orchestrator.errors import ConfigError, JournalCorrupt, StoreError, StoreUnavailable
from orchestrator.store.database import FactRow, raise_epoch
from orchestrator.store.lock import take_within
from orchestrator.store.migrations import prepare, revision
from orchestrator.store.owner import RunLocks, RunOwnership
from orchestrator.store.schema import HEAD

try:
    from pysqlite3 import dbapi2 as library
except ImportError:
    from sqlite3 import dbapi2 as library

dbapi: Any = library
"""The SQLite in use: one per process, since two would drop each other's locks on a file."""

T = TypeVar("T")

BUSY_TIMEOUT_S = 10.0

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",
)

_DAMAGED = {1, 11, 19, 24, 26}
"""ERROR (a table or column is missing), CORRUPT, CONSTRAINT (rows contradict each other), FORMAT, NOTADB."""

_ADVICE = {
    5: "another process keeps it locked; end that process or try again",
    6: "another process keeps it locked; end that process or try again",
    8: "it is read-only; correct the permissions of the file and its folder",
    10: "reading or writing failed; check the disk",
    13: "the disk is full; free some space and resume the run",
    14: "it cannot be opened; check that its folder exists and is writable",
}
"""Advice by SQLite's primary result code: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN."""


def path_of(url: str) -> Path:
    """The file that ``sqlite:///path`` names: the rest of the URL as it is, so an absolute path makes four slashes.

    Raises:
        ConfigError: the URL names no file, or another kind of database.
    """
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite" or path in ("", ":memory:") or "\0" in path:
        raise ConfigError(
            f"{url!r} is no journal; set ORC_STORE to sqlite:///path/to/journal.db or postgresql://user@host/database"
        )
    return Path(path).expanduser().absolute()


class SqliteDatabase:
    """One SQLite file: its connections, transactions and run locks. Thread-safe."""

    insert = staticmethod(sqlite_insert)

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        """Open the file; make it, its folder and its tables if need be.

        Raises:
            StoreUnavailable: the file cannot be opened or written.
            SchemaTooNew: a newer release wrote it.
            JournalCorrupt, ConfigError: it is damaged, or something other than a journal.
        """
        self.path = path.absolute()
        self.label = str(self.path)
        self.found: str | None = None
        self._make_folder()
        folder = self.path.with_name(self.path.name + "-locks")
        self.locks = RunLocks(folder)
        self._engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            module=dbapi,
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=-1,
            connect_args={"timeout": busy_timeout_s, "check_same_thread": False, "isolation_level": None},
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        self._writer = self._engine.execution_options(orc_begin="BEGIN IMMEDIATE")
        self._open(folder, busy_timeout_s)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database; writers do not wait for it."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when the block ends, or undone if it raises."""
        with self._translated(), self._writer.begin() as connection:
            yield connection

    def still(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of all tables: in WAL mode every one that reads does."""
        return self.read()

    def repeat(self, work: Callable[[], T]) -> T:
        """Do work once: there is no connection that could break."""
        return work()

    def insert_facts(self, connection: Connection, rows: list[FactRow]) -> None:
        """Insert facts in one go."""
        # The hot statement of every run: a Core insert costs more per row than SQLite itself does.
        connection.exec_driver_sql("INSERT INTO fact (run, seq, kind, body, at) VALUES (?, ?, ?, ?, ?)", rows)

    def own(self, run: str, driver: str) -> RunOwnership:
        """Lock a run's file and begin its next epoch; raises RunOwned."""
        owned = self.own_new(run, driver, lambda connection: run)
        assert isinstance(owned, RunOwnership)
        return owned

    def own_new(self, run: str, driver: str, create: Callable[[Connection], str]) -> RunOwnership | str:
        """Make a run and begin its first epoch in one transaction; see ``Database.own_new``."""
        lock = self.locks.take(run, driver)
        try:
            with self.write() as connection:
                there = create(connection)
                epoch = raise_epoch(connection, run, driver) if there == run else 0
        except BaseException:
            lock.release()
            raise
        if there == run:
            return RunOwnership(run, epoch, lock)
        lock.release()
        return there

    def holder(self, run: str) -> str | None:
        """The living driver that holds a run, or None."""
        return self.locks.holder(run)

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding a run, or None."""
        return self.locks.abandoned(run)

    def damage(self) -> list[str]:
        """What SQLite finds wrong with pages, indexes, constraints and references."""
        with self.read() as connection:
            found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
            lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(5)
        return [text for text in found if text != "ok"] + [f"a row of {row[0]} belongs to no run" for row in lost]

    def close(self) -> None:
        """Release locks and close connections."""
        self.locks.close()
        self._engine.dispose()

    def _make_folder(self) -> None:
        missing = [folder for folder in self.path.parents if not folder.exists()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                _sync_folder(folder.parent)
        except OSError as error:
            raise StoreUnavailable(f"the folder of {self.path} cannot be made: {error}") from error

    def _open(self, folder: Path, timeout_s: float) -> None:
        """Let one process at a time switch the file to WAL and make or upgrade its tables."""
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lock = take_within(folder / "opening", f"process {os.getpid()}", timeout_s)
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be opened: {error}") from error
        if lock is None:
            raise StoreUnavailable(f"{self.path} cannot be opened: another process is upgrading it; try again")
        try:
            with self.read() as connection:
                self.found = revision(connection, self.label)
            if self.found != HEAD:
                with self.write() as connection:
                    prepare(connection, self.found, self.label)
        except BaseException:
            self.close()
            raise
        finally:
            lock.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._store_error(error) from error

    def _store_error(self, error: DBAPIError) -> StoreError:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the upper bits only refine the lowest eight
        if code in _DAMAGED:
            return JournalCorrupt(f"{self.path} is damaged or no journal: {error.orig}; restore it from a backup")
        advice = _ADVICE.get(code, "try again")
        return StoreUnavailable(f"{self.path}: {error.orig}; nothing was written: {advice}")


def _configure(connection: Any, _record: object) -> None:
    for pragma in PRAGMAS:
        connection.execute(pragma).close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("orc_begin", "BEGIN"))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
