"""What the journal tests need of a back end, and short ways to build runs, facts and appends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.graph.fact import Fact, MapExpanded, StepsCompleted
from orchestrator.ports.journal import Append, Journal, RunRow
from orchestrator.ports.values import digest_bytes, encode_cell, encode_chunk
from orchestrator.store import SqlJournal, open_journal
from orchestrator.store.sqlite import dbapi


@dataclass
class SqliteBackend:
    """A database in a folder of its own; ``open`` may be called several times, ``harm`` damages it by hand."""

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

    def close(self) -> None:
        for journal in self.opened:
            journal.close()


BACKENDS = {"sqlite": SqliteBackend}


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
