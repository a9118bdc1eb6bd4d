"""Traffic between model versions over real HTTP: on Ray Serve, and on the stand-in for users' tests."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from orchestrator.backends.serve_ledger import ledger_of
from orchestrator.backends.serve_routing import Limits
from orchestrator.errors import ConfigError, ServingFailed, TrafficMoved
from orchestrator.ports.serving import Serving
from orchestrator.ports.traffic import Router, Tally, Traffic
from orchestrator.testing import LocalServing

if TYPE_CHECKING:
    from orchestrator.backends.serve_router import RayRouter

MOODY = "tests.backends.predictors:Moody"
LIMITS = Limits(timeout_s=60, trial_timeout_s=5.0)
PLACES = [
    pytest.param("local", id="local"),
    pytest.param("ray", id="ray", marks=[pytest.mark.ray, pytest.mark.slow]),
]
ON_RAY = pytest.mark.parametrize("place", PLACES[1:], indirect=True)


class Got(NamedTuple):
    """What a client got."""

    status: int
    version: str
    answer_id: str
    body: Any
    headers: Any


def send(url: str, body: Any = None, client: str | None = None) -> Got:
    headers = {"Content-Type": "application/json"} | ({"X-Client-Key": client} if client else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as response:
            return _got(response, response.status)
    except urllib.error.HTTPError as error:
        return _got(error, error.code)


def _got(response: Any, status: int) -> Got:
    text = response.read()
    body = json.loads(text) if text[:1] in b"{[" else text
    return Got(status, response.headers["X-Model-Version"], response.headers["X-Answer-Id"], body, response.headers)


@dataclass
class Place:
    """An application with versions, and the router before them."""

    kind: str
    serving: Serving
    router: Router
    app: str = "shop"
    url: str = ""

    def version(self, name: str, factor: int, heeds: bool = False) -> str:
        """Serve a version that multiplies, and fails when a row says how if it heeds that."""
        self.serving.deploy(self.app, name, MOODY, str(factor).encode(), {"heeds": heeds})
        return name

    def route(self, weights: dict[str, float], stable: str = "v1", **more: Any) -> Traffic:
        """The next change."""
        standing = self.router.traffic(self.app)
        traffic = Traffic(standing.generation + 1 if standing else 1, weights, stable, **more)
        self.url = self.router.route(self.app, traffic).url
        return traffic

    def ask(self, x: float = 1, client: str | None = None, mood: str = "well") -> Got:
        """One request of one row."""
        return send(self.url, {"rows": [{"x": x, "mood": mood}]}, client)

    def tally(self, version: str) -> Tally:
        """What a version did so far."""
        return self.router.tallies(self.app).versions.get(version, Tally())

    def await_tally(self, version: str, holds: Callable[[Tally], bool]) -> Tally:
        """Wait until what is counted is reported."""
        deadline = time.monotonic() + 300
        while not holds(tally := self.tally(version)):
            assert time.monotonic() < deadline, tally
            time.sleep(0.05)
        return tally

    def await_answers(self, version: str) -> None:
        """Wait until a version answers on its own address: Serve starts a replica that died anew."""
        deadline = time.monotonic() + 300
        while send(f"{self.url}/{version}", {"rows": [{"x": 1}]}).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "local":
        with LocalServing(LIMITS) as local:
            yield from _with_versions(Place("local", local, local))
        return
    from orchestrator.backends.serve import RayServing
    from orchestrator.backends.serve_router import RayRouter, RouterSettings

    request.getfixturevalue("local_ray")
    serving = RayServing(health_check_s=1.0)
    try:
        yield from _with_versions(Place("ray", serving, RayRouter(RouterSettings(LIMITS, health_check_s=1.0))))
    finally:
        serving.shutdown()


def _with_versions(place: Place) -> Iterator[Place]:
    """v2 answers otherwise and fails as it is told to; v1 never does."""
    place.version("v1", 2)
    place.version("v2", 3, heeds=True)
    place.route({"v1": 100})
    yield place


@contextmanager
def load(place: Place, threads: int = 3) -> Iterator[list[Got]]:
    """Requests all the while, from several clients at a time."""
    got: list[Got] = []
    stop = threading.Event()

    def client(number: int) -> None:
        while not stop.is_set():
            got.append(place.ask(1, f"loaded-{number}-{len(got)}"))
            time.sleep(0.01)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(client, number) for number in range(threads)]
        try:
            yield got
        finally:
            stop.set()
    for one in running:
        one.result()


def test_answers_are_the_versions_own_and_say_whose_they_are(place: Place) -> None:
    place.route({"v1": 100})
    got = place.ask(21)
    assert (got.status, got.body, got.version) == (200, {"predictions": [{"y": 42}]}, "v1")
    assert got.answer_id.startswith("v1--")
    told = send(place.url)
    assert told.status == 200
    assert told.body["weights"] == {"v1": 100}
    assert told.body["app"] == "shop"
    assert send(f"{place.url}/v2", {"rows": [{"x": 1}]}).body == {"predictions": [{"y": 3}]}
    assert send(f"{place.url}/nowhere", {"rows": []}).status == 404


def test_weights_move_under_load_and_no_request_fails(place: Place) -> None:
    place.route({"v1": 100})
    with load(place) as got:
        for percent in (0, 5, 50, 100):
            place.route({"v1": 100 - percent, "v2": percent})
            if percent == 100:  # all replicas of the router do it when the call is over
                assert {place.ask(1, f"c{number}").version for number in range(20)} == {"v2"}
            time.sleep(0.3)
        place.route({"v1": 100})
        assert {place.ask(1, f"c{number}").version for number in range(20)} == {"v1"}
    assert [one for one in got if one.status != 200] == []
    assert {one.version for one in got} == {"v1", "v2"}
    assert all(one.body["predictions"][0]["y"] == {"v1": 2, "v2": 3}[one.version] for one in got)


def test_clients_stay_where_they_are(place: Place) -> None:
    clients = [f"client-{number}" for number in range(60)]
    place.route({"v1": 90, "v2": 10})
    few = on_v2(place, clients)
    assert few == on_v2(place, clients)
    place.route({"v1": 60, "v2": 40})
    many = on_v2(place, clients)
    assert few < many
    assert len(many) < 45


def on_v2(place: Place, clients: list[str]) -> set[str]:
    """Those of the clients that version v2 answers."""
    with ThreadPoolExecutor(4) as pool:
        versions = pool.map(lambda client: place.ask(1, client).version, clients)
        return {client for client, version in zip(clients, versions, strict=True) if version == "v2"}


@pytest.mark.parametrize("mood", ["nan", "few", "empty", "fail", "refuse", "hang", "crash"])
def test_whatever_a_candidate_does_no_request_fails(place: Place, mood: str) -> None:
    if mood == "crash" and place.kind == "local":
        pytest.skip("a crash would end this process")
    place.route({"v1": 50, "v2": 50})
    before = place.tally("v2")
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda number: place.ask(number, f"{mood} {number}", mood), range(24)))
    assert [(one.status, one.version) for one in got] == [(200, "v1")] * 24
    assert [one.body["predictions"][0]["y"] for one in got] == [2 * number for number in range(24)]

    def asked(tally: Tally) -> tuple[int, int]:
        """Requests and errors of these clients: those of a test before may be reported only now."""
        mine = [client for key, client in tally.clients.items() if key.startswith(f"{mood} ")]
        return sum(client.requests for client in mine), sum(client.errors for client in mine)

    champion = place.await_tally("v1", lambda now: asked(now)[0] + asked(place.tally("v2"))[0] == 24)
    assert asked(champion)[1] == 0
    failed = place.tally("v2")
    requests, errors = asked(failed)
    assert errors == requests > 0
    assert failed.broken - before.broken == (requests if mood in ("nan", "few", "empty") else 0)
    place.await_answers("v2")


def test_what_a_client_got_wrong_is_told_and_is_nobodys_error(place: Place) -> None:
    for weights in ({"v1": 100}, {"v1": 0, "v2": 100}):
        place.route(weights)
        version = max(weights, key=lambda name: weights[name])
        before = place.tally(version)
        got = send(place.url, {"rows": [{"x": 1}, {"z": 1}]})
        assert got.status == 422
        assert "row 1 lacks the input 'x'" in got.body["error"]
        after = place.await_tally(version, lambda now, before=before: now.rejected == before.rejected + 1)  # type: ignore[misc]
        assert (after.requests, after.errors) == (before.requests, before.errors)
    assert send(place.url, [1]).status == 400


def test_mirrored_answers_are_compared_and_never_given(place: Place) -> None:
    place.route({"v1": 100}, mirrored={"v2": 100})
    before = place.tally("v2")
    assert {place.ask(number).version for number in range(1, 6)} == {"v1"}
    assert {place.ask(number, mood="agree").version for number in range(1, 4)} == {"v1"}
    now = place.await_tally("v2", lambda now: now.compared == before.compared + 8)
    assert (now.different, now.errors) == (before.different + 5, before.errors)
    assert place.ask(1, mood="hang").version == "v1"
    hung = place.await_tally("v2", lambda now: now.errors == before.errors + 1)
    assert hung.compared == before.compared + 8


def test_of_two_changes_one_is_made(place: Place) -> None:
    standing = place.route({"v1": 100}, by="release one")
    following = standing.generation + 1
    place.router.route("shop", standing)
    for generation in (standing.generation, standing.generation - 1, following + 1):
        with pytest.raises(TrafficMoved, match="by release one"):
            place.router.route("shop", Traffic(generation, {"v2": 100}, "v1"))
    assert place.router.traffic("shop") == standing

    def change(weights: dict[str, float]) -> bool:
        try:
            place.router.route("shop", Traffic(following, weights, "v1"))
        except TrafficMoved:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(change, [{"v1": 100 - n, "v2": n} for n in (1, 2, 3)]))
    assert sum(made) == 1
    now = place.router.traffic("shop")
    assert now is not None
    assert now.weights["v2"] == made.index(True) + 1


def test_outcomes_are_reported_by_the_id_of_an_answer(place: Place) -> None:
    place.route({"v1": 50, "v2": 50})
    answers = [place.ask(1, f"c{number}") for number in range(10)]
    of_v2 = sum(one.version == "v2" for one in answers)
    report = [{"id": one.answer_id, "metric": "bought", "value": 1.5} for one in answers]
    told = send(f"{place.url}/outcomes", {"outcomes": [*report, {**report[0], "id": "never--1"}]})
    assert (told.status, told.body) == (200, {"counted": 10, "unknown": 1})
    tally = place.await_tally("v2", lambda now: "bought" in now.outcomes).outcomes["bought"]
    assert (tally.count, tally.total, tally.low) == (of_v2, 1.5 * of_v2, 1.5)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ([], 400, "outcomes"),
        ({"outcomes": [3]}, 422, "outcome 0: must be an object"),
        ({"outcomes": [{"id": "x", "metric": "m", "value": 1}]}, 422, "outcome 0: id must be the X-Answer-Id"),
        ({"outcomes": [{"id": "v1--1", "metric": "", "value": 1}]}, 422, "metric must be a name"),
        ({"outcomes": [{"id": "v1--1", "metric": "m", "value": True}]}, 422, "value must be a finite number"),
        ({"outcomes": [{"id": "v1--1", "metric": "m", "value": 10**400}]}, 422, "value must be a finite number"),
    ],
)
def test_outcomes_that_are_none_are_refused(place: Place, body: Any, status: int, words: str) -> None:
    got = send(f"{place.url}/outcomes", body)
    assert (got.status, words in got.body["error"]) == (status, True), got.body


def test_traffic_to_what_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(ServingFailed, match="shop v9 is not served"):
        place.route({"v1": 50, "v9": 50})
    with pytest.raises(ConfigError, match="sum to 90"):
        place.route({"v1": 90})
    assert place.router.traffic("elsewhere") is None
    assert place.router.tallies("elsewhere").versions == {}
    place.router.unroute("elsewhere")


def test_a_router_can_end_and_begin_again(place: Place) -> None:
    standing = place.route({"v1": 100})
    place.router.unroute("shop")
    assert place.router.traffic("shop") is None
    assert place.ask().status == 404
    assert send(f"{place.url}/v1", {"rows": [{"x": 1}]}).status == 200
    place.router.prepare("shop")
    assert place.router.traffic("shop") is None
    assert place.ask().status == 503  # it was started ahead, and has no traffic yet
    place.router.route("shop", replace(standing, generation=standing.generation + 1))
    assert place.ask(4).body == {"predictions": [{"y": 8}]}
    place.router.prepare("shop")
    assert place.router.traffic("shop") == replace(standing, generation=standing.generation + 1)


@ON_RAY
def test_a_change_of_weights_starts_no_replica_anew(place: Place) -> None:
    place.route({"v1": 100})
    before = pids("shop")
    assert len(before) == 2
    place.route({"v1": 50, "v2": 50})
    assert pids("shop") == before


@ON_RAY
def test_a_version_whose_replicas_keep_dying_is_not_healthy(place: Place) -> None:
    place.route({"v1": 50, "v2": 50})
    deadline = time.monotonic() + 300
    while True:
        assert place.ask(1, mood="crash").status == 200
        looping = {one.endpoint.version: one for one in place.serving.status("shop")}["v2"]
        if "replicas were started and died" in looping.message:
            break
        assert time.monotonic() < deadline, looping
        time.sleep(0.1)
    assert looping.state == "unhealthy"
    assert {one.endpoint.version: one.state for one in place.serving.status("shop")}["v1"] == "healthy"
    place.await_answers("v2")
    place.route({"v1": 100})


@ON_RAY
def test_deaths_of_the_router_its_ledger_and_the_champion_are_survived(place: Place) -> None:
    import ray

    place.route({"v2": 100}, stable="v2")
    era = place.router.tallies("shop").era
    ray.kill(ledger_of("shop"))
    place.ask()
    place.await_tally("v2", lambda now: now.requests > 0)
    assert place.router.tallies("shop").era != era
    killed = [pids(name)[0] for name in ("shop", "shop--v2")]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 300
    while len(pids("shop")) < 2 or {*pids("shop"), *pids("shop--v2")} & {*killed} or place.ask().status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {place.ask(1, f"c{number}").version for number in range(10)} == {"v2"}
    place.route({"v1": 100})
    assert {place.ask(1, f"c{number}").version for number in range(10)} == {"v1"}


@ON_RAY
def test_a_version_that_comes_back_gets_its_share(place: Place) -> None:
    """Also after the router's replicas have given up what they had for asking it."""
    from orchestrator.backends.serve_router import RayRouter, RouterSettings

    kept_s = 1.0
    hasty = replace(place, router=RayRouter(RouterSettings(replace(LIMITS, timeout_s=kept_s), health_check_s=1.0)))
    for _ in range(3):
        hasty.route({"v1": 0, "v2": 100})
        assert {hasty.ask(1, f"c{number}").version for number in range(10)} == {"v2"}
        hasty.route({"v1": 100})
        time.sleep(1.5 * kept_s)
    place.route({"v1": 100})


@ON_RAY
def test_a_ledger_of_another_release_is_told_from_a_change_that_fails(place: Place) -> None:
    deadline, router = time.monotonic() + 60.0, cast("RayRouter", place.router)
    with pytest.raises(ServingFailed, match="started by another release"):
        router._ask_ledger("shop", deadline, "nothing_like_it")
    with pytest.raises(ServingFailed, match="could not be changed: AttributeError"):
        router._ask_ledger("shop", deadline, "prepare", partial(getattr, 1, "nothing_like_it"))


def test_a_version_that_is_gone_costs_no_request(place: Place) -> None:
    place.route({"v1": 50, "v2": 50})
    place.serving.undeploy("shop", "v2")
    assert {(got.status, got.version) for got in (place.ask(1, f"c{n}") for n in range(20))} == {(200, "v1")}
    with pytest.raises(ServingFailed, match="shop v2 is not served"):
        place.route({"v1": 40, "v2": 60})
    place.route({"v1": 100})


def pids(application: str) -> list[int]:
    """Processes of the replicas of a Serve application."""
    from ray.serve import context

    client: Any = context._get_global_client()
    found = client.get_serve_details()["applications"][application]["deployments"].values()
    return sorted(
        one["pid"] for deployment in found for one in deployment["replicas"] if one["state"] in ("RUNNING", "UPDATING")
    )
