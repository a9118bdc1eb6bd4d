"""Rows of served models: what the router before the versions costs a request, beside one bare application of Serve.

``RAY_SERVE_ENABLE_HA_PROXY=1 RAY_SERVE_THROUGHPUT_OPTIMIZED=1`` in the environment measures the same rows behind
Serve's other proxy, which listens on every interface: on a machine of one's own, or in a network of its own.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from benchmarks.place import Place
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes

BARE, ROUTED = "bare Serve", "through the router"
APP, VERSION, CANDIDATE = "measured", "v1", "v2"
CLIENTS = 8


class Successor:
    """The model of both columns."""

    def __init__(self, payload: bytes, config: Mapping[str, Any]) -> None:
        """Nothing is needed."""

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """``x + 1`` for each row."""
        return [row["x"] + 1 for row in rows]


class Bare:
    """The same, as one would write it on Serve without anything else."""

    async def __call__(self, request: Any) -> dict[str, Any]:
        """Answer a request."""
        return {"predictions": [row["x"] + 1 for row in (await request.json())["rows"]]}


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """Latency of one client, throughput of several, and how soon weights move; none in small: Serve has to start."""
    if not sizes.cold_ray:
        return []
    urls: dict[str, str] = {}

    def url(name: str) -> str:
        if not urls:
            urls.update(_serve())
        return urls[name]

    return [_latency(url), _throughput(url), _moving(url)]


def _latency(url: Callable[[str], str]) -> Row:
    requests = 500

    def column(name: str) -> Column:
        def measured(salt: int) -> Reading:
            took, answer = _sequence(url(name), salt, requests)
            cuts = statistics.quantiles(took, n=100)
            return Reading(cuts[49], answer, {"p99 ms": cuts[98]})

        return measured

    return Row(
        "routed", f"{requests} requests of one row, one client, median", "ms",
        {BARE: column(BARE), ROUTED: column(ROUTED)},
        lambda salt: sum(salt + number + 1 for number in range(requests)), [Target(ROUTED, "more", 2.0, BARE)],
        base=BARE, ratio="over", warm={name: _warm(url, name) for name in (BARE, ROUTED)},
        note="90 % to one version and 10 % to another, clients with keys; two replicas of the router",
    )  # fmt: skip


def _throughput(url: Callable[[str], str]) -> Row:
    each = 150

    def column(name: str) -> Column:
        def measured(salt: int) -> Reading:
            begun = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                sums = list(pool.map(lambda number: _sequence(url(name), salt + number, each)[1], range(CLIENTS)))
            return Reading(CLIENTS * each / (time.perf_counter() - begun), sum(sums))

        return measured

    return Row(
        "routed-load", f"{CLIENTS * each:,} requests of one row, {CLIENTS} clients", "requests/s",
        {BARE: column(BARE), ROUTED: column(ROUTED)},
        lambda salt: sum(salt + client + number + 1 for client in range(CLIENTS) for number in range(each)),
        base=BARE, larger_is_better=True,
        warm={name: _warm(url, name) for name in (BARE, ROUTED)},
        note="clients, proxy, router and model share the machine",
    )  # fmt: skip


def _moving(url: Callable[[str], str]) -> Row:
    moves = 10

    def measured(salt: int) -> Reading:
        from dataclasses import replace

        from orchestrator.backends.serve_router import RayRouter

        url(ROUTED)
        router, took = RayRouter(), []
        for number in range(moves):
            standing = router.traffic(APP)
            assert standing is not None
            begun = time.perf_counter()
            share = (salt + number) % 50 + 1
            weights = {VERSION: 100.0 - share, CANDIDATE: float(share)}
            router.route(APP, replace(standing, generation=standing.generation + 1, weights=weights))
            took.append(time.perf_counter() - begun)
        return Reading(statistics.median(took), moves, {"longest s": max(took)})

    return Row(
        "rerouted", "a change of weights, until all replicas of the router do it, median of 10", "s",
        {"ours": measured}, lambda salt: moves, [Target("ours", "most", 2.0, figure="longest s")],
    )  # fmt: skip


def _warm(url: Callable[[str], str], name: str) -> Column:
    return lambda salt: Reading(0, _sequence(url(name), salt, 50)[1])


def _sequence(url: str, salt: int, requests: int) -> tuple[list[float], int]:
    """Requests one after the other over one connection: milliseconds of each, and the sum of the answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    took, total = [], 0
    for number in range(requests):
        body = json.dumps({"rows": [{"x": salt + number}]})
        begun = time.perf_counter()
        connection.request("POST", parts.path, body, {"X-Client-Key": f"client-{number}"})
        answer = connection.getresponse().read()
        took.append((time.perf_counter() - begun) * 1000)
        total += json.loads(answer)["predictions"][0]
    connection.close()
    return took, total


def _serve() -> dict[str, str]:
    """Serve both, on the Ray that is up: addresses by column."""
    from ray import serve

    from orchestrator.backends.serve import RayServing
    from orchestrator.backends.serve_router import RayRouter
    from orchestrator.ports.traffic import Traffic

    serving = RayServing()
    for version in (VERSION, CANDIDATE):
        endpoint = serving.deploy(APP, version, "benchmarks.routing:Successor", b"")
    routed = RayRouter().route(APP, Traffic(1, {VERSION: 90, CANDIDATE: 10}, VERSION))
    deployment: Any = serve.deployment(Bare, ray_actor_options={"num_cpus": 0}, max_ongoing_requests=64)
    serve.run(deployment.bind(), name="bare", route_prefix="/bare")
    parts = urlsplit(endpoint.url)
    return {BARE: f"{parts.scheme}://{parts.netloc}/bare", ROUTED: routed.url}
