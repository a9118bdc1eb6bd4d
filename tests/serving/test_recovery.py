"""A release goes on from any state that was ever stored, wherever the router is by then."""

from __future__ import annotations

import copy
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import TrafficMoved
from orchestrator.serving import (
    AB,
    BlueGreen,
    Canary,
    Finish,
    Release,
    ReleaseState,
    SetTraffic,
    Shadow,
    Strategy,
    advance,
    begin,
)
from tests.serving.world import APP, CANDIDATE, STABLE, Behaviour, World, stored

CANARY = Canary(steps=(20, 50, 100), bake="2s", min_samples=5, patience="30s", rollback_if="error_rate > 0.1")
GOOD, BAD = Behaviour(), Behaviour(errors=0.7)
STRATEGIES: list[tuple[Strategy, Behaviour, str]] = [
    (CANARY, GOOD, "promoted"),
    (CANARY, BAD, "rolled_back"),
    (BlueGreen(bake="3s", min_samples=5), GOOD, "promoted"),
    (BlueGreen(bake="3s", min_samples=5), BAD, "rolled_back"),
    (Shadow(bake="3s", min_samples=5), GOOD, "reported"),
    (Shadow(bake="3s", min_samples=5), BAD, "rolled_back"),
    (
        AB(metric="conversion", bake="2s", min_samples=5, min_outcomes=20, slices=("plan",)),
        Behaviour(converts=0.9),
        "promoted",
    ),
]


def turn(state: ReleaseState, world: World) -> tuple[ReleaseState, Release | None]:
    """Look, store, act."""
    state, instructions = advance(stored(state), world.seen(), world.now)
    return state, act(instructions, world)


def act(instructions: object, world: World) -> Release | None:
    for instruction in instructions:  # type: ignore[attr-defined]
        if isinstance(instruction, Finish):
            return instruction.release
        assert isinstance(instruction, SetTraffic)
        try:
            world.route(instruction.traffic)
        except TrafficMoved:
            return None
    return None


def to_the_end(state: ReleaseState, world: World) -> Release:
    for _ in range(120):
        state, record = turn(state, world)
        if record is not None:
            return record
        world.batch(25)
    raise AssertionError(f"the release does not end: {state}")


def consistent(world: World) -> None:
    """One change after the other; never back but to the stable version; nothing after the end."""
    weights = [traffic.weights.get(CANDIDATE, 0.0) for traffic in world.routed]
    assert [traffic.generation for traffic in world.routed] == list(range(4, 4 + len(weights)))
    phases = [traffic.phase for traffic in world.routed]
    assert all(phase == "baking" for phase in phases[:-1]), phases
    assert phases[-1] != "baking"
    assert weights[:-1] == sorted(weights[:-1])


def candidate(behaviour: Behaviour) -> World:
    return World(behaviours={STABLE: Behaviour(converts=0.5 if behaviour.converts else None), CANDIDATE: behaviour})


@pytest.mark.parametrize(("strategy", "behaviour", "outcome"), STRATEGIES)
def test_any_stored_state_goes_on_with_any_later_router(strategy: Strategy, behaviour: Behaviour, outcome: str) -> None:
    world = candidate(behaviour)
    state: ReleaseState = begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now)
    states, worlds, record = [state], [copy.deepcopy(world)], None
    while record is None:
        state, instructions = advance(state, world.seen(), world.now)
        states.append(state)
        worlds.append(copy.deepcopy(world))  # killed before it acts
        record = act(instructions, world)
        worlds.append(copy.deepcopy(world))  # killed after
        world.batch(25)
    assert record.outcome == outcome, record.text()
    close = [(k, w) for k in range(len(states)) for w in range(max(0, 2 * k - 1), min(2 * k + 2, len(worlds)))]
    far = [(k, w) for k in range(len(states)) for w in range(2 * k + 2, len(worlds))]
    for at, place in close + Random(3).sample(far, min(30, len(far))):
        there = copy.deepcopy(worlds[place])
        ended = to_the_end(states[at], there)
        consistent(there)
        assert ended.outcome == outcome, f"state {at} with router {place}: {ended.text()}"
        assert there.traffic is not None
        assert there.traffic.weights == {ended.version: 100.0}


EVENTS = ("on", "on", "on", "on", "killed before storing", "killed before acting", "earlier state", "era")
KILLS = st.lists(st.sampled_from(EVENTS), max_size=30)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(KILLS, st.sampled_from(STRATEGIES), st.randoms(use_true_random=False))
def test_controllers_that_are_killed_anywhere_come_to_the_same_end(
    events: list[str], which: tuple[Strategy, Behaviour, str], draw: Random
) -> None:
    strategy, behaviour, outcome = which
    world = candidate(behaviour)
    kept = [begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now)]
    for event in events:
        if event == "era":
            world.restart()
        elif event == "earlier state":
            kept = kept[: draw.randrange(len(kept)) + 1]
        else:
            state, instructions = advance(stored(kept[-1]), world.seen(), world.now)
            if event != "killed before storing":
                kept.append(state)
                if event == "on":
                    act(instructions, world)
            world.batch(12)
    ended = to_the_end(kept[-1], world)
    consistent(world)
    assert ended.outcome == outcome, ended.text()
    assert world.traffic is not None
    assert world.traffic.weights == {ended.version: 100.0}


def decided(world: World) -> ReleaseState:
    """A state that has just decided, before the router knows."""
    state = begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)
    while state.decision is None:
        state, instructions = advance(state, world.seen(), world.now)
        if state.decision is None:
            act(instructions, world)
            world.batch(25)
    return stored(state)


def test_a_decision_stays_when_the_candidate_recovers() -> None:
    world = candidate(BAD)
    state = decided(world)
    assert state.decision is not None
    world.behaviours[CANDIDATE] = GOOD
    world.batch(500)
    assert to_the_end(state, world) == state.decision
    assert state.decision.outcome == "rolled_back"
    consistent(world)


def test_what_the_router_did_counts_whatever_a_state_decided() -> None:
    world = candidate(GOOD)
    state = decided(world)
    assert state.decision is not None
    assert state.decision.outcome == "promoted"
    assert world.traffic is not None
    back = replace(world.traffic, generation=world.traffic.generation + 1, weights={STABLE: 100.0}, phase="rolled_back")
    world.route(back)
    ended = to_the_end(state, world)
    assert (ended.outcome, ended.cause, ended.version) == ("rolled_back", "earlier", STABLE)


def test_what_came_after_a_restart_of_the_router_counts_from_nothing() -> None:
    world = candidate(GOOD)
    state = begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)
    state, _ = turn(state, world)
    world.batch(50)
    state, _ = turn(state, world)
    seen = [state.counts[side].requests for side in ("candidate", "stable")]
    assert sum(seen) == 50
    world.restart()
    world.batch(80)
    state, _ = turn(state, world)
    assert sum(state.counts[side].requests for side in ("candidate", "stable")) == 130


def test_what_was_decided_by_a_state_that_was_lost_is_not_decided_again() -> None:
    world = candidate(BAD)
    first = begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)
    assert to_the_end(first, world).cause == "guard"
    world.behaviours[CANDIDATE] = GOOD
    ended = to_the_end(first, world)
    assert (ended.outcome, ended.cause) == ("rolled_back", "earlier")
    consistent(world)


@pytest.mark.parametrize(
    ("weights", "outcome"),
    [
        ({STABLE: 100.0}, "rolled_back"),
        ({CANDIDATE: 100.0}, "promoted"),
        ({STABLE: 60.0, CANDIDATE: 40.0}, "overruled"),
    ],
)
@pytest.mark.parametrize("turns", [0, 1, 4, 7])
def test_a_person_who_changes_the_traffic_ends_the_release(weights: dict[str, float], outcome: str, turns: int) -> None:
    world = candidate(GOOD)
    state = begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)
    for _ in range(turns):
        state, _ = turn(state, world)
        world.batch(25)
    assert world.traffic is not None
    by_hand = replace(
        world.traffic, generation=world.traffic.generation + 1, weights=weights, release="", by="ann", phase="idle"
    )
    world.route(by_hand)
    ended = to_the_end(state, world)
    assert (ended.outcome, ended.cause, ended.by) == (outcome, "person", "ann")
    assert world.traffic == by_hand


def test_a_router_that_is_gone_sends_everything_back() -> None:
    world = candidate(GOOD)
    state = begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now)
    for _ in range(3):
        state, _ = turn(state, world)
        world.batch(25)
    world.traffic = None
    ended = to_the_end(state, world)
    assert (ended.outcome, ended.cause) == ("rolled_back", "router")
    assert world.traffic is not None
    assert world.traffic.weights == {STABLE: 100.0}


def test_a_first_router_is_started_by_the_release() -> None:
    world = candidate(GOOD)
    world.traffic = None
    state = begin("r1", APP, CANDIDATE, CANARY, None, world.now, stable=STABLE)
    assert to_the_end(state, world).outcome == "promoted"
    assert [traffic.generation for traffic in world.routed] == [1, 2, 3, 4]
