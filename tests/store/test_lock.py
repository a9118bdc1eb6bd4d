"""Owners exclude each other within a process too, leave nothing behind, and are not disturbed by who asks."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import NotFound, RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.store import SqlJournal
from orchestrator.store.lock import holder, take, take_within
from tests.store.backend import Backend, SqliteBackend, append, facts, row

# ---- the port


def test_two_owners_in_one_process_exclude_each_other(backend: Backend, journal: SqlJournal) -> None:
    journal.create(row(), [], {})
    first = journal.own("r1", "first")
    assert (first.run, first.epoch) == ("r1", 1)
    for other in (journal, backend.open()):
        assert other.owner("r1") == "first"
        with pytest.raises(RunOwned, match="run r1 is driven by first") as caught:
            other.own("r1", "second")
        assert caught.value.details["driver"] == "first"
    assert journal.run("r1").epoch == 1
    first.release()
    first.release()
    assert journal.owner("r1") is None
    second = backend.open().own("r1", "second")
    assert second.epoch == 2
    first.release()
    assert journal.owner("r1") == "second"
    with pytest.raises(StaleEpoch):
        journal.append(append(first.epoch, 0, facts(1)))
    assert journal.append(append(second.epoch, 0, facts(1))) == 1


def test_threads_that_race_for_a_run_leave_one_owner(backend: Backend, journal: SqlJournal) -> None:
    journal.create(row(), [], {})
    barrier = threading.Barrier(8)

    def race(number: int) -> int | None:
        barrier.wait()
        try:
            return journal.own("r1", f"driver {number}").epoch
        except RunOwned:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(race, range(8)), key=str) == [1] + [None] * 7


def test_asking_for_the_owner_never_makes_owning_fail(journal: SqlJournal) -> None:
    journal.create(row(), [], {})
    done = threading.Event()
    seen = set()

    def ask() -> None:
        while not done.is_set():
            seen.add(journal.owner("r1"))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(50):
            journal.own("r1", "me").release()
    finally:
        done.set()
        for asker in askers:
            asker.join()
    assert seen <= {None, "me", "a driver that is just starting"}
    assert journal.run("r1").epoch == 50


def test_runs_are_owned_one_by_one_and_closing_releases(backend: Backend, journal: SqlJournal) -> None:
    for name in ("a", "b", "a/../b", "x" * 300, "x" * 301, "A"):
        journal.create(row(name), [], {})
        assert journal.own(name, f"driver of {name}").epoch == 1
        assert journal.owner(name) == f"driver of {name}"
    journal.close()
    other = backend.open()
    assert other.owner("a") is None
    assert other.own("a", "me").epoch == 2
    if isinstance(backend, SqliteBackend):
        assert [path.name for path in (backend.folder / "journal.db-locks").iterdir()] == ["a.lock"]


def test_no_run_no_owner(journal: SqlJournal, backend: Backend) -> None:
    with pytest.raises(NotFound, match="'r9'"):
        journal.own("r9", "me")
    assert journal.owner("r9") is None
    if isinstance(backend, SqliteBackend):
        assert list((backend.folder / "journal.db-locks").iterdir()) == []


def test_a_finished_run_may_be_owned_but_not_changed(journal: SqlJournal) -> None:
    journal.create(row(state="failed"), facts(1), {})
    ownership = journal.own("r1", "me")
    with pytest.raises(StaleEpoch, match="r1 is failed"):
        journal.append(append(ownership.epoch, 1, facts(1)))


def test_a_lock_that_cannot_be_written_is_unavailable(sqlite: SqliteBackend) -> None:
    journal = sqlite.open()
    journal.create(row(), [], {})
    folder = sqlite.folder / "journal.db-locks"
    folder.rmdir()
    folder.touch()
    with pytest.raises(StoreUnavailable, match="run r1 cannot be locked"):
        journal.own("r1", "me")
    with pytest.raises(StoreUnavailable, match="owner of run r1"):
        journal.owner("r1")


# ---- the lock below it


def test_a_lock_file_left_by_a_dead_owner_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text("the name of a driver that died, longer than the next one's")
    assert holder(path) is None
    lock = take(path, "next")
    assert lock is not None
    assert holder(path) == "next"
    lock.release()
    assert not path.exists()


def test_a_copy_of_the_descriptor_does_not_keep_a_released_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    before = os.dup(0)
    os.close(before)
    lock = take(path, "first")
    assert lock is not None
    copy = os.dup(before)
    assert os.path.samestat(os.fstat(copy), path.stat())
    file = path.open("r")
    lock.release()
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.close()
    os.close(copy)


def test_waiting_for_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first = take(path, "first")
    assert first is not None
    assert take_within(path, "second", 0.01) is None
    threading.Timer(0.05, first.release).start()
    second = take_within(path, "second", 30)
    assert second is not None
    assert not first.held
    assert second.held


def test_only_one_of_many_holds_it_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    inside = 0
    most = 0
    guard = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        for _ in range(20):
            lock = take_within(path, str(number), 60)
            assert lock is not None
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0)
            with guard:
                inside -= 1
            lock.release()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert most == 1
