"""``kill -9``, full disks and locked files: an append is there completely or not at all, and stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import JournalCorrupt, RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.graph.fact import MapExpanded
from orchestrator.store import SqlJournal, open_journal
from orchestrator.store.sqlite import dbapi
from tests.store.backend import Backend, PostgresBackend, SqliteBackend, append, facts, row
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


def command(name: str, *arguments: str) -> subprocess.Popen[str]:
    """A command of ``driver_process``."""
    call = [sys.executable, "-c", BOOT, name, *arguments]
    return subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def start(backend: Backend) -> Iterator[Start]:
    """Start a command of ``driver_process`` on the back end's database."""
    processes = []

    def run(name: str, *arguments: str) -> subprocess.Popen[str]:
        process = command(name, backend.url, *arguments)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str) -> str:
    """Write a line to a command and read its answer."""
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
    return line(process)


def test_killed_at_every_statement_of_an_append(backend: Backend, journal: SqlJournal) -> None:
    before(journal)
    journal.close()
    # SQLite: BEGIN, fence, 4 facts, chunk, request, 2 cache entries, COMMIT; PostgreSQL: one each for fence,
    # facts, chunk, request and cache entries, and COMMIT. And one that is killed after it.
    count = 12 if isinstance(backend, SqliteBackend) else 7
    urls = [backend.copy(number) for number in range(count)]
    output, _ = command("kill_at_each_statement", *urls).communicate()
    assert output == f"acknowledged {count}\n"
    for number, url in enumerate(urls, 1):
        survivor = open_journal(url)
        assert is_all_there(survivor) == (number == count)
        assert survivor.append(TRANSACTION) == 5  # also the one that was committed: it is the same attempt
        assert is_all_there(survivor)
        survivor.close()


def test_what_was_acknowledged_survives_kills_at_any_moment(
    backend: Backend, journal: SqlJournal, start: Start
) -> None:
    journal.create(row(), [], {})
    for group in ("1", "7", "300"):
        process = start("append_for_ever", group)
        acknowledged = [int(line(process)) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        backend.expire("r1")
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


def test_a_living_driver_is_named_and_a_killed_one_succeeded(
    backend: Backend, journal: SqlJournal, start: Start
) -> None:
    journal.create(row(), facts(1), {})
    holder = start("hold", "driver 7 on host h")
    assert line(holder) == "owned 1"
    assert journal.owner("r1") == "driver 7 on host h"
    assert journal.abandoned("r1") is None
    with pytest.raises(RunOwned, match="run r1 is driven by driver 7 on host h"):
        journal.own("r1", "me")
    assert journal.run("r1").epoch == 1
    holder.kill()
    holder.wait()
    backend.expire("r1")
    assert journal.owner("r1") is None
    assert journal.abandoned("r1") == "driver 7 on host h"
    ownership = journal.own("r1", "me")
    assert ownership.epoch == 2
    assert journal.abandoned("r1") is None
    with pytest.raises(StaleEpoch, match="has been taken over by me under epoch 2"):
        journal.append(append(1, 1, facts(1)))
    assert "driven by me" in line(start("hold", "late"))
    ownership.release()
    assert journal.abandoned("r1") is None, "it was given up in order"
    assert line(start("hold", "late")) == "owned 3"


def test_whoever_waits_takes_a_killed_drivers_run_over(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), facts(1), {})
    holder = start("hold", "short", "1")
    assert line(holder) == "owned 1"
    holder.kill()
    assert journal.own("r1", "me", wait_s=60).epoch == 2


def test_whoever_waits_gets_the_run_when_it_is_released(journal: SqlJournal, start: Start) -> None:
    journal.create(row(), facts(1), {})
    holder = start("hold", "polite")
    assert line(holder) == "owned 1"
    with pytest.raises(RunOwned, match="driven by polite"):
        journal.own("r1", "me", wait_s=0.3)
    assert tell(holder, "go") == "released"
    assert journal.own("r1", "me", wait_s=60).epoch == 2


def test_a_frozen_driver_that_wakes_changes_nothing(backend: Backend, journal: SqlJournal, start: Start) -> None:
    journal.create(row(), facts(1), {})
    frozen = start("append_when_told")
    assert line(frozen) == "owned 1"
    assert tell(frozen, "append") == "appended 2"
    frozen.send_signal(signal.SIGSTOP)
    if isinstance(backend, SqliteBackend):
        # It lives, so the kernel keeps its lock: nobody can have changed anything when it wakes.
        with pytest.raises(RunOwned, match="driven by frozen"):
            journal.own("r1", "me", wait_s=0.3)
        frozen.send_signal(signal.SIGCONT)
        assert tell(frozen, "verify") == "still mine"
        assert tell(frozen, "append") == "appended 3"
        return
    ownership = journal.own("r1", "me", wait_s=60)
    assert journal.append(append(ownership.epoch, 2, facts(2))) == 4
    frozen.send_signal(signal.SIGCONT)
    told = "stale run r1 has been taken over by me under epoch 2; this driver, of epoch 1, stops"
    assert tell(frozen, "verify").startswith(told)
    assert tell(frozen, "append").startswith(told)
    assert journal.run("r1").seq == 4
    assert journal.owner("r1") == "me"


def test_a_driver_frozen_inside_a_transaction_does_not_keep_the_run(on_server: PostgresBackend) -> None:
    journal = on_server.open()
    journal.create(row(), facts(1), {})
    frozen = command("freeze_inside_a_transaction", on_server.url)
    try:
        assert line(frozen) == "inside"
        assert journal.own("r1", "me", wait_s=60).epoch == 2
        assert journal.append(append(2, 1, facts(1))) == 2
        frozen.send_signal(signal.SIGCONT)
        assert "committed" not in frozen.communicate()[0]
    finally:
        frozen.kill()
        frozen.communicate()
    assert journal.run("r1").seq == 2


def test_a_forked_child_does_not_keep_its_dead_parents_run(backend: Backend, journal: SqlJournal, start: Start) -> None:
    journal.create(row(), [], {})
    process = start("fork_while_owning")
    child = int(line(process))
    assert journal.owner("r1") == "forking"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.kill(child, 0)
    backend.expire("r1")
    assert journal.own("r1", "me").epoch == 2


# ---- a store that is full, locked or broken


def test_a_full_disk_changes_nothing_and_the_same_append_works_later(sqlite: SqliteBackend) -> None:
    journal = sqlite.open()
    journal.create(row(), facts(1), {})
    output, _ = command("fill_disk", sqlite.url).communicate()
    first, second, standing, appended = output.splitlines()
    assert first.startswith("unavailable")
    assert second.startswith("unavailable")
    assert "nothing was written" in first
    assert standing == "seq 1 facts 1"
    assert appended == "appended 2001"
    assert len(list(journal.facts("r1"))) == 2001


def test_a_locked_database_is_unavailable_until_it_is_free(sqlite: SqliteBackend) -> None:
    sqlite.open().create(row(), facts(1), {})
    impatient = sqlite.open(busy_timeout_s=0.01)
    other = dbapi.connect(str(sqlite.path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="nothing was written: another process keeps it locked"):
        impatient.append(append(0, 1, facts(1)))
    assert impatient.run("r1").seq == 1
    other.execute("ROLLBACK")
    other.close()
    assert impatient.append(append(0, 1, facts(1))) == 2


def test_a_damaged_file_is_corrupt(sqlite: SqliteBackend) -> None:
    journal = sqlite.open()
    journal.create(row(), facts(20_000), {})
    journal.close()
    with sqlite.path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 40)
    with pytest.raises(JournalCorrupt, match="backup"):
        list(sqlite.open().facts("r1"))


def test_many_threads_drive_many_runs_at_once(backend: Backend, journal: SqlJournal) -> None:
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


# ---- one trigger key, one run


def test_a_key_delivered_a_hundred_times_at_once_makes_one_run(
    backend: Backend, journal: SqlJournal, start: Start
) -> None:
    processes = [start("create_with_key", str(100 * number), "30") for number in range(2)]
    for process in processes:
        assert line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    def deliver(number: int) -> str:
        return journal.create(row(f"thread-{number}", trigger_key="once"), facts(1), {})

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(deliver, range(40)))
    for process in processes:
        told |= set(process.communicate()[0].splitlines())
    [made] = journal.runs()
    assert told == {made.id}
    assert made.trigger_key == "once"
    assert len(list(journal.facts(made.id))) == 1
