"""Confidence sequences of means, the check of the split, and power."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from orchestrator.ports.traffic import OutcomeTally, Tally
from orchestrator.serving import AB, advance, begin
from orchestrator.serving.experiment import MOST_SLICES, Experiment
from orchestrator.serving.means import (
    Effect,
    Moments,
    detectable,
    effect,
    log_e_of_mean,
    power,
    sample_ratio_log_e,
    width,
)
from orchestrator.serving.window import Window
from tests.serving.world import APP, CANDIDATE, STABLE, Behaviour, World, drive


def of(values: np.ndarray) -> Moments:
    return Moments(len(values), float(values.sum()), float((values**2).sum()))


def test_moments() -> None:
    values = np.array([1.0, 4.0, 7.0, 7.5])
    found = of(values)
    assert (found.mean, found.variance) == (pytest.approx(values.mean()), pytest.approx(values.var(ddof=1)))
    assert Moments(2, 3.0, 5.0).plus(OutcomeTally(1, 2.0, 4.0, 2.0, 2.0)) == Moments(3, 5.0, 9.0)
    assert Moments(4, 2.0, 2.0).zero_or_one
    assert not found.zero_or_one
    assert Moments().variance == Moments().mean == 0.0


@pytest.mark.parametrize("draw", ["conversion", "money"])
def test_the_sequence_holds_at_all_looks_at_once(draw: str) -> None:
    rng = np.random.default_rng(11)
    wrong, runs, alpha = 0, 200, 0.05
    for _ in range(runs):
        shape = (2, 3000)
        values = (
            (rng.uniform(0, 1, shape) < 0.1).astype(float) if draw == "conversion" else rng.lognormal(0, 0.8, shape)
        )
        for count in range(100, 3001, 100):
            found = effect(of(values[0, :count]), of(values[1, :count]), alpha)
            if found is not None and found.excludes_zero:
                wrong += 1
                break
    assert wrong <= alpha * runs


def test_a_difference_is_found() -> None:
    rng = np.random.default_rng(2)
    found = effect(of(rng.normal(1.2, 1, 2000)), of(rng.normal(1.0, 1, 2000)), 0.05)
    assert found is not None
    assert found.low > 0
    assert found.low < 0.2 < found.high


def test_evidence_about_a_mean_grows_on_one_side_only() -> None:
    values = of(np.random.default_rng(3).normal(5.0, 2.0, 1000))
    assert log_e_of_mean(values, 4.5, above=True) > 10
    assert log_e_of_mean(values, 4.5, above=False) < 0
    assert log_e_of_mean(values, 5.5, above=False) > 10
    assert log_e_of_mean(values, 50.0, above=True) < 0
    assert math.isfinite(log_e_of_mean(values, 1e9, above=True))
    assert log_e_of_mean(Moments(5, 5.0, 5.0), 0.0, above=True) == 0.0  # all alike: nothing is known of their spread


def test_a_wrong_split_is_found_and_a_right_one_is_not() -> None:
    rng = np.random.default_rng(4)
    top = 0.0
    for _ in range(100):
        mine = 0
        for look in range(1, 51):
            mine += int(rng.binomial(100, 0.3))
            top = max(top, sample_ratio_log_e(mine, 100 * look - mine, 0.3))
    assert top < -math.log(0.001)
    assert sample_ratio_log_e(1800, 3200, 0.3) > -math.log(0.001)
    assert sample_ratio_log_e(0, 0, 0.3) == pytest.approx(0.0)


def test_power_grows_with_values() -> None:
    few, many = (Effect(0.0, -1.0, 1.0, 1 / math.sqrt(values), values) for values in (200.0, 20_000.0))
    assert power(few, 0.1, 0.05) < 0.05
    assert power(many, 0.1, 0.05) > 0.99
    assert power(many, detectable(many, 0.05), 0.05) == pytest.approx(0.8, abs=0.001)


def test_the_sequence_is_wider_than_an_interval_for_one_look() -> None:
    assert 1.96 < width(2000, 0.05) < 4


def test_slices_share_the_risk_and_are_never_too_many() -> None:
    strategy = AB(metric="bought", min_outcomes=10, slices=("plan",))
    experiment = Experiment()
    values = OutcomeTally(40, 20.0, 20.0, 0.0, 1.0)
    for number in range(MOST_SLICES + 5):
        tally = Tally(40, outcomes={"bought": values}, slices={("bought", f"plan={number:02}"): values})
        experiment = experiment.after("bought", Window(tally, tally), stands=number > 1)
    experiment = Experiment.from_json(json.loads(json.dumps(experiment.to_json())))
    found = experiment.slices(strategy)
    assert [one.name for one in found] == [f"plan={number:02}" for number in range(MOST_SLICES)]
    alone = effect(Moments(40, 20.0, 20.0), Moments(40, 20.0, 20.0), 0.05)
    assert alone is not None
    assert found[0].low is not None
    assert found[0].low < alone.low
    assert experiment.candidate_units == 40 * (MOST_SLICES + 5 - 2)


def test_a_slice_with_few_values_says_nothing() -> None:
    few = {("bought", "plan=x"): OutcomeTally(9, 3.0, 3.0, 0.0, 1.0)}
    experiment = Experiment().after("bought", Window(Tally(9, slices=few), Tally(9, slices=few)), stands=True)
    (found,) = experiment.slices(AB(metric="bought", min_outcomes=10))
    assert (found.candidate_values, found.difference) == (9, None)
    assert experiment.slices(AB(metric="other", min_outcomes=1))[0].difference is not None


def test_what_came_before_the_split_stood_is_no_sign_of_a_wrong_one() -> None:
    world = World(behaviours={STABLE: Behaviour(converts=0.4), CANDIDATE: Behaviour(converts=0.4)})
    strategy = AB(metric="conversion", bake="5s", horizon="20s")
    state = begin("r1", APP, CANDIDATE, strategy, world.traffic, world.now)
    state, instructions = advance(state, world.seen(), world.now)
    world.batch(3000, 0.5)  # the router needs a moment to follow, and to report
    for instruction in instructions:
        world.route(instruction.traffic)  # type: ignore[union-attr]
    record = drive(state, world)
    assert record is not None
    assert record.cause == "no_effect", record.why
    assert abs(record.figures["candidate_percent"] - 50) < 6
