"""What workers have at the moment, from facts alone."""

from __future__ import annotations

from orchestrator.graph import fact as f
from orchestrator.readers.occupancy import Occupancy

BEGUN = (f.DriverStarted(1, "d", "h", 1, "local", 2), f.WorkerStarted("w1", "h", 11), f.WorkerStarted("w2", "h", 12))


def told(*facts: f.Fact) -> Occupancy:
    occupancy = Occupancy()
    for at, fact in enumerate(facts):
        occupancy.add(fact, float(at))
    return occupancy


def held(occupancy: Occupancy) -> dict[str, list[tuple[str, int, int, int]]]:
    return {
        worker: [(one.node, one.start, one.stop, one.left) for one in flights]
        for worker, flights in occupancy.of_workers().items()
    }


def test_workers_hold_what_has_no_outcome_yet() -> None:
    found = told(
        *BEGUN,
        f.StepsStarted("m", 0, 4, "b1", "w1"),
        f.BundleStarted((("x", 0, 1), ("y", 0, 1)), "b2", "w2"),
        f.StepsCompleted("m", 0, 2, "c"),
        f.NodesCompleted(("x",), "c"),
    )
    assert held(found) == {"w1": [("m", 0, 4, 2)], "w2": [("y", 0, 1, 1)]}
    assert held(told(*BEGUN)) == {"w1": [], "w2": []}


def test_failures_and_skips_are_outcomes_and_an_item_may_be_sent_again() -> None:
    failure = f.Failure(("builtins:OSError",), "not yet")
    found = told(
        *BEGUN,
        f.StepsStarted("m", 0, 2, "b1", "w1"),
        f.AttemptFailed("m", 0, failure, 9.0),
        f.StepFailed("m", 1, failure),
        f.StepsStarted("m", 0, 1, "b2", "w2"),
    )
    assert held(found) == {"w1": [], "w2": [("m", 0, 1, 1)]}


def test_lost_workers_and_drivers_before_hold_nothing() -> None:
    begun = (*BEGUN, f.StepsStarted("m", 0, 2, "b", "w1"), f.StepsStarted("m", 2, 4, "b", "w2"))
    assert held(told(*begun, f.WorkerLost("w1", "killed"))) == {"w2": [("m", 2, 4, 2)]}
    assert held(told(*begun, f.DriverStarted(2, "d", "h", 2, "local"))) == {}
    assert held(told(*begun, f.RunFinished("failed"))) == {}
