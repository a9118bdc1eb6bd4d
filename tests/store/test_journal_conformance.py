"""Every promise of ``ports/journal.py``, for every back end: appends, facts, chunks, snapshots, inbox, cache."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.errors import JournalCorrupt, NotFound, RunOwned, StaleEpoch
from orchestrator.graph import fact as f
from orchestrator.graph.fact import DriverStarted, MapExpanded, Recorded, RunCreated, RunFinished
from orchestrator.ports.journal import CacheEntry, Journal, Snapshot
from orchestrator.store import SqlJournal
from tests.store.backend import Backend, a_chunk, append, completed, facts, row

CREATED = RunCreated("churn", "g" * 64, "c" * 64, {"path": "'x.csv'"}, tags={"team": "ml"})


def everything(journal: Journal, run: str = "r1") -> tuple[Any, ...]:
    """All that an append may change."""
    keys = ["key", "other"]
    return journal.run(run), list(journal.facts(run)), journal.inbox(run), journal.cached(keys, 0.0)


# ---- create


def test_a_new_run_has_its_facts_chunks_and_tags(journal: SqlJournal) -> None:
    digest, data = a_chunk(1, 2)
    journal.create(row(tags={"team": "ml"}), [CREATED, *facts(1)], {digest: data})
    assert journal.run("r1") == row(seq=2, tags={"team": "ml"})
    assert list(journal.facts("r1")) == [Recorded(1, 1.0, CREATED), Recorded(2, 1.0, *facts(1))]
    assert journal.chunk("r1", digest) == data


@pytest.mark.parametrize("run", ["", "r1", "a\nb", "a\0b", "\udc80"])
def test_an_empty_taken_or_unprintable_id_is_refused(journal: SqlJournal, run: str) -> None:
    journal.create(row(), [CREATED], {})
    before = everything(journal)
    with pytest.raises(ValueError, match="id"):
        journal.create(row(run), facts(3), {})
    assert everything(journal) == before
    assert len(journal.runs()) == 1


def test_a_trigger_key_has_one_run(journal: SqlJournal) -> None:
    digest, data = a_chunk(1)
    assert journal.run_of_key("hour 7") is None
    assert journal.create(row(trigger_key="hour 7", tags={"n": "1"}), [CREATED], {}) == "r1"
    assert journal.create(row("r2", trigger_key="hour 7", tags={"n": "2"}), facts(3), {digest: data}) == "r1"
    assert journal.create(row("r3", trigger_key="hour 8"), [CREATED], {}) == "r3"
    assert journal.run_of_key("hour 7") == "r1"
    assert {found.id for found in journal.runs()} == {"r1", "r3"}
    assert journal.run("r1").trigger_key == "hour 7"
    for run in ("r4", "r5"):
        assert journal.create(row(run), [], {}) == run


def test_a_run_begins_with_its_driver(backend: Backend, journal: SqlJournal) -> None:
    ownership = journal.begin(row(tags={"n": "1"}), [CREATED], {}, "me")
    assert not isinstance(ownership, str)
    assert journal.run("r1") == row(seq=1, epoch=1, driver="me", tags={"n": "1"})
    assert backend.open().owner("r1") == "me"
    with pytest.raises(RunOwned):
        backend.open().own("r1", "other")
    assert journal.append(append(1, 1, facts(2))) == 3
    ownership.release()
    assert journal.owner("r1") is None
    assert journal.own("r1", "other").epoch == 2


def test_a_run_does_not_begin_if_its_trigger_key_has_one(journal: SqlJournal) -> None:
    first = journal.begin(row(trigger_key="hour 7"), [CREATED], {}, "me")
    assert not isinstance(first, str)
    assert journal.begin(row("r2", trigger_key="hour 7"), [CREATED], {}, "another") == "r1"
    assert journal.owner("r1") == "me"
    assert journal.owner("r2") is None
    assert [found.id for found in journal.runs()] == ["r1"]
    with pytest.raises(ValueError, match="id"):
        journal.begin(row(""), [CREATED], {}, "me")


# ---- append


def test_append_moves_seq_facts_state_chunks_inbox_and_cache_together(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    journal.post("r1", "go", {"kind": "signal"}, 1.5)
    epoch = journal.own("r1", "me").epoch
    digest, data = a_chunk("out")
    entry = CacheEntry("r1", digest, 0, 9.0, {"stage": "load", "code": "x"})
    started = DriverStarted(epoch, "me", "host", 1, "inline")
    new = append(
        epoch,
        1,
        [started, completed(digest)],
        chunks={digest: data},
        taken=["go"],
        cache={"key": entry},
        state="running",
    )
    assert journal.append(new) == 3
    assert journal.run("r1") == row(state="running", seq=3, epoch=epoch, started_at=2.0, driver="me")
    assert list(journal.facts("r1", after=1)) == [Recorded(2, 2.0, started), Recorded(3, 2.0, completed(digest))]
    assert journal.chunk("r1", digest) == data
    assert journal.inbox("r1") == []
    assert journal.cached(["key"], 8.0) == {"key": entry}


def test_others_see_facts_when_append_returns(backend: Backend, journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    journal.append(append(0, 1, facts(5)))
    assert len(list(backend.open().facts("r1"))) == 6


@pytest.mark.parametrize(("epoch", "seq"), [(0, 1), (2, 1), (1, 0), (1, 2)])
def test_another_epoch_or_seq_changes_nothing(journal: SqlJournal, epoch: int, seq: int) -> None:
    journal.create(row(), [CREATED], {})
    journal.post("r1", "go", {}, 1.0)
    journal.own("r1", "me")
    before = everything(journal)
    digest, data = a_chunk(7)
    entry = CacheEntry("r1", digest, 0, math.inf)
    stale = append(epoch, seq, facts(2), chunks={digest: data}, taken=["go"], cache={"key": entry}, state="failed")
    with pytest.raises(StaleEpoch, match="r1 stands at epoch 1, fact 1" if epoch else "r1 has been taken over by me"):
        journal.append(stale)
    assert everything(journal) == before
    assert journal.chunk("r1", digest) is None


def test_an_append_without_facts_is_fenced_too(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    assert journal.append(append(0, 1, state="waiting")) == 1
    assert journal.run("r1").state == "waiting"
    with pytest.raises(StaleEpoch):
        journal.append(append(0, 2, state="running"))


def test_the_same_append_again_changes_nothing_more(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    journal.post("r1", "go", {}, 1.0)
    first = append(0, 1, facts(2), taken=["go"], state="running")
    assert [journal.append(first) for _ in range(3)] == [3, 3, 3]
    last = append(0, 3, [RunFinished("failed")])
    assert [journal.append(last) for _ in range(2)] == [4, 4]
    assert len(list(journal.facts("r1"))) == 4
    with pytest.raises(StaleEpoch):
        journal.append(first)


def test_append_to_no_run_says_so(journal: SqlJournal) -> None:
    with pytest.raises(NotFound, match="'r9'"):
        journal.append(append(0, 0, facts(1), run="r9"))


@pytest.mark.parametrize("state", sorted(f.FINISHED))
def test_a_finished_run_takes_no_more_facts(journal: SqlJournal, state: f.RunState) -> None:
    journal.create(row(), [CREATED], {})
    assert journal.append(append(0, 1, [RunFinished(state)], at=5.0)) == 2
    assert journal.run("r1") == row(state=state, seq=2, finished_at=5.0)
    for late in (append(0, 2, facts(1)), append(0, 2, state="running"), append(0, 2, [RunFinished("failed")])):
        with pytest.raises(StaleEpoch, match=f"r1 is {state}"):
            journal.append(late)
    assert journal.run("r1") == row(state=state, seq=2, finished_at=5.0)


def test_facts_after_the_end_or_another_state_than_it_are_refused(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    with pytest.raises(ValueError, match="must be the last"):
        journal.append(append(0, 1, [RunFinished("failed"), *facts(1)]))
    with pytest.raises(ValueError, match="contradicts"):
        journal.append(append(0, 1, [RunFinished("failed")], state="succeeded"))
    assert journal.run("r1") == row(seq=1)


def test_a_fact_that_cannot_be_stored_leaves_nothing_behind(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    with pytest.raises(ValueError, match="StepFailed cannot be stored"):
        journal.append(append(0, 1, [*facts(3), f.StepFailed("a", 0, f.Failure((), "\udc80"))]))
    assert journal.run("r1").seq == 1


def test_the_same_chunk_may_come_twice_and_belongs_to_its_run(journal: SqlJournal) -> None:
    digest, data = a_chunk(1)
    journal.create(row(), [CREATED], {digest: data})
    journal.create(row("r2"), [CREATED], {})
    journal.append(append(0, 1, facts(1), chunks={digest: data}))
    assert journal.chunk("r1", digest) == data
    assert journal.chunk("r2", digest) is None


def test_threads_that_race_for_one_seq_leave_one_winner(journal: SqlJournal) -> None:
    journal.create(row(), [], {})
    wins: list[int] = []
    stale: list[StaleEpoch] = []

    def race(number: int) -> None:
        try:
            wins.append(journal.append(append(0, 0, [MapExpanded(f"by {number}", 0)] * 3)))
        except StaleEpoch as error:
            stale.append(error)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins == [3]
    assert len(stale) == 7
    assert len({recorded.fact for recorded in journal.facts("r1")}) == 1


# ---- reading facts


def test_facts_of_an_unknown_run_raise_at_once(journal: SqlJournal) -> None:
    with pytest.raises(NotFound):
        journal.facts("r9")


def test_many_facts_come_in_order_and_once(journal: SqlJournal) -> None:
    journal.create(row(), [], {})
    many = facts(10_000)
    journal.append(append(0, 0, many))
    assert [recorded.fact for recorded in journal.facts("r1")] == many
    assert [recorded.seq for recorded in journal.facts("r1", after=9_990)] == list(range(9_991, 10_001))
    assert list(journal.facts("r1", after=10_000)) == []


def test_a_reader_that_stops_halfway_blocks_nobody(journal: SqlJournal) -> None:
    journal.create(row(), facts(5_000), {})
    reading = journal.facts("r1")
    next(reading)
    assert journal.append(append(0, 5_000, facts(1))) == 5_001
    assert sum(1 for _ in reading) == 4_999


@pytest.mark.parametrize("missing", [1, 4, 10])
def test_a_missing_fact_is_found(backend: Backend, journal: SqlJournal, missing: int) -> None:
    journal.create(row(), facts(10), {})
    backend.harm("DELETE FROM fact WHERE run = 'r1' AND seq = ?", missing)
    with pytest.raises(JournalCorrupt, match=f"run r1: fact {missing} is missing") as caught:
        list(journal.facts("r1"))
    assert caught.value.details == {"run": "r1", "seq": missing}


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("body", b"", "cannot be read"),
        ("body", b"\xc1", "cannot be read"),
        ("body", b"\x81\xa4node\xa1", "cannot be read"),
        ("body", b"\x81\xa4node\x01", "cannot be read"),
        ("body", b"\x82\xa4node\xa1\xff\xa5width\x01", "cannot be read"),
        ("kind", "StepsTeleported", "unknown kind 'StepsTeleported'"),
    ],
)
def test_an_unreadable_fact_is_named(
    backend: Backend, journal: SqlJournal, column: str, value: object, told: str
) -> None:
    journal.create(row(), facts(3), {})
    backend.harm(f"UPDATE fact SET {column} = ? WHERE run = 'r1' AND seq = 2", value)
    with pytest.raises(JournalCorrupt, match=f"run r1: fact 2 .*{told}"):
        list(journal.facts("r1"))


# ---- chunks and snapshots


def test_a_damaged_chunk_is_never_handed_out(backend: Backend, journal: SqlJournal) -> None:
    digest, data = a_chunk("abc")
    journal.create(row(), [CREATED], {digest: data})
    backend.harm("UPDATE chunk SET data = ?", data + b"\0")
    with pytest.raises(JournalCorrupt, match=f"run r1: chunk {digest}"):
        journal.chunk("r1", digest)


def test_a_snapshot_is_replaced_but_never_by_an_older_one(journal: SqlJournal) -> None:
    journal.create(row(), facts(5), {})
    assert journal.snapshot("r1") is None
    for saved, expected in [(2, b"2"), (4, b"4"), (3, b"4"), (4, b"4 again")]:
        journal.save_snapshot("r1", Snapshot(saved, b"%d" % saved if b"again" not in expected else expected))
        stored = journal.snapshot("r1")
        assert stored is not None
        assert stored.body == expected


def test_a_snapshot_ahead_of_the_facts_or_of_no_run_is_refused(journal: SqlJournal) -> None:
    journal.create(row(), facts(5), {})
    with pytest.raises(ValueError, match="ahead"):
        journal.save_snapshot("r1", Snapshot(6, b""))
    with pytest.raises(NotFound):
        journal.save_snapshot("r9", Snapshot(0, b""))


def test_a_damaged_snapshot_counts_as_none(
    backend: Backend, journal: SqlJournal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.create(row(), facts(5), {})
    journal.save_snapshot("r1", Snapshot(5, b"state"))
    backend.harm("UPDATE snapshot SET body = ?", b"stale")
    assert journal.snapshot("r1") is None
    assert "r1" in caplog.text


# ---- inbox


def test_a_key_is_accepted_once_for_ever(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    journal.create(row("r2"), [CREATED], {})
    body = {"kind": "approve", "node": "gate", "value": [1, None, True, {"x": 2.5}], "data": b"\0"}
    assert journal.post("r1", "a", body, 5.0)
    assert not journal.post("r1", "a", {"other": 1}, 6.0)
    assert journal.post("r1", "b", {}, 3.0)
    assert journal.post("r2", "a", {}, 3.0)
    assert journal.inbox("r1") == [("a", body, 5.0), ("b", {}, 3.0)]
    journal.append(append(0, 1, facts(1), taken=["a"]))
    assert [waiting.key for waiting in journal.inbox("r1")] == ["b"]
    assert [waiting.key for waiting in journal.inbox("r2")] == ["a"]
    assert not journal.post("r1", "a", body, 7.0)
    assert [waiting.key for waiting in journal.inbox("r1")] == ["b"]


def test_requests_wait_without_an_owner_and_need_a_run(journal: SqlJournal) -> None:
    with pytest.raises(NotFound):
        journal.post("r9", "a", {}, 1.0)
    assert journal.inbox("r9") == []


def test_a_request_that_cannot_be_stored_is_refused(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    with pytest.raises(ValueError, match="request 'a' cannot be stored"):
        journal.post("r1", "a", {"value": object()}, 1.0)
    assert journal.post("r1", "a", {}, 1.0)


def test_requests_posted_at_once_all_arrive_and_each_key_once(backend: Backend, journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    others = [journal, backend.open(), backend.open()]

    def post(poster: int) -> int:
        own = sum(others[poster % 3].post("r1", f"{poster} {number}", {}, 1.0) for number in range(10))
        assert own == 10
        return sum(others[poster % 3].post("r1", f"shared {number}", {}, 1.0) for number in range(10))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(post, range(6))) == 10
    assert len(journal.inbox("r1")) == 70


# ---- cache


def test_cache_entries_expire_and_are_replaced(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    short = CacheEntry("r1", "d" * 64, 3, 10.0, {"stage": "load", "code": "1"})
    ever = CacheEntry("r1", "e" * 64, 0, math.inf, {"stage": "fit"})
    assert journal.append(append(0, 1, cache={"s": short, "e": ever})) == 1
    assert journal.cached(["s", "e", "unknown"], 9.9) == {"s": short, "e": ever}
    assert journal.cached(["s", "e"], 10.0) == {"e": ever}
    longer = short._replace(expires_at=20.0, parts={"stage": "load", "code": "2"})
    journal.append(append(0, 1, cache={"s": longer}))
    assert journal.cached(["s"], 19.0) == {"s": longer}
    assert journal.cached([], 0.0) == {}


def test_thousands_of_cache_keys_in_one_question(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    entries = {f"key {number}": CacheEntry("r1", "d" * 64, number, 10.0) for number in range(3_000)}
    journal.append(append(0, 1, cache=entries))
    assert journal.cached([*entries, "unknown"], 1.0) == entries


def test_the_nearest_entry_is_the_newest_of_its_stage(journal: SqlJournal) -> None:
    journal.create(row(), [CREATED], {})
    entries = [CacheEntry("r1", "d" * 64, at, 100.0 - at, {"stage": stage}) for at, stage in enumerate("aabb")]
    for at, entry in enumerate(entries):
        journal.append(append(0, 1, at=float(at), cache={f"k{at}": entry}))
    assert journal.nearest_cached("a", 0.0) == entries[1]
    assert journal.nearest_cached("b", 0.0) == entries[3]
    assert journal.nearest_cached("a", 99.5) == entries[0]
    assert journal.nearest_cached("c", 0.0) is None


# ---- close


def test_close_twice(journal: SqlJournal) -> None:
    journal.close()
    journal.close()
