"""Removing runs that have ended from the journal, and what must not be removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import ArtifactMissing, NotFound
from orchestrator.graph.fact import RunCreated, RunFinished
from orchestrator.ports.journal import Append, CacheEntry, Snapshot
from orchestrator.ports.values import digest_bytes
from orchestrator.store import SqlJournal
from tests.store.backend import row

CHUNK = b"an inline chunk"
CREATED = RunCreated("churn", "a" * 64, "b" * 64, {})


def ended(journal: SqlJournal, run: str, **cache: CacheEntry) -> None:
    """A run with everything that the journal can hold of one."""
    journal.create(replace(row(run), tags={"team": "growth"}), [CREATED], {digest_bytes(CHUNK): CHUNK})
    ownership = journal.own(run, "driver")
    journal.post(run, "answer", {"yes": True}, 1.0)
    journal.append(Append(run, ownership.epoch, 1, 2.0, [RunFinished("succeeded")], taken=["answer"], cache=cache))
    journal.save_snapshot(run, Snapshot(1, b"state"))
    ownership.release()


def test_a_removed_run_leaves_nothing(journal: SqlJournal) -> None:
    ended(journal, "old")
    ended(journal, "kept")
    held = journal.held_bytes(["old", "kept"])
    assert held["old"] == held["kept"] > len(CHUNK) + len(b"state")
    assert journal.forget("old", 10.0)
    with pytest.raises(NotFound):
        journal.run("old")
    with pytest.raises(NotFound):
        list(journal.facts("old"))
    assert journal.chunk("old", digest_bytes(CHUNK)) is None
    assert journal.snapshot("old") is None
    assert [run.id for run in journal.runs()] == ["kept"]
    assert journal.chunk("kept", digest_bytes(CHUNK)) == CHUNK
    assert not journal.forget("old", 10.0)


def test_a_run_that_has_not_ended_stays(journal: SqlJournal) -> None:
    journal.create(row("running", state="running"), [CREATED], {})
    assert not journal.forget("running", 10.0)
    assert not journal.forget("no such run", 10.0)
    assert len(list(journal.facts("running"))) == 1


def test_a_run_stays_while_the_cache_hands_out_its_outputs(journal: SqlJournal) -> None:
    ended(journal, "made", key=CacheEntry("made", digest_bytes(CHUNK), 0, 100.0))
    assert journal.reusable_until(99.0) == {"made": 100.0}
    assert not journal.forget("made", 99.0)
    assert journal.forget_expired(99.0) == 0
    assert journal.reusable_until(100.0) == {}
    assert journal.forget("made", 100.0)
    assert journal.forget_expired(100.0) == 1
    assert journal.cached(["key"], 0.0) == {}


def test_roots_without_a_run_are_those_after_its_removal(journal: SqlJournal) -> None:
    ended(journal, "old")
    journal.create(row("kept"), [RunCreated("churn", "c" * 64, "d" * 64, {})], {})

    def roots(*without: str) -> set[str]:
        def missing(digest: str) -> bytes:
            raise ArtifactMissing(digest)

        return set(journal.live_digests(missing, without))

    assert roots() == {"a" * 64, "b" * 64, "c" * 64, "d" * 64}
    assert roots("old") == {"c" * 64, "d" * 64}
    journal.forget("old", 10.0)
    assert roots() == {"c" * 64, "d" * 64}
