"""The journal's database as ``orc db`` treats it: upgraded, checked, backed up, and restored and replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orchestrator.app.installation import Installation
from orchestrator.app.upkeep import Check
from orchestrator.engine.recovery import load_fold
from orchestrator.engine.snapshot import encode_snapshot
from orchestrator.errors import OrchestratorError
from orchestrator.graph.fact import FINISHED
from orchestrator.ports.journal import Journal, RunRow
from orchestrator.store import SqlJournal, open_database
from orchestrator.store.portable import back_up, damaged_chunks, restore
from orchestrator.store.schema import HEAD

_ALL = 2**31 - 1
_MOST_TOLD = 5


class Treated(NamedTuple):
    """What was done, or found.

    Attributes:
        found: The schema that the database had; None if it was empty.
        rows: Rows by table that were written or read; empty where none were counted.
    """

    found: str | None
    schema: str
    rows: dict[str, int]
    checks: list[Check]


def upgrade(here: Installation) -> Treated:
    """Bring the tables to what this release wants, as every command does when it opens the journal."""
    database = open_database(here.settings.journal_url)
    database.close()
    return Treated(database.found, HEAD, {}, [])


def check(here: Installation) -> Treated:
    """Ask the database, verify every chunk, and replay every run, with its snapshot and without."""
    database = open_database(here.settings.journal_url)
    try:
        checks = [
            Check("schema", True, f"{HEAD}, found {database.found or 'empty'}"),
            _check("database", database.damage(), "whole"),
            _check("chunks", damaged_chunks(database), "all as their digests say"),
            *_replays(here, SqlJournal(database)),
        ]
    finally:
        database.close()
    return Treated(database.found, HEAD, {}, checks)


def back_up_to(here: Installation, file: Path) -> Treated:
    """Write everything into a new file, while runs may be driven; raises ConfigError if it exists."""
    database = open_database(here.settings.journal_url)
    try:
        rows = back_up(database, file)
    finally:
        database.close()
    return Treated(database.found, HEAD, rows, [])


def restore_from(here: Installation, file: Path) -> Treated:
    """Fill an empty database from a backup and replay every run.

    Raises:
        ConfigError: the database is not empty.
        NotFound, SchemaTooNew, JournalCorrupt: see ``store.portable.restore``.
    """
    database = open_database(here.settings.journal_url)
    try:
        rows = restore(database, file)
        checks = [
            _check("chunks", damaged_chunks(database), "all as their digests say"),
            *_replays(here, SqlJournal(database)),
        ]
    finally:
        database.close()
    return Treated(database.found, HEAD, rows, checks)


def _replays(here: Installation, journal: Journal) -> Iterator[Check]:
    rows = journal.runs(limit=_ALL)
    found = [f"run {row.id}: {problem}" for row in rows if (problem := _replay(here, journal, row))]
    yield _check("runs", found, f"{len(rows):,} replayed")


def _replay(here: Installation, journal: Journal, row: RunRow) -> str:
    """What is wrong with a run; empty if nothing is. It may be driven meanwhile."""
    try:
        graph = here.graph(here.created(row.id, journal))
        replayed = load_fold(journal, row.id, graph, use_snapshot=False)
        if replayed.seq < row.seq:
            return f"its last fact is {replayed.seq}, but its index says {row.seq}"
        ended = replayed.finished.state if replayed.finished is not None else None
        if row.state in FINISHED and row.state != ended:
            return f"its index says {row.state}, but its facts say {ended or 'not ended'}"
        quick = load_fold(journal, row.id, graph)
        if quick.seq == replayed.seq and encode_snapshot(quick) != encode_snapshot(replayed):
            return "its snapshot differs from the replay of its facts"
    except OrchestratorError as error:
        return error.message
    return ""


def _check(name: str, problems: Iterator[str] | list[str], sound: str) -> Check:
    found = list(problems)
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return Check(name, not found, "; ".join(found[:_MOST_TOLD]) + more if found else sound)
