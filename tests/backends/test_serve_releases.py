"""Releases on real Serve under requests: good and bad candidates, controllers that die, and one that is cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.killed import Killings
from benchmarks.served import CANARY, Field, summary
from orchestrator.backends.cluster import Cluster
from orchestrator.backends.serve import RayServing
from orchestrator.backends.serve_router import RayRouter, RouterSettings
from orchestrator.serving import Canary

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(950)]

QUICK = Canary(
    steps=(30, 100), bake="1s", min_samples=20, patience="5m", rollback_if=CANARY.rollback_if,
    compare=("errors", "broken"),
)  # fmt: skip


@pytest.fixture(scope="module")
def serving(local_ray: Cluster) -> Iterator[RayServing]:
    serving = RayServing(health_check_s=1.0)
    yield serving
    serving.shutdown()


@pytest.fixture(scope="module")
def router(serving: RayServing) -> RayRouter:
    return RayRouter(RouterSettings(health_check_s=1.0))


def test_good_candidates_stay_and_bad_ones_go_back_and_no_request_fails(
    serving: RayServing, router: RayRouter, tmp_path: Path
) -> None:
    ground = Field(serving, router, tmp_path, strategy=QUICK, clients=4)
    rows = [ground.trial(manner) for manner in ("hang", "start", "good")]
    told = summary(rows)
    assert (told["as_they_should"], told["failed"]) == (len(rows), 0), rows
    assert [row["cause"] for row in rows] == ["guard", "candidate", "baked"], rows
    assert all(row["wrong_to_decision_s"] is not None for row in rows[:2])
    serving.undeploy("released")


def test_a_release_whose_driver_and_worker_die_comes_to_its_end_and_a_cancelled_one_goes_back(
    serving: RayServing, router: RayRouter, tmp_path: Path
) -> None:
    import ray

    ground = Killings(serving, router, tmp_path / "home", ray.get_runtime_context().gcs_address)

    def both() -> None:
        record = ground.killed("good", {"first step": "driver", "last step": "worker"})
        assert (record.outcome, ground.weights) == ("promoted", {record.candidate: 100.0})
        driver = ground.begin("good")
        ground.await_moment("first step", driver)
        ground.run.cancel()
        driver.wait(300)
        assert ground.run.state == "cancelled"
        assert ground.weights == {record.candidate: 100.0}

    asked = ground.asked(2, both)
    assert (asked.failures, asked.first_failure, asked.releases) == (0, None, 2)
