"""Every order of two drivers; those left out come to the same, and without a guard some order breaks a promise."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from orchestrator import pipeline
from orchestrator.engine.committer import Committer
from orchestrator.engine.planner import Planner
from orchestrator.errors import StaleEpoch
from orchestrator.graph.fact import FINISHED
from orchestrator.graph.json import seal
from orchestrator.graph.node import Graph
from orchestrator.ports.executor import Bundle
from orchestrator.ports.journal import Append
from orchestrator.testing.simulator import Broken, explore
from orchestrator.testing.simulator.clockwork import BEGIN_S, Clockwork, Entry
from orchestrator.testing.simulator.graphs import double, draw, send
from orchestrator.testing.simulator.interleavings import Moment, Search, replay, three_steps
from orchestrator.testing.simulator.likeness import Likeness
from orchestrator.testing.simulator.race import Race
from orchestrator.testing.simulator.store import Lease, Store, StoredRun
from orchestrator.testing.simulator.values import encode

Patch = pytest.MonkeyPatch


@pipeline
def no_step() -> Any:
    return 1


@pipeline
def one_step() -> Any:
    return double(1)


@pipeline
def two_steps() -> Any:
    return send(draw(1))


def sealed(drawn: Any) -> Graph:
    return seal(drawn.graph(), encode)


@pytest.mark.slow
@pytest.mark.timeout(950)
def test_no_order_of_two_drivers_and_three_steps_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """All where others come in where a driver waits; ``--orders`` lets them in at every call of a port, too."""
    visited = explore(stepwise=False)
    with capsys.disabled():
        print(f"{visited.orders} orders, {len(visited.moments)} moments, {visited.takeovers} takeovers", end=" ")
    assert visited.takeovers > visited.orders // 4
    drawn = outcomes_by_chance(three_steps(), 100)
    assert len(drawn) > 5
    assert drawn <= visited.outcomes


def test_orders_that_are_left_out_come_to_the_same() -> None:
    fewer, fully = explore(sealed(no_step)), explore(sealed(no_step), fully=True)
    assert fewer.outcomes == fully.outcomes
    assert fewer.moments.keys() < fully.moments.keys()


def outcomes_by_chance(graph: Graph, count: int) -> set[int]:
    """What orders come to that are drawn from all that there are; the lease ends sooner or later."""
    chance, outcomes = random.Random(1), set()
    for number in range(count):
        late = (0.02, 0.1, 0.5)[number % 3]

        def choose(race: Race, offered: Sequence[Entry], late: float = late) -> int:
            others = [at for at, entry in enumerate(offered) if entry[2] != "lease"]
            return chance.choice(others) if others and chance.random() > late else chance.randrange(len(offered))

        race = Race(graph, choose, stepwise=False)
        race.race()
        outcomes.add(hash(race.outcome()))
    return outcomes


def test_actions_are_put_off_for_ever_where_nothing_leads_out_of_a_circle() -> None:
    search = Search(sealed(no_step))
    search.visited.moments |= {
        1: Moment([], [], {2, 4}),
        2: Moment([0], [1], {3}),
        3: Moment([0, 0], [1], {2}),  # round and round with the one before
        4: Moment([1], [1], {4, 5}),
        5: Moment([1, 0], [1], {1}),
    }
    assert search.without_a_way_to([1]) == [2, 3]


# ---- moments are told apart


class Ours:
    def __init__(self, first: Any, second: Any = None, at_s: float = 0.0) -> None:
        self.first, self.second, self.at_s = first, second, at_s


def told(thing: Any, now_s: float = BEGIN_S) -> tuple[Any, ...]:
    like = Likeness(frozenset({Clockwork}))
    like.now_s = now_s
    like.take(thing)
    return like.told()


def test_things_are_alike_that_hold_the_same() -> None:
    assert told(Ours([1, {"a": {3, 2}}])) == told(Ours([1, {"a": {2, 3}}]))
    assert told(Ours([1, {"a": {2, 3}}])) != told(Ours([1, {"a": {2, 4}}]))
    assert told(Ours(ValueError("this"))) == told(Ours(ValueError("that")))
    assert told(Ours(Clockwork())) == told(Ours(Clockwork()))
    assert told(Ours(lambda x: x)) != told(Ours(lambda x: x))


def test_one_thing_in_two_places_is_not_like_two_that_are_equal() -> None:
    one: list[int] = [1]
    assert told(Ours(one, one)) != told(Ours([1], [1]))
    one.append(one)  # type: ignore[arg-type]
    assert told(one)


def test_moments_are_as_far_away_as_they_are_on_the_clock() -> None:
    assert told(Ours(1, at_s=BEGIN_S + 7.5), BEGIN_S + 7.0) == told(Ours(1, at_s=BEGIN_S + 0.5))
    assert told(Ours(1, at_s=BEGIN_S + 0.5)) != told(Ours(1, at_s=BEGIN_S + 0.25))
    assert told(Ours(1, at_s=BEGIN_S), BEGIN_S + 60.0) == told(Ours(1, at_s=BEGIN_S), BEGIN_S + 90.0)
    assert told(Ours(1, at_s=0.25)) != told(Ours(1, at_s=0.5))


def test_what_cannot_be_looked_into_is_an_error() -> None:
    with pytest.raises(TypeError, match="two list_iterator are alike"):
        told(Ours(iter([1])))


# ---- without a guard, some order breaks a promise


def broken(drawn: Any, stepwise: bool = True) -> str:
    """What the first order that breaks a promise says, which shows it again."""
    with pytest.raises(Broken) as found:
        explore(sealed(drawn), stepwise=stepwise)
    message = str(found.value)
    choices = [int(choice) for choice in message.rpartition("replay([")[2].removesuffix("])").split(", ")]
    trace: list[str] = []
    with pytest.raises(Broken, match=message[:20]):
        replay(choices, sealed(drawn), stepwise, trace.append)
    assert any("owns the run under epoch 1" in line for line in trace)
    return message


def test_the_epoch_in_the_fence_is_missed(monkeypatch: Patch) -> None:
    def only_seq(self: Store, stored: StoredRun, append: Append) -> None:
        if stored.row.state in FINISHED or append.seq != stored.row.seq:
            raise StaleEpoch("another driver wrote")

    monkeypatch.setattr(Store, "_fence", only_seq)
    assert "below the newest epoch" in broken(one_step)


def test_the_barrier_before_effects_is_missed(monkeypatch: Patch) -> None:
    plan = Planner.plan

    def at_once(self: Planner, room: int, barriers: bool) -> Iterator[Bundle]:
        return plan(self, room, True)

    monkeypatch.setattr(Planner, "plan", at_once)
    assert "two payloads" in broken(two_steps)


def test_the_commit_before_the_acknowledgement_is_missed(monkeypatch: Patch) -> None:
    attempt = Committer._attempt

    def too_early(self: Committer, append: Append) -> bool:
        self._on_committed(append)
        return attempt(self, append)

    monkeypatch.setattr(Committer, "_attempt", too_early)
    assert "acknowledged" in broken(one_step)


@pytest.mark.slow
def test_asking_before_submitting_whether_the_run_is_still_held_is_missed(monkeypatch: Patch) -> None:
    """What a driver does that was succeeded touches the ledger then, so everybody's actions are tried beside it."""
    monkeypatch.setattr(Lease, "verify", lambda self: None)
    assert "starts after its outcome" in broken(one_step, stepwise=False)
