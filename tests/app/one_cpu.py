"""A program: two runs at once that want the only CPU of a Ray in every way there is; prints one JSON document."""

from __future__ import annotations

import contextlib
import json

from orchestrator.backends.cluster import Cluster, ClusterSettings
from tests.app.meetings import light_ones, of_all_kinds, one_process, wait_until
from tests.backends.ray_fixtures import is_alive


def free(cluster: Cluster) -> float | None:
    """CPUs that nobody holds, once it is all of them or has not been for long."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: cluster.available().get("CPU") == 1.0, "the return of the CPU")
    return cluster.available().get("CPU")


def main() -> None:
    """Run; then say what came out, and what became of the CPU and of the worker that used it last."""
    cluster = Cluster(ClusterSettings(num_cpus=1))
    cluster.connect()
    runs = [of_all_kinds.options(on="ray").start(n=200), light_ones.options(on="ray").start(n=300)]
    results = [run.result() for run in runs]
    after_heavy = free(cluster)
    worker, *_ = one_process.options(on="ray").run().result()
    print(json.dumps({"results": results, "free": [after_heavy, free(cluster)], "warm": is_alive(worker)}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
