"""The controller: each strategy comes to its end, a bad candidate goes back, and nothing is promoted without data."""

from __future__ import annotations

import pytest

from orchestrator.errors import ConfigError
from orchestrator.ports.traffic import Traffic
from orchestrator.serving import BlueGreen, Canary, Release, begin
from tests.serving.world import APP, CANDIDATE, STABLE, Behaviour, World, drive

CANARY = Canary(bake="5s", min_samples=20, patience="60s", rollback_if="error_rate > 0.03 or p95_ms > 80")


def released(world: World, strategy: Canary | BlueGreen = CANARY, looks: int = 400) -> Release:
    record = drive(begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now), world, looks)
    assert record is not None
    return record


def test_a_good_candidate_goes_through_all_steps() -> None:
    world = World(behaviours={STABLE: Behaviour(0.01, 0.01), CANDIDATE: Behaviour(0.01, 0.01)})
    record = released(world)
    assert (record.outcome, record.cause) == ("promoted", "baked")
    assert [traffic.weights.get(CANDIDATE) for traffic in world.routed] == [5, 25, 100, 100]
    assert [traffic.stable for traffic in world.routed] == [STABLE, STABLE, STABLE, CANDIDATE]
    assert [traffic.phase for traffic in world.routed] == ["baking", "baking", "baking", "promoted"]
    assert [traffic.generation for traffic in world.routed] == [4, 5, 6, 7]
    assert (record.version, record.retired) == (CANDIDATE, STABLE)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Behaviour(errors=0.2), "error"),
        (Behaviour(slow=0.5), "p95_ms > 80"),
        (Behaviour(broken=0.2), "stable version"),
        (Behaviour(errors=1.0), "error_rate > 0.03"),
        (Behaviour(broken=1.0), "more broken answers"),
        (Behaviour(silent=True), "the candidate answers nothing"),
    ],
)
def test_a_bad_candidate_goes_back(bad: Behaviour, said: str) -> None:
    world = World(behaviours={STABLE: Behaviour(0.01, 0.01), CANDIDATE: bad})
    record = released(world)
    assert (record.outcome, record.cause) == ("rolled_back", "guard"), record.text()
    assert said in record.why
    assert world.traffic is not None
    assert (dict(world.traffic.weights), world.traffic.stable, world.traffic.phase) == (
        {STABLE: 100},
        STABLE,
        "rolled_back",
    )
    assert (record.version, record.retired) == (STABLE, CANDIDATE)


def test_without_data_nothing_is_promoted() -> None:
    world = World()
    record = drive(begin("r1", APP, CANDIDATE, CANARY, world.traffic, world.now), world, requests=0)
    assert record is not None
    assert (record.outcome, record.cause) == ("rolled_back", "no_data")
    assert "only 0 of 20 requests" in record.why


def test_a_release_needs_a_version_to_go_back_to() -> None:
    with pytest.raises(ConfigError, match="no version answers yet"):
        begin("r1", APP, CANDIDATE, CANARY, None, 0.0)
    with pytest.raises(ConfigError, match="answers all requests already"):
        begin("r1", APP, STABLE, CANARY, Traffic(1, {STABLE: 100.0}, STABLE), 0.0)
    with pytest.raises(ConfigError, match="split already"):
        begin("r1", APP, CANDIDATE, CANARY, Traffic(1, {STABLE: 50.0, "v0": 50.0}, STABLE), 0.0)
    with pytest.raises(ConfigError, match="release r0 is under way"):
        begin(
            "r1",
            APP,
            CANDIDATE,
            CANARY,
            Traffic(1, {STABLE: 50.0, "v0": 50.0}, STABLE, release="r0", phase="baking"),
            0,
        )
