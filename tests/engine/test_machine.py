"""The machine under seeded faults: right results, one outcome a step, no step again after its outcome."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import Retry, approve, each, pipeline, stage, when
from orchestrator.graph import fact as f
from tests.engine.simulation import Boom, World

PATIENT = Retry(attempts=50, backoff="1s..2s")


@stage(retries=PATIENT)
def numbers(n: int) -> list[int]:
    return list(range(n))


@stage(retries=PATIENT)
def double(x: int) -> int:
    return 2 * x


@stage(retries=PATIENT)
def add(x: int, y: int) -> int:
    return x + y


@stage(retries=PATIENT)
def total(xs: list[int]) -> int:
    return sum(xs)


@stage(retries=PATIENT)
def big(x: int) -> bool:
    return x > 10


FUNCTIONS = {s.name: s.__wrapped__ for s in (numbers, double, add, total, big)}


@pipeline
def everything(n: int = 7) -> Any:
    xs = numbers(n)
    doubled = double.map(xs)
    added = add.map(doubled, y=each(xs))
    both = add(total(doubled), total(added))
    chain = both
    for _ in range(5):
        chain = double(chain)
    picked = when(big(both), then=lambda: double(both), otherwise=lambda: total(added))
    return {"picked": picked, "chain": chain, "third": added[2], "list": doubled}


def expected(n: int) -> dict[str, Any]:
    xs = list(range(n))
    doubled = [2 * x for x in xs]
    added = [3 * x for x in xs]
    both = sum(doubled) + sum(added)
    return {"picked": 2 * both if both > 10 else sum(added), "chain": both * 32, "third": added[2], "list": doubled}


def one_outcome_each(world: World) -> None:
    outcomes: Counter[tuple[str, int]] = Counter()
    for fact in world.facts:
        if isinstance(fact, f.StepsCompleted | f.StepsSkipped):
            outcomes.update((fact.node, i) for i in range(fact.start, fact.stop))
        elif isinstance(fact, f.StepFailed) and fact.action in ("fail", "drop"):
            outcomes[fact.node, fact.index] += 1
    assert outcomes
    assert max(outcomes.values()) == 1


def test_without_faults_every_body_runs_once() -> None:
    world = World(everything.graph(), FUNCTIONS)
    assert world.run().state == "succeeded"
    assert world.result() == expected(7)
    assert set(world.starts.values()) == {1}
    one_outcome_each(world)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**9), n=st.integers(3, 12), chaos=st.sampled_from([0.0, 0.05, 0.2]),
    restarts=st.sampled_from([0.0, 0.1]), slots=st.integers(1, 4),
)  # fmt: skip
def test_faults_and_takeovers_change_no_result(seed: int, n: int, chaos: float, restarts: float, slots: int) -> None:
    world = World(everything.graph(n=n), FUNCTIONS, seed, chaos, restarts, slots)
    finished = world.run()
    one_outcome_each(world)
    if finished.state == "failed":  # three workers died under one step: its budget is spent
        assert "WorkerDied" in finished.reason
    else:
        assert finished.state == "succeeded"
        assert world.result() == expected(n)


def test_empty_map_is_an_empty_list() -> None:
    @pipeline
    def empty() -> Any:
        return total(double.map(numbers(0)))

    world = World(empty.graph(), FUNCTIONS)
    assert world.run().state == "succeeded"
    assert world.result() == 0


def test_maps_over_lists_of_different_length_fail_with_both_lengths() -> None:
    @pipeline
    def uneven() -> Any:
        return add.map(numbers(3), numbers(4))

    finished = World(uneven.graph(), FUNCTIONS).run()
    assert finished.state == "failed"
    assert "3" in finished.reason
    assert "4" in finished.reason


@stage
def picky(x: int) -> int:
    if x == 3:
        raise Boom("three")
    return x


PICKY = {**FUNCTIONS, "picky": picky.__wrapped__}


@pytest.mark.parametrize("seed", range(5))
def test_a_dropped_item_drops_its_dependants_and_degrades_the_run(seed: int) -> None:
    @pipeline
    def dropping() -> Any:
        kept = picky.options(on_item_error="drop").map(numbers(6))
        return total(double.map(kept))

    world = World(dropping.graph(), PICKY, seed)
    assert world.run().state == "degraded"
    assert world.result() == 2 * (0 + 1 + 2 + 4 + 5)
    one_outcome_each(world)


def test_a_kept_item_error_stays_in_its_place() -> None:
    @pipeline
    def keeping() -> Any:
        return picky.options(on_item_error="keep").map(numbers(5))

    world = World(keeping.graph(), PICKY)
    assert world.run().state == "degraded"
    assert world.result() == [0, 1, 2, "error: three", 4]


def test_a_failed_step_fails_the_run_and_names_itself() -> None:
    @pipeline
    def failing() -> Any:
        return total(picky.map(numbers(5)))

    world = World(failing.graph(), PICKY)
    finished = world.run()
    assert finished.state == "failed"
    assert "picky[3]" in finished.reason
    assert "three" in finished.reason
    assert ("total", 0) not in world.starts


def test_a_fallback_takes_the_place_of_a_failure() -> None:
    @stage(fallback=-1)
    def fragile(x: int) -> int:
        raise Boom("always")

    @pipeline
    def falling() -> Any:
        return double(fragile(1))

    world = World(falling.graph(), {**FUNCTIONS, "fragile": fragile.__wrapped__})
    assert world.run().state == "degraded"
    assert world.result() == -2


def test_only_exceptions_named_are_retried() -> None:
    @stage(retries=Retry(attempts=5, on=(OSError,)))
    def typed(x: int) -> int:
        raise ValueError("not that one")

    @pipeline
    def once() -> Any:
        return typed(1)

    world = World(once.graph(), {"typed": typed.__wrapped__})
    assert world.run().state == "failed"
    assert world.starts["typed", 0] == 1


def test_a_skipped_branch_is_on_record() -> None:
    @pipeline
    def branching(n: int) -> Any:
        return when(big(total(numbers(n))), then=lambda: double(1), otherwise=lambda: double(2))

    for n, result, skipped in ((3, 4, "when/then/double"), (9, 2, "when/otherwise/double")):
        world = World(branching.graph(n=n), FUNCTIONS)
        assert world.run().state == "succeeded"
        assert world.result() == result
        assert f.StepsSkipped(skipped, 0, 1, "branch") in world.facts
        assert (skipped, 0) not in world.starts


def test_approval_makes_the_run_wait_and_its_answer_goes_on() -> None:
    @pipeline
    def asking() -> Any:
        return when(approve("ship it?", timeout="1d"), then=lambda: double(4))

    world = World(asking.graph(), FUNCTIONS)
    world.take(world.machine.derive(world.now))
    (asked,) = world.machine.fold.waiting.values()
    assert asked.deadline == world.now + 86400
    world.take(world.machine.observe_answer(asked.node, b"\xc3"))
    assert world.run().state == "succeeded"
    assert world.result() == 8


def test_an_unanswered_approval_fails_at_its_deadline() -> None:
    @pipeline
    def asking() -> Any:
        return approve("ship it?", timeout="1m")

    finished = World(asking.graph(), FUNCTIONS).run()
    assert finished.state == "failed"
    assert "StepTimedOut" in finished.reason


def test_cancel_ends_the_run_without_outcomes_for_what_did_not_run() -> None:
    world = World(everything.graph(), FUNCTIONS)
    world.take(world.machine.observe_cancel("me", "enough"))
    finished = world.run()
    assert finished.state == "cancelled"
    assert world.starts == {}


def test_a_death_is_charged_only_to_a_step_alone_on_its_worker() -> None:
    @pipeline
    def wide() -> Any:
        return total(double.map(numbers(8)))

    world = World(wide.graph(), FUNCTIONS, slots=1)
    world.take(world.machine.derive(world.now))
    world.run()
    world = World(wide.graph(), FUNCTIONS, slots=1)
    world.take(world.machine.derive(world.now))
    (bundle,) = world.planner.plan(1, barriers=True)
    world.machine.flights[bundle.id].worker = "w"
    world.bundles[bundle.id] = bundle
    world._work(bundle.id)
    world.take(world.machine.derive(world.now))
    world._measure()
    front = world.machine.frontier.fronts["double"]
    start, stop = front.take(8)
    assert (start, stop) == (0, 8)
    from orchestrator.engine.flights import Flight

    world.machine.flights["x"] = Flight([("double", 0, 8)], worker="w")
    world.take(world.machine.observe_lost("w", "killed", ["x"], False, world.now, lambda: 0.0))
    assert world.machine.fold.nodes["double"].deaths == {}
    assert front.solo == set(range(8))
    assert front.take(8) == (0, 1)


def test_a_step_is_never_on_two_workers_at_once() -> None:
    @pipeline
    def single() -> Any:
        return double(1)

    world = World(single.graph(), FUNCTIONS)
    world.take(world.machine.derive(world.now))
    (bundle,) = world.planner.plan(4, barriers=True)
    world.take(world.machine.observe_lost("w", "killed", [bundle.id], False, world.now, lambda: 0.0))
    world.take(world.machine.observe_due(world.now))
    (again,) = world.planner.plan(4, barriers=True)
    assert [(s.node, s.start, s.stop, s.attempts) for s in again.segments] == [("double", 0, 1, {0: 2})]


def test_a_retry_does_not_wait_for_a_clock_that_was_set_back() -> None:
    def fails(x: int) -> int:
        raise Boom

    @pipeline
    def single() -> Any:
        return double(1)

    world = World(single.graph(), {**FUNCTIONS, "double": fails})
    world.take(world.machine.derive(world.now))
    (bundle,) = world.planner.plan(4, barriers=True)
    failure = f.Failure(("builtins:ConnectionError", "builtins:Exception"), "no answer")
    world.take(world.machine.failed("double", 0, failure, bundle.id, world.now, lambda: 1.0))
    world.machine._close_flight(bundle.id)
    world.take(world.machine.observe_due(world.now))
    assert list(world.planner.plan(4, barriers=True)) == []
    world.take(world.machine.observe_due(world.now - 3 * 3600))
    (again,) = world.planner.plan(4, barriers=True)
    assert [(s.node, s.start, s.stop, s.attempts) for s in again.segments] == [("double", 0, 1, {0: 2})]
