"""Seeds of the simulator, and that each guard, taken away, is missed within some seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import pipeline
from orchestrator.engine.committer import Committer
from orchestrator.engine.machine import Machine
from orchestrator.engine.planner import Planner
from orchestrator.engine.state import SETTLED, NodeState, RunFold
from orchestrator.errors import StaleEpoch
from orchestrator.graph import fact as f
from orchestrator.graph.fact import FINISHED
from orchestrator.graph.json import seal
from orchestrator.ports.executor import Bundle
from orchestrator.ports.journal import Append, InboxRow
from orchestrator.testing.simulator import run_seeds, simulate
from orchestrator.testing.simulator.__main__ import main
from orchestrator.testing.simulator.graphs import double, numbers
from orchestrator.testing.simulator.search import Failure, failure_of, shrink, spread
from orchestrator.testing.simulator.store import Lease, Store, StoredRun
from orchestrator.testing.simulator.values import encode

Patch = pytest.MonkeyPatch


@pytest.mark.slow
@pytest.mark.timeout(950)
def test_ten_thousand_seeds_break_no_promise() -> None:
    failures = spread(range(10_000), min(2, os.cpu_count() or 1))
    assert not failures, "\n".join(f"{failure.message}\n  {shrink(failure).command}" for failure in failures[:5])


def test_a_seed_happens_the_same_way_again() -> None:
    def trace(seed: int) -> list[str]:
        lines: list[str] = []
        simulate(seed, lines.append)
        return lines

    for seed in range(700, 720):
        assert trace(seed) == trace(seed)


def test_a_seed_is_shown_by_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "701", "--trace"]) == 0
    shown = capsys.readouterr().out
    assert "owns the run under epoch 1" in shown
    assert shown.endswith("every promise held\n")


# ---- what seeds have found


def test_an_item_that_failed_before_the_width_of_its_map_was_known_is_replayed() -> None:
    graph = seal(_map_over_map.graph(), encode)
    fold = RunFold("r", graph)
    fold.apply(f.AttemptFailed("double#2", 1, f.Failure(("builtins:OSError",), "again"), 5.0), 1.0)
    assert fold.nodes["double#2"].length == 2
    assert fold.retrying == {("double#2", 1): 5.0}


@pytest.mark.parametrize("seed", [84, 1115, 1801])
def test_seeds_that_failed_once_hold(seed: int) -> None:
    """A retry in a map of unknown width; drivers that woke with nothing to submit, and waited for ever."""
    assert failure_of(seed) is None


@pipeline
def _map_over_map() -> Any:
    return double.map(double.map(numbers(3)))


# ---- without a guard, some seed breaks a promise


def first_failure(seeds: int) -> Failure:
    """The first of so many seeds that fails."""
    for failure in run_seeds(range(seeds)):
        return failure
    pytest.fail(f"{seeds} seeds did not notice that the guard is gone")


def test_the_epoch_in_the_fence_is_missed(monkeypatch: Patch) -> None:
    def only_seq(self: Store, stored: StoredRun, append: Append) -> None:
        if stored.row.state in FINISHED or append.seq != stored.row.seq:
            raise StaleEpoch("another driver wrote")

    monkeypatch.setattr(Store, "_fence", only_seq)
    assert "epoch" in first_failure(2000).message


def test_the_sequence_in_the_fence_is_missed(monkeypatch: Patch) -> None:
    def only_epoch(self: Store, stored: StoredRun, append: Append) -> None:
        if stored.row.state in FINISHED or append.epoch != stored.row.epoch:
            raise StaleEpoch("another driver took over")

    monkeypatch.setattr(Store, "_fence", only_epoch)
    assert "there" in first_failure(2000).message or "outcome" in first_failure(2000).message


def test_one_outcome_a_step_is_missed(monkeypatch: Patch) -> None:
    def all_of_it(self: Machine, ranges: Any, node: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        yield start, stop

    def settle(self: RunFold, state: NodeState, start: int, stop: int, status: int) -> None:
        fresh = sum(current not in SETTLED for current in state.status[start:stop])
        state.status[start:stop] = bytes([status]) * (stop - start)
        state.settled += fresh

    monkeypatch.setattr(Machine, "_owed", all_of_it)
    monkeypatch.setattr(RunFold, "_settle", settle)
    assert "outcome" in first_failure(500).message


def test_the_barrier_before_effects_is_missed(monkeypatch: Patch) -> None:
    plan = Planner.plan

    def at_once(self: Planner, room: int, barriers: bool) -> Iterator[Bundle]:
        return plan(self, room, True)

    monkeypatch.setattr(Planner, "plan", at_once)
    assert "payloads" in first_failure(2000).message


def test_the_commit_before_the_acknowledgement_is_missed(monkeypatch: Patch) -> None:
    attempt = Committer._attempt

    def too_early(self: Committer, append: Append) -> bool:
        self._on_committed(append)
        return attempt(self, append)

    monkeypatch.setattr(Committer, "_attempt", too_early)
    assert "acknowledged" in first_failure(100).message


def test_the_unique_key_of_the_inbox_is_missed(monkeypatch: Patch) -> None:
    def post(self: Store, run: str, key: str, body: Any, at: float) -> bool:
        stored = self.stored(run)
        stored.inbox[f"{key} {len(stored.inbox)}"] = InboxRow(f"{key} {len(stored.inbox)}", dict(body), at)
        return True

    monkeypatch.setattr(Store, "post", post)
    assert "accepted" in first_failure(2000).message


def test_asking_before_submitting_whether_the_run_is_still_held_is_missed(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Lease, "verify", lambda self: None)
    failure = first_failure(3000)
    assert "starts after its outcome" in failure.message or "last fault" in failure.message
    assert shrink(failure).message
