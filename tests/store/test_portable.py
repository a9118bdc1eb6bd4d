"""Backups: taken while runs are driven, restored into any kind of database, and found out when they are damaged."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, JournalCorrupt, NotFound
from orchestrator.graph.fact import MapExpanded, VersionPublished
from orchestrator.ports.journal import CacheEntry, Journal, Snapshot
from orchestrator.ports.promotion import GateCheck, Wanted
from orchestrator.ports.values import digest_bytes, encode_cell
from orchestrator.store import SqlJournal, open_database
from orchestrator.store.portable import back_up, damaged_chunks, restore
from tests.store.backend import BACKENDS, Backend, a_chunk, append, facts, make_backend, row


def fill(journal: SqlJournal) -> None:
    """Something in every table."""
    digest, data = a_chunk("a", 2)
    journal.create(row(tags={"team": "ml"}, trigger_key="hour 7"), facts(700), {digest: data})
    journal.create(row("r2", created_at=2.0), [], {})
    for key in ("later", "sooner", "taken"):
        journal.post("r1", key, {"n": 1}, 1.0)
    entry = CacheEntry("r1", digest, 0, float("inf"), {"stage": "s"})
    journal.append(append(0, 700, facts(3), taken=["taken"], cache={"k": entry}, state="waiting"))
    journal.save_snapshot("r1", Snapshot(700, b"state"))


def content(journal: Journal) -> list[object]:
    digest, _ = a_chunk("a", 2)
    return [
        journal.runs(),
        list(journal.facts("r1")),
        journal.chunk("r1", digest),
        journal.snapshot("r1"),
        journal.inbox("r1"),
        journal.cached(["k"], 0.0),
        journal.run_of_key("hour 7"),
    ]


@pytest.mark.parametrize("target", BACKENDS)
def test_everything_comes_back_in_any_database(
    backend: Backend, journal: SqlJournal, request: pytest.FixtureRequest, tmp_path: Path, target: str
) -> None:
    fill(journal)
    file = tmp_path / "backup.orc"
    counts = back_up(open_database(backend.url), file)
    filled = {"run": 2, "tags": 1, "fact": 703, "chunk": 1, "snapshot": 1, "inbox": 3, "cache": 1}
    assert {table: count for table, count in counts.items() if count} == filled
    (tmp_path / "target").mkdir()
    other = make_backend(request, target, tmp_path / "target")
    database = open_database(other.url)
    assert restore(database, file) == counts
    restored = SqlJournal(database)
    assert content(restored) == content(journal)
    assert list(damaged_chunks(database)) == []
    assert not restored.post("r1", "taken", {}, 1.0)
    assert restored.post("r1", "new", {}, 1.0)
    ownership = restored.own("r1", "me")
    assert restored.append(append(ownership.epoch, 703, facts(1))) == 704
    with pytest.raises(ConfigError, match="is not empty"):
        restore(database, file)
    restored.close()
    other.close()


def test_a_backup_knows_where_models_stand_and_who_put_them_there(
    backend: Backend, journal: SqlJournal, tmp_path: Path
) -> None:
    journal.create(row(), [], {})
    cell = encode_cell("m")
    journal.append(append(0, 0, [VersionPublished("model:m", digest_bytes(cell), cell, "fit")]))
    journal.registry.promote(Wanted("model:m", 1, "staging", "ann", 5.0, "better", (GateCheck("gate", True),)))
    file = tmp_path / "backup.orc"
    assert back_up(open_database(backend.url), file)["promotion"] == 1
    other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    restore(other, file)
    restored = SqlJournal(other)
    assert restored.registry.promotions("model:m") == journal.registry.promotions("model:m")
    assert restored.registry.standing("model:m").tags == {"staging": 1}
    restored.close()


def test_a_backup_taken_while_a_run_is_driven_is_one_state(
    backend: Backend, journal: SqlJournal, tmp_path: Path
) -> None:
    journal.create(row(), [], {})
    begun, done = threading.Event(), threading.Event()

    def drive() -> None:
        seq = 0
        while not done.is_set():
            seq = journal.append(append(0, seq, [MapExpanded("n", seq + number) for number in range(7)]))
            begun.set()

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        begun.wait()
        counts = [back_up(open_database(backend.url), tmp_path / f"{number}.orc")["fact"] for number in range(3)]
    finally:
        done.set()
        driver.join()
    for number, count in enumerate(counts):
        database = open_database(f"sqlite:///{tmp_path}/{number}.db")
        restore(database, tmp_path / f"{number}.orc")
        restored = SqlJournal(database)
        assert count % 7 == 0
        assert restored.run("r1").seq == count
        assert [entry.fact for entry in restored.facts("r1")] == [MapExpanded("n", seq) for seq in range(count)]
        restored.close()


def test_a_damaged_or_foreign_file_restores_nothing(journal: SqlJournal, tmp_path: Path) -> None:
    fill(journal)
    whole = tmp_path / "whole.orc"
    back_up(journal._database, whole)
    data = whole.read_bytes()
    frames = gzip.decompress(data)
    harmed = {
        "empty": b"",
        "text": b"hello",
        "cut": data[: len(data) // 2],
        "flipped": data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
        "short": gzip.compress(frames[: len(frames) - 60]),
        "foreign": gzip.compress(b"\0" * 7 + b"\1\x80"),
    }
    database = open_database(f"sqlite:///{tmp_path}/target.db")
    for name, harm in harmed.items():
        (tmp_path / name).write_bytes(harm)
        with pytest.raises(JournalCorrupt, match="nothing was restored"):
            restore(database, tmp_path / name)
        assert SqlJournal(database).runs() == []
    assert restore(database, whole)["run"] == 2
    database.close()


def test_files_are_neither_overwritten_nor_left_behind(journal: SqlJournal, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "there").write_text("precious")
    with pytest.raises(ConfigError, match="exists"):
        back_up(journal._database, folder / "there")
    with pytest.raises(ConfigError, match="cannot be written"):
        back_up(journal._database, folder / "no" / "folder")
    with pytest.raises(NotFound, match="no backup"):
        restore(journal._database, folder / "nothing")
    assert [path.name for path in folder.iterdir()] == ["there"]


def test_facts_of_no_run_are_damage(backend: Backend, journal: SqlJournal) -> None:
    journal.create(row(), facts(2), {})
    database = open_database(backend.url)
    assert database.damage() == []
    backend.harm("INSERT INTO fact SELECT 'lost', seq, kind, at, body FROM fact WHERE seq = 1")
    assert len(database.damage()) == 1


def test_a_damaged_chunk_is_found(backend: Backend, journal: SqlJournal) -> None:
    digest, data = a_chunk("abc")
    journal.create(row(), facts(1), {digest: data})
    backend.harm("UPDATE chunk SET data = ?", data + b"\0")
    assert list(damaged_chunks(open_database(backend.url))) == [f"run r1: chunk {digest} is damaged"]
