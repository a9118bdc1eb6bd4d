"""Releases on real Serve under requests: a controller that dies, and one that is cancelled.

Candidates that go wrong in every way are released there by ``python -m benchmarks.releases``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.killed import Killings
from orchestrator.backends.cluster import Cluster
from orchestrator.backends.serve import RayServing
from orchestrator.backends.serve_router import RayRouter, RouterSettings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(950)]


@pytest.fixture(scope="module")
def serving(local_ray: Cluster) -> Iterator[RayServing]:
    serving = RayServing(health_check_s=1.0)
    yield serving
    serving.shutdown()


@pytest.fixture(scope="module")
def router(serving: RayServing) -> RayRouter:
    return RayRouter(RouterSettings(health_check_s=1.0))


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
