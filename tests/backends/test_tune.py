"""Sweeps on a real Ray Tune: exchanges between trials, and what an earlier attempt leaves to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.cluster import Cluster
from orchestrator.backends.tune import RayTune, within
from orchestrator.graph.policy import Resources
from orchestrator.ports.tune import Choice, Pbt, Range, Record, Scheduler, Space, Trial, TuneTask
from orchestrator.sweeps.search import create_searcher
from tests.backends.tune_trials import Pickles

GRID: dict[str, Space] = {"rate": Choice((0.1, 0.2, 0.3, 0.4))}


def task(spaces: Mapping[str, Space], given: Mapping[str, Any], scheduler: Scheduler | None = None) -> TuneTask:
    half = Resources(num_cpus=0.5)  # all at once: those that exchange have to meet
    return TuneTask("climb", spaces, given, "level", "max", 4, half, scheduler, checkpoints=True, seed=3)


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_the_worst_trials_go_on_from_checkpoints_of_the_best(local_ray: Cluster, tmp_path: Path) -> None:
    ledger, kept = tmp_path / "ledger", []
    tune = RayTune(Pickles(), tmp_path / "tune")
    spaces: dict[str, Space] = {"rate": Range(0.1, 1.0)}
    pbt = Pbt(perturbation_interval=2, quantile_fraction=0.5, synch=True)
    asked = task(spaces, {"ledger": str(ledger), "reports": 7}, pbt)
    found = tune.run(asked, create_searcher("random", spaces, "max", 3), [], kept.append)
    assert [record.number for record in found] == [0, 1, 2, 3]
    assert all(record.ended and record.trial.state == "finished" for record in found)
    began = [line.split(" from ") for line in ledger.read_text().splitlines()]
    assert any(int(done) > 0 for _, done in began), "no trial took over a checkpoint"
    assert all(0.1 <= float(rate) <= 1.0 for rate, _ in began)
    for record in found:
        assert tune.load(record.output).output["level"] == record.trial.value
    assert kept[-1] == found
    assert not list((tmp_path / "tune").iterdir())


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_what_an_earlier_attempt_ended_is_not_run_again(local_ray: Cluster, tmp_path: Path) -> None:
    ledger, source = tmp_path / "ledger", Pickles()
    known = [
        Record(0, Trial({"rate": 0.1}, "finished", 0.3), True, b"kept"),
        Record(1, Trial({"rate": 0.2}, "failed", error="ValueError: no"), True),
        Record(2, Trial({"rate": 0.3}, "stopped", 0.6, ({"level": 0.3},)), False, checkpoint=source.encode((0.3, 1))),
    ]
    asked = task(GRID, {"ledger": str(ledger), "reports": 3, "bad": 0.4})
    found = RayTune(source, tmp_path / "tune").run(asked, create_searcher("grid", GRID, "max", 0), known, len)
    assert found[:2] == known[:2]
    assert found[2].trial == Trial(
        {"rate": 0.3}, "finished", pytest.approx(0.9), ({"level": 0.3}, {"level": 0.6}, {"level": pytest.approx(0.9)})
    )
    assert (found[3].trial.state, found[3].trial.error) == ("failed", "ValueError: no such rate")
    assert sorted(ledger.read_text().splitlines()) == ["0.3 from 1", "0.4 from 0"]


@given(st.floats(-1e6, 1e6), st.booleans())
def test_a_changed_parameter_is_brought_back_into_its_range(value: float, whole: bool) -> None:
    space = Range(2, 40, whole=whole)
    assert space.low <= within(space, value) <= space.high
    assert within(Range(0.0, 1.0, step=0.25), value) in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert within(Choice(("a",)), "b") == "b"
