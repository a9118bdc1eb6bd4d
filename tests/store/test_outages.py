"""PostgreSQL goes away and comes back: nothing acknowledged is lost, nothing is done twice, nobody has to know."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from orchestrator.errors import RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.graph.fact import MapExpanded
from orchestrator.ports.journal import Snapshot
from orchestrator.store import SqlJournal, open_journal
from orchestrator.store.postgres import PostgresDatabase
from tests.store.backend import PostgresBackend, append, facts, row
from tests.store.proxy import CuttingProxy, Moment

WAYS: list[tuple[Moment, ...]] = [("before",), ("after",), ("before", "after"), ("after", "after")]


@pytest.fixture
def proxy(on_server: PostgresBackend) -> Iterator[CuttingProxy]:
    made = CuttingProxy(on_server.server.port)
    yield made
    made.close()


@pytest.fixture
def journal(on_server: PostgresBackend, proxy: CuttingProxy) -> Iterator[SqlJournal]:
    """A journal behind the proxy."""
    opened = open_journal(on_server.server.url(on_server.name, proxy.port))
    yield opened
    opened.close()


@pytest.mark.parametrize("moments", WAYS)
def test_a_lost_commit_or_answer_doubles_and_loses_nothing(
    journal: SqlJournal, proxy: CuttingProxy, on_server: PostgresBackend, moments: tuple[Moment, ...]
) -> None:
    count = len(moments)
    proxy.cut(*moments)
    assert journal.create(row(trigger_key="key", tags={"a": "b"}), facts(2), {}) == "r1"
    assert proxy.cuts == count
    proxy.cut(*moments)
    epoch = journal.own("r1", "me").epoch
    assert proxy.cuts == 2 * count
    proxy.cut(*moments)
    assert journal.append(append(epoch, 2, facts(3))) == 5
    assert proxy.cuts == 3 * count
    proxy.cut(*moments)
    assert journal.post("r1", "go", {}, 1.0)
    assert proxy.cuts == 4 * count
    proxy.cut(*moments)
    journal.save_snapshot("r1", Snapshot(5, b"state"))
    assert proxy.cuts == 5 * count
    seen = on_server.open()
    assert [entry.fact for entry in seen.facts("r1")] == facts(2) + facts(3)
    assert seen.run("r1").tags == {"a": "b"}
    assert [request.key for request in seen.inbox("r1")] == ["go"]
    assert seen.owner("r1") == "me"
    with pytest.raises(RunOwned, match="driven by me"):
        seen.own("r1", "other")


def test_a_successor_that_came_while_the_answer_was_lost_keeps_the_run(
    journal: SqlJournal, proxy: CuttingProxy, on_server: PostgresBackend
) -> None:
    journal.create(row(), facts(1), {})
    epoch = journal.own("r1", "me").epoch
    on_server.expire("r1")
    other = on_server.open()
    assert other.append(append(other.own("r1", "other").epoch, 1, facts(2))) == 3
    proxy.cut("after")
    with pytest.raises(StaleEpoch, match="has been taken over by other"):
        journal.append(append(epoch, 1, facts(5)))
    assert len(list(other.facts("r1"))) == 3


def test_a_run_goes_on_over_crashes_of_the_server(on_server: PostgresBackend) -> None:
    journal, server = on_server.open(), on_server.server
    journal.create(row(), [], {})
    ownership = journal.own("r1", "me")
    acknowledged: list[int] = []
    failures: list[BaseException] = []
    enough, done = threading.Event(), threading.Event()

    def drive() -> None:
        seq = 0
        try:
            while not done.is_set():
                seq = journal.append(append(ownership.epoch, seq, [MapExpanded("n", seq + i) for i in range(5)]))
                acknowledged.append(seq)
                journal.inbox("r1")
                if len(acknowledged) % 10 == 0:
                    enough.set()
        except BaseException as error:
            failures.append(error)
            enough.set()
            raise

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        for _ in range(2):
            enough.wait()
            server.stop(signal.SIGQUIT)
            server.start()
            enough.clear()
        enough.wait()
    finally:
        done.set()
        driver.join()
    assert failures == []
    recorded = [entry.fact for entry in journal.facts("r1")]
    assert recorded == [MapExpanded("n", number) for number in range(acknowledged[-1])]
    ownership.verify()
    assert journal.owner("r1") == "me"


def test_a_server_that_stays_away_is_unavailable_and_the_same_append_works_later(on_server: PostgresBackend) -> None:
    database = PostgresDatabase(on_server.url, outage_s=0.2)
    journal = SqlJournal(database)
    journal.create(row(), facts(1), {})
    new = append(0, 1, facts(1))
    on_server.server.stop(signal.SIGQUIT)
    try:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            journal.append(new)
        with pytest.raises(StoreUnavailable, match="does not answer"):
            on_server.open()
    finally:
        on_server.server.start()
    assert journal.append(new) == 2
    journal.close()


def test_no_password_in_what_is_told(on_server: PostgresBackend) -> None:
    url = f"postgresql://orc:s3cret@127.0.0.1:1/{on_server.name}"
    with pytest.raises(StoreUnavailable) as caught:
        open_journal(url)
    assert "s3cret" not in str(caught.value)
    assert "***" in str(caught.value)
