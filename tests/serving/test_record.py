"""The record of a release: whole after JSON, readable, and the trail stays small."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.errors import ConfigError
from orchestrator.serving import AB, Canary, Release, Shadow, Strategy, begin, release_from_json, state_from_json
from orchestrator.serving.trail import MOST, Moment, Trail
from tests.serving.world import APP, CANDIDATE, STABLE, Behaviour, World, drive

CANARY = Canary(bake="4s", min_samples=20, rollback_if="error_rate > 0.03")


def recorded(strategy: Strategy, candidate: Behaviour, stable: Behaviour | None = None) -> Release:
    world = World(behaviours={STABLE: stable or Behaviour(0.01), CANDIDATE: candidate})
    record = drive(begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now), world)
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("strategy", "candidate", "stable"),
    [
        (CANARY, Behaviour(0.01), None),
        (CANARY, Behaviour(0.4), None),
        (Shadow(bake="4s"), Behaviour(different=0.1), None),
        (AB(metric="conversion", bake="4s", min_effect=0.1), Behaviour(converts=0.9), Behaviour(converts=0.4)),
    ],
)
def test_json_gives_the_same_record(strategy: Strategy, candidate: Behaviour, stable: Behaviour | None) -> None:
    record = recorded(strategy, candidate, stable)
    assert release_from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record


def test_the_text_says_what_was_seen_by_which_guard_and_against_what() -> None:
    text = recorded(CANARY, Behaviour(0.4)).text()
    first, *lines = text.splitlines()
    assert first == "churn: v2 rolled back, v1 was there before"
    proved = next(line for line in lines if line.startswith("  proved"))
    assert "error_rate > 0.03: candidate" in proved or "more errors than the stable version: candidate" in proved
    assert "e-value" in proved
    assert "needed" in proved
    assert any(line.startswith("  watched  slower than the stable version") for line in lines)
    assert any(line.startswith("  when     1970-01-01 00:1") for line in lines)


def test_a_shadow_tells_how_many_answers_differed() -> None:
    record = recorded(Shadow(bake="4s", percent=50), Behaviour(different=0.1))
    assert (record.outcome, record.cause, record.version) == ("reported", "compared", STABLE)
    assert record.figures["compared"] > 100
    assert 0 < record.figures["different"] < record.figures["compared"] / 5


def test_an_experiment_tells_effect_split_and_power() -> None:
    strategy = AB(metric="conversion", bake="4s", min_effect=0.1)
    record = recorded(strategy, Behaviour(converts=0.4), Behaviour(converts=0.6))
    assert (record.outcome, record.cause) == ("rolled_back", "effect")
    assert record.figures["effect_high"] < 0
    assert record.figures["candidate_percent"] == pytest.approx(50, abs=15)
    assert 0 <= record.figures["power"] <= 1
    assert (
        recorded(replace(strategy, better="lower"), Behaviour(converts=0.4), Behaviour(converts=0.6)).outcome
        == "promoted"
    )
    told = recorded(replace(strategy, promote=False), Behaviour(converts=0.8), Behaviour(converts=0.4))
    assert (told.outcome, told.cause, told.version) == ("reported", "effect", STABLE)


def test_an_experiment_without_a_difference_ends_at_its_horizon() -> None:
    strategy = AB(metric="conversion", bake="4s", horizon="12s")
    record = recorded(strategy, Behaviour(converts=0.5), Behaviour(converts=0.5))
    assert (record.outcome, record.cause) == ("reported", "no_effect")
    assert record.ended_at - record.began_at >= 12
    silent = recorded(strategy, Behaviour(), Behaviour())
    assert (silent.outcome, silent.cause) == ("rolled_back", "no_data")
    assert "too few values of conversion" in silent.why


@pytest.mark.parametrize("document", [{}, {"format": 99}, {"format": 1}, {"format": 1, "strategy": {"kind": "canary"}}])
def test_what_is_no_record_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        release_from_json(document)
    with pytest.raises(ConfigError):
        state_from_json(document)


def test_a_trail_stays_small_and_keeps_the_steps() -> None:
    trail, steps = Trail(), (5.0, 25.0, 100.0)
    for second in range(9000):
        trail = trail.with_moment(Moment(float(second), steps[second // 3000], second, {"errors": second / 9000}))
    moments = trail.moments
    assert len(moments) <= MOST
    assert (moments[0].time, moments[-1].time) == (0.0, 8999.0)
    assert [moment.time for moment in moments] == sorted(moment.time for moment in moments)
    for change in (3000, 6000):
        before, after = (
            max(moment.time for moment in moments if moment.time < change),
            min(moment.time for moment in moments if moment.time >= change),
        )
        assert change - before <= 200
        assert after - change <= 200
    assert Trail.from_json(json.loads(json.dumps(trail.to_json()))) == trail
