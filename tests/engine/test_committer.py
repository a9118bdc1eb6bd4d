"""Commits in order, behind the loop: a full store is waited out, nothing is acknowledged early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.committer import Committer
from orchestrator.errors import StaleEpoch, StoreUnavailable
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, Journal, Ownership, RunRow
from orchestrator.store import open_journal
from orchestrator.testing import FakeClock


class Faulty:
    """A real journal that says it is full for some appends, and can be held up."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.full_for = 0
        self.gate = threading.Event()
        self.gate.set()

    def append(self, append: Append) -> int:
        """Commit, unless full."""
        self.gate.wait(10)
        if self.full_for:
            self.full_for -= 1
            raise StoreUnavailable("the disk is full")
        return self.journal.append(append)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)


class Desk:
    """A run with a committer, and what it has acknowledged."""

    def __init__(self, home: Path) -> None:
        self.store = Faulty(open_journal(f"sqlite:///{home / 'journal.db'}"))
        self.store.create(RunRow("r", "p", "queued", 1, 0, 0.0), [f.RunCreated("p", "g", "c", {})], {})
        self.ownership: Ownership = self.store.own("r", "me")
        self.seq = 1
        self.acknowledged: list[f.Fact] = []
        self.woken = 0
        self.clock = FakeClock()
        self.committer = Committer(self.store, self.clock, self._committed, self._wake)  # type: ignore[arg-type]

    def _committed(self, append: Append) -> None:
        self.acknowledged += append.facts

    def _wake(self) -> None:
        self.woken += 1

    def commit(self, *facts: f.Fact) -> None:
        """Begin a transaction of these facts."""
        self.committer.commit(Append("r", self.ownership.epoch, self.seq, 1.0, facts))
        self.seq += len(facts)


def lost(name: str) -> f.WorkerLost:
    return f.WorkerLost(name, "test")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.committer.close()


def test_facts_are_acknowledged_in_order_after_they_are_durable(desk: Desk) -> None:
    for i in range(20):
        desk.commit(lost(f"a{i}"), lost(f"b{i}"))
        desk.committer.flush()
    stored = [recorded.fact for recorded in desk.store.facts("r", 1)]
    assert desk.acknowledged == stored
    assert len(stored) == 40
    assert desk.woken == 20


def test_nothing_is_acknowledged_while_the_commit_is_under_way(desk: Desk) -> None:
    desk.store.gate.clear()
    desk.commit(lost("a"))
    assert desk.committer.busy
    assert desk.acknowledged == []
    desk.store.gate.set()
    desk.committer.flush()
    assert not desk.committer.busy
    assert desk.acknowledged == [lost("a")]


def test_a_full_store_is_waited_out_and_nothing_is_lost_or_written_twice(desk: Desk) -> None:
    desk.store.full_for = 3
    desk.commit(lost("a"))
    desk.committer.flush()
    assert desk.clock.monotonic() == 3.0
    assert not desk.committer.in_trouble
    assert [recorded.fact for recorded in desk.store.facts("r", 1)] == [lost("a")]


def test_a_driver_that_was_succeeded_can_commit_nothing_more(desk: Desk) -> None:
    desk.ownership.release()
    desk.store.own("r", "somebody else")
    desk.commit(lost("a"))
    with pytest.raises(StaleEpoch):
        desk.committer.flush()
    with pytest.raises(StaleEpoch):
        desk.commit(lost("b"))
    assert desk.acknowledged == []
    assert list(desk.store.facts("r", 1)) == []
