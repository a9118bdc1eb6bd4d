"""What a journal promises hangs on a few guards: a store without one of them is found out by the same checks.

Each promise is a function that tries to break it. The store keeps the promise; the store with one guard taken away does
not. So a change that loses a guard does not pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

import pytest
from sqlalchemy import ColumnElement, Integer, Text, Update, bindparam

from orchestrator.errors import StaleEpoch
from orchestrator.graph.fact import RunFinished
from orchestrator.store import SqlJournal, fence
from orchestrator.store.postgres import PostgresDatabase
from orchestrator.store.schema import run as runs
from orchestrator.store.sqlite import PRAGMAS, SqliteDatabase
from tests.store.backend import Backend, PostgresBackend, SqliteBackend, append, facts, row

Promise: TypeAlias = Callable[[SqlJournal, str], bool]


def an_older_epoch_changes_nothing(journal: SqlJournal, run: str) -> bool:
    journal.create(row(run), facts(1), {})
    former = journal.own(run, "former")
    former.release()
    journal.own(run, "newer")
    return refuses(journal, run, former.epoch, 1)


def another_seq_changes_nothing(journal: SqlJournal, run: str) -> bool:
    journal.create(row(run), facts(1), {})
    return refuses(journal, run, 0, 3)


def a_finished_run_stays_so(journal: SqlJournal, run: str) -> bool:
    journal.create(row(run), facts(1), {})
    journal.append(append(0, 1, [RunFinished("failed")], run=run))
    return refuses(journal, run, 0, 2)


def a_repeated_append_is_no_other(journal: SqlJournal, run: str) -> bool:
    journal.create(row(run), facts(1), {})
    once = append(0, 1, facts(1), run=run)
    journal.append(once)
    try:
        return journal.append(once) == 2
    except StaleEpoch:
        return False


def refuses(journal: SqlJournal, run: str, epoch: int, seq: int) -> bool:
    try:
        journal.append(append(epoch, seq, facts(1), run=run))
    except StaleEpoch:
        return True
    return False


def without(column: str, believed: ColumnElement[bool]) -> Update:
    """The fence with what it asks of one column replaced."""
    statement = copy.copy(fence.FENCE)
    kept = [part for part in statement._where_criteria if part.left is not runs.c[column]]  # type: ignore[attr-defined]
    assert len(kept) < len(statement._where_criteria)
    statement._where_criteria = (*kept, believed)
    return statement


def same(name: str) -> ColumnElement[bool]:
    return bindparam(name, type_=Integer) == bindparam(name, type_=Integer)


@pytest.mark.parametrize(
    ("promise", "statement"),
    [
        (an_older_epoch_changes_nothing, without("epoch", same("believed_epoch"))),
        (another_seq_changes_nothing, without("seq", same("believed_seq"))),
        (a_finished_run_stays_so, without("state", runs.c.state.is_not(None))),
        (
            a_repeated_append_is_no_other,
            fence.FENCE.values(attempt=bindparam("id_of_attempt", type_=Text).concat("lost")),
        ),
    ],
    ids=["epoch", "seq", "state", "attempt"],
)
def test_the_fence(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch, promise: Promise, statement: Update) -> None:
    assert promise(journal, "guarded")
    monkeypatch.setattr(fence, "FENCE", statement)
    assert not promise(journal, "unguarded")


def one_key_has_one_run(journal: SqlJournal, run: str) -> bool:
    first = journal.create(row(run, trigger_key=run), facts(1), {})
    return journal.create(row(f"{run} again", trigger_key=run), facts(1), {}) == first


def a_request_is_posted_once(journal: SqlJournal, run: str) -> bool:
    journal.create(row(run), facts(1), {})
    return [journal.post(run, "go", {}, 1.0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("promise", "index"), [(one_key_has_one_run, "run_of_key"), (a_request_is_posted_once, "inbox_once")]
)
def test_unique_keys(backend: Backend, promise: Promise, index: str) -> None:
    journal = backend.open()
    assert promise(journal, "guarded")
    with journal._database.write() as connection:
        connection.exec_driver_sql(f"DROP INDEX {index}")
    assert not promise(journal, "unguarded")


def test_commits_reach_the_disk_before_they_are_acknowledged_on_sqlite(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synced() -> bool:
        database = SqliteDatabase(sqlite.path)
        with database.write() as connection:
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
        database.close()
        return bool(level == 2)

    assert synced()
    left = tuple(pragma for pragma in PRAGMAS if "synchronous" not in pragma)
    monkeypatch.setattr("orchestrator.store.sqlite.PRAGMAS", (*left, "PRAGMA synchronous = NORMAL"))
    assert not synced()


def test_commits_reach_the_disk_before_they_are_acknowledged_on_postgresql(
    on_server: PostgresBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_server.server.execute(f"ALTER DATABASE {on_server.name} SET synchronous_commit = off")

    def synced() -> bool:
        database = PostgresDatabase(on_server.url)
        level = database.settings()["synchronous_commit"]
        database.close()
        return level == "on"

    assert synced()
    monkeypatch.setattr("orchestrator.store.postgres.SYNCED", "true")
    assert not synced()
