"""What the journal tests need of a back end, and short ways to build runs, facts and appends."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from orchestrator.graph.fact import Fact, MapExpanded, StepsCompleted
from orchestrator.ports.journal import Append, Journal, RunRow
from orchestrator.ports.values import digest_bytes, encode_cell, encode_chunk
from orchestrator.store import SqlJournal, open_journal
from orchestrator.store.sqlite import dbapi
from tests.store.postgres_server import PostgresServer


class Backend(Protocol):
    """A database of its own; ``open`` may be called several times, ``harm`` damages it by hand."""

    @property
    def url(self) -> str: ...

    def open(self, busy_timeout_s: float = 10.0) -> SqlJournal: ...

    def harm(self, sql: str, *values: Any) -> None:
        """Run a statement that changes one row; ``?`` stands for a value."""

    def expire(self, run: str) -> None:
        """Let the hold of a dead driver end without waiting for it, if it does not by itself."""

    def copy(self, number: int) -> str:
        """URL of a copy of the database, which nobody may have open."""

    def close(self) -> None: ...


@dataclass
class SqliteBackend:
    """A file in a folder of its own."""

    folder: Path
    opened: list[Journal] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "journal.db"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def open(self, busy_timeout_s: float = 10.0) -> SqlJournal:
        journal = open_journal(self.url, busy_timeout_s)
        self.opened.append(journal)
        return journal

    def harm(self, sql: str, *values: Any) -> None:
        # Not another SQLite library: closing the file there would drop the locks that this process has through ours.
        connection = dbapi.connect(str(self.path))
        with connection:
            assert connection.execute(sql, values).rowcount == 1
        connection.close()

    def expire(self, run: str) -> None:
        """The kernel has done so."""

    def copy(self, number: int) -> str:
        copy = self.path.with_name(f"copy-{number}.db")
        shutil.copy(self.path, copy)
        return f"sqlite:///{copy}"

    def close(self) -> None:
        for journal in self.opened:
            journal.close()


@dataclass
class PostgresBackend:
    """A database on the session's server. The lease is short, for tests that wait until one runs out."""

    server: PostgresServer
    url: str
    lease_s: float = 10.0
    opened: list[Journal] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def open(self, busy_timeout_s: float = 10.0) -> SqlJournal:
        journal = open_journal(self.url, busy_timeout_s, self.lease_s)
        self.opened.append(journal)
        return journal

    def harm(self, sql: str, *values: Any) -> None:
        assert self.server.execute(sql.replace("?", "%s"), self.name, *values) == 1

    def expire(self, run: str) -> None:
        self.harm("UPDATE lease SET expires_at = 0 WHERE run = ?", run)

    def copy(self, number: int) -> str:
        name = f"{self.name}_{number}"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE {self.name}")
        return self.server.url(name)

    def close(self) -> None:
        for journal in self.opened:
            journal.close()
        self.server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


BACKENDS = ("sqlite", "postgres")


def make_backend(request: pytest.FixtureRequest, name: str, folder: Path) -> Backend:
    """A new database of a kind; the server is only started for those that need it."""
    if name == "sqlite":
        return SqliteBackend(folder)
    server: PostgresServer = request.getfixturevalue("postgres")
    return PostgresBackend(server, server.database())


def row(run: str = "r1", **changes: Any) -> RunRow:
    """A queued run."""
    return replace(RunRow(run, "churn", "queued", seq=0, epoch=0, created_at=1.0), **changes)


def facts(count: int, node: str = "work") -> list[Fact]:
    """Some facts, all different."""
    return [MapExpanded(f"{node}#{number}", number) for number in range(count)]


def a_chunk(*values: int | str) -> tuple[str, bytes]:
    """Digest and bytes of a chunk."""
    data = encode_chunk([encode_cell(value) for value in values])
    return digest_bytes(data), data


def append(epoch: int, seq: int, new: Sequence[Fact] = (), run: str = "r1", at: float = 2.0, **more: Any) -> Append:
    """One transaction."""
    return Append(run, epoch, seq, at, new, **more)


def completed(chunk: str, node: str = "work", start: int = 0) -> StepsCompleted:
    """A step with an output."""
    return StepsCompleted(node, start, start + 1, chunk)
