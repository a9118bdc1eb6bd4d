"""Which database a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.store.database import LEASE_S, Database
from orchestrator.store.journal import SqlJournal
from orchestrator.store.sqlite import BUSY_TIMEOUT_S, SqliteDatabase, path_of

if TYPE_CHECKING:
    from orchestrator.store.postgres import PostgresDatabase

_SERVER = ("postgresql://", "postgresql+psycopg://")


def open_journal(url: str, busy_timeout_s: float = BUSY_TIMEOUT_S, lease_s: float = LEASE_S) -> SqlJournal:
    """Open the journal at ``sqlite:///path`` or ``postgresql://user@host/database``, making its tables if need be.

    Args:
        url: See ``sqlite.path_of`` and ``postgres.server_url``.
        busy_timeout_s: SQLite: how long a write waits for another process before StoreUnavailable.
        lease_s: PostgreSQL: time after which a driver that does not answer may be succeeded.

    Raises:
        ConfigError: the URL names no database that this release can use, or psycopg is missing.
        StoreUnavailable, SchemaTooNew, JournalCorrupt: see ``SqliteDatabase`` and ``PostgresDatabase``.
    """
    return SqlJournal(open_database(url, busy_timeout_s, lease_s))


def open_database(url: str, busy_timeout_s: float = BUSY_TIMEOUT_S, lease_s: float = LEASE_S) -> Database:
    """The database below a journal, for backups and checks; see ``open_journal``."""
    return open_server(url, lease_s) if is_server(url) else SqliteDatabase(path_of(url), busy_timeout_s)


def is_server(url: str) -> bool:
    """Whether a URL names a database on a PostgreSQL server."""
    return url.startswith(_SERVER)


def open_server(url: str, lease_s: float = LEASE_S) -> PostgresDatabase:
    """A database on a PostgreSQL server; see ``open_journal``."""
    # Only here: on SQLite nothing of PostgreSQL needs to be loaded.
    try:
        from orchestrator.store.postgres import PostgresDatabase
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        advice = "install it with: pip install 'ray-orchestrator[postgres]'"
        raise ConfigError(f"a journal on PostgreSQL needs psycopg; {advice}") from error
    return PostgresDatabase(url, lease_s)
