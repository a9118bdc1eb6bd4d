"""``kill -9``, full disks and locked files: an append is there completely or not at all, and stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import JournalCorrupt, RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.graph.fact import MapExpanded
from orchestrator.store import SqlJournal, open_journal
from orchestrator.store.sqlite import dbapi
from tests.store.backend import SqliteBackend, append, facts, row
from tests.store.crash import TRANSACTION, before, is_all_there

ROOT = Path(__file__).parents[2]
# By hand, because some distributions install a package of their own under the name ``tests``.
BOOT = f"""
import sys, types
package = types.ModuleType("tests")
package.__path__ = [{str(ROOT / "tests")!r}]
sys.modules["tests"] = package
from tests.store.driver_process import COMMANDS
COMMANDS[sys.argv[1]](*sys.argv[2:])
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(backend: SqliteBackend) -> Iterator[Start]:
    """Start a command of ``driver_process`` on the back end's database."""
    processes = []

    def run(command: str, *arguments: str) -> subprocess.Popen[str]:
        call = [sys.executable, "-c", BOOT, command, backend.url, *arguments]
        process = subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_killed_at_every_statement_of_an_append(backend: SqliteBackend, journal: SqlJournal, start: Start) -> None:
    before(journal)
    journal.close()
    output, _ = start("kill_at_each_statement").communicate()
    outcomes = [entry.split() for entry in output.splitlines()]
    # BEGIN, fence, 4 facts, chunk, request, 2 cache entries, COMMIT; and one that was killed after it.
    assert len(outcomes) == 12
    for name, acknowledged in outcomes:
        survivor = open_journal(f"sqlite:///{backend.folder / name}")
        assert is_all_there(survivor) == (acknowledged == "1")
        if acknowledged == "0":
            assert survivor.append(TRANSACTION) == 5
            assert is_all_there(survivor)
        survivor.close()


def test_what_was_acknowledged_survives_kills_at_any_moment(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), [], {})
    for group in ("1", "7", "300"):
        process = start("append_for_ever", group)
        acknowledged = [int(line(process)) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged += [int(text) for text in rest.splitlines()[:-1]]
        seq = journal.run("r1").seq
        assert seq >= acknowledged[-1]
        assert (seq - acknowledged[0]) % int(group) == 0
        recorded = [entry.fact for entry in journal.facts("r1")]
        assert recorded == [MapExpanded("count", number) for number in range(seq)]


def test_readers_see_whole_appends_while_another_process_writes(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), [], {})
    process = start("append_for_ever", "10")
    line(process)
    last = 0
    for _ in range(50):
        seen = sum(1 for _ in journal.facts("r1"))
        assert seen % 10 == 0
        assert seen >= last
        last = seen
    assert last > 0


# ---- ownership between processes


def test_a_living_driver_is_named_and_a_killed_one_succeeded(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), facts(1), {})
    holder = start("hold", "driver 7 on host h")
    assert line(holder) == "owned 1"
    assert journal.owner("r1") == "driver 7 on host h"
    with pytest.raises(RunOwned, match="run r1 is driven by driver 7 on host h"):
        journal.own("r1", "me")
    assert journal.run("r1").epoch == 1
    holder.kill()
    holder.wait()
    assert journal.owner("r1") is None
    ownership = journal.own("r1", "me")
    assert ownership.epoch == 2
    with pytest.raises(StaleEpoch, match="has been taken over by me under epoch 2"):
        journal.append(append(1, 1, facts(1)))
    assert "driven by me" in line(start("hold", "late"))
    ownership.release()
    assert line(start("hold", "late")) == "owned 3"


def test_a_forked_child_does_not_keep_its_dead_parents_run(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), [], {})
    process = start("fork_while_owning")
    child = int(line(process))
    assert journal.owner("r1") == "forking"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.kill(child, 0)
    assert journal.own("r1", "me").epoch == 2


# ---- a store that is full, locked or broken


def test_a_full_disk_changes_nothing_and_the_same_append_works_later(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), facts(1), {})
    output, _ = start("fill_disk").communicate()
    first, second, standing, appended = output.splitlines()
    assert first.startswith("unavailable")
    assert second.startswith("unavailable")
    assert "nothing was written" in first
    assert standing == "seq 1 facts 1"
    assert appended == "appended 2001"
    assert len(list(journal.facts("r1"))) == 2001


def test_a_locked_database_is_unavailable_until_it_is_free(backend: SqliteBackend, journal: SqlJournal) -> None:
    journal.create(row(), facts(1), {})
    impatient = backend.open(busy_timeout_s=0.01)
    other = dbapi.connect(str(backend.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="nothing was written: another process keeps it locked"):
        impatient.append(append(0, 1, facts(1)))
    assert impatient.run("r1").seq == 1
    other.execute("ROLLBACK")
    other.close()
    assert impatient.append(append(0, 1, facts(1))) == 2


def test_a_damaged_file_is_corrupt(backend: SqliteBackend, journal: SqlJournal) -> None:
    journal.create(row(), facts(20_000), {})
    journal.close()
    with backend.path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 40)
    with pytest.raises(JournalCorrupt, match="backup"):
        list(backend.open().facts("r1"))


def test_many_threads_drive_many_runs_at_once(backend: SqliteBackend, journal: SqlJournal) -> None:
    journals = [journal, backend.open(), backend.open()]
    failures: list[BaseException] = []

    def drive(number: int) -> None:
        mine = journals[number % 3]
        name = f"run {number}"
        try:
            mine.create(row(name), [], {})
            ownership = mine.own(name, str(number))
            seq = 0
            for _ in range(20):
                seq = mine.append(append(ownership.epoch, seq, facts(5), run=name))
            ownership.release()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in range(6):
        assert [entry.fact for entry in journal.facts(f"run {number}")] == facts(5) * 20
