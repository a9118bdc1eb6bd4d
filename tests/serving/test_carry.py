"""Releases carried out over HTTP in this process, on a clock of the test's own: each look sees some more requests."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.errors import ConfigError, NotFound
from orchestrator.ports.traffic import Traffic
from orchestrator.serving import (
    AB,
    BlueGreen,
    Canary,
    Carrier,
    Release,
    ReleaseState,
    Shadow,
    Strategy,
    begin,
    send_back,
    state_from_json,
    without_another,
)
from orchestrator.testing import LocalServing

CANARY = Canary(steps=(20, 100), bake="4s", min_samples=20, patience="30s")
FACTOR = "tests.backends.predictors:Moody"


class Killed(Exception):
    """The process that carried the release out is gone."""


class Stopped(BaseException):
    """The step is to end: what a worker raises inside of it."""


@dataclass
class Application:
    """An application with version ``1``, and a crowd that asks it while time goes by."""

    serving: LocalServing
    mood: str = ""
    clock: float = 1000.0
    kept: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    beside: Callable[[], None] = lambda: None

    def release(self, version: str, strategy: Strategy = CANARY, heeds: bool = False) -> Release:
        self.serving.deploy("app", version, FACTOR, version.encode(), {"heeds": heeds})
        state = begin("r1", "app", version, strategy, self.serving.traffic("app"), self.clock)
        return self.carrier().carry_out(state)

    def carrier(self, keep: Callable[[dict[str, Any]], None] | None = None) -> Carrier:
        return Carrier(
            self.serving, self.serving, keep or self.keep, lambda state: None, lambda: self.clock, self.sleep
        )

    def keep(self, state: dict[str, Any]) -> None:
        self.kept.append(json.loads(json.dumps(state)))

    def sleep(self, duration_s: float) -> None:
        """Half a second goes by, in which 25 requests come."""
        self.clock += 0.5
        for _ in range(25):
            self.ask()
        self.beside()

    def ask(self) -> None:
        row = {"x": 2} | ({"mood": self.mood} if self.mood else {})
        status, headers, answer = self.post("/app", {"rows": [row]})
        self.answers.append((status, answer))
        self.asked.append((headers.get("X-Model-Version", ""), headers.get("X-Answer-Id", "")))

    def post(self, path: str, document: Any) -> tuple[int, Any, Any]:
        url = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=120)
        try:
            connection.request("POST", path, json.dumps(document))
            response = connection.getresponse()
            return response.status, response.headers, json.loads(response.read() or b"null")
        finally:
            connection.close()

    @property
    def url(self) -> str:
        traffic = self.serving.traffic("app")
        assert traffic is not None
        return self.serving.route("app", traffic).url

    @property
    def failed(self) -> list[tuple[int, Any]]:
        return [answer for answer in self.answers if answer[0] != 200]


@pytest.fixture
def app() -> Iterator[Application]:
    with LocalServing() as serving:
        serving.deploy("app", "1", FACTOR, b"1")
        first = without_another(serving, "r0", "app", "1", CANARY, None, 1000.0)
        assert (first.passed, first.cause) == (True, "first")
        yield Application(serving)


def weights(app: Application) -> dict[str, float]:
    traffic = app.serving.traffic("app")
    assert traffic is not None
    return dict(traffic.weights)


def test_a_good_candidate_gets_all_requests_step_by_step(app: Application) -> None:
    release = app.release("2")
    assert (release.outcome, release.cause, release.candidate, release.stable) == ("promoted", "baked", "2", "1")
    assert weights(app) == {"2": 100.0}
    assert app.failed == []
    shares = [moment.weight for moment in release.trail.moments]
    assert sorted(set(shares)) == [20.0, 100.0]
    assert {served.endpoint.version for served in app.serving.status("app")} == {"1", "2"}  # 1 is kept warm
    assert urlsplit(release.url).path == "/app"


def test_only_the_last_good_version_is_kept_warm_and_one_that_is_being_prepared(app: Application) -> None:
    app.serving.deploy("app", "next", FACTOR, b"9")
    app.release("2")
    app.release("3")
    assert {served.endpoint.version for served in app.serving.status("app")} == {"2", "3", "next"}


@pytest.mark.parametrize("mood", ["fail", "nan", "few", "empty", "refuse"])
def test_a_bad_candidate_goes_back_and_no_client_notices(app: Application, mood: str) -> None:
    app.mood = mood
    release = app.release("2", heeds=True)
    assert (release.outcome, release.cause) == ("rolled_back", "guard")
    assert weights(app) == {"1": 100.0}
    assert app.failed == []
    assert all(answer == {"predictions": [{"y": 2}]} for _, answer in app.answers)  # all of them version 1's
    assert [served.endpoint.version for served in app.serving.status("app")] == ["1"]
    assert "proved" in release.text()


def test_without_requests_nothing_is_promoted(app: Application) -> None:
    app.ask = lambda: None  # type: ignore[method-assign]
    release = app.release("2")
    assert (release.outcome, release.cause) == ("rolled_back", "no_data")
    assert weights(app) == {"1": 100.0}


def test_blue_green_moves_all_at_once_and_keeps_the_old_one_warm(app: Application) -> None:
    release = app.release("2", BlueGreen(bake="4s", min_samples=20))
    assert release.outcome == "promoted"
    assert {moment.weight for moment in release.trail.moments} == {100.0}
    assert {answer["predictions"][0]["y"] for _, answer in app.answers} == {4}


def test_a_shadow_is_compared_and_never_returned(app: Application) -> None:
    asked_for: set[tuple[float, int]] = set()

    def look() -> None:
        traffic = app.serving.traffic("app")
        assert traffic is not None
        asked_for.add((traffic.mirror_timeout_s, traffic.mirror_limit))

    app.beside = look
    release = app.release("2", Shadow(bake="4s", min_samples=20, compare=(), timeout="60s", concurrency=30))
    assert asked_for == {(60.0, 30)}
    assert release.outcome == "reported"
    assert release.figures["compared"] == release.figures["different"] > 0
    assert {answer["predictions"][0]["y"] for _, answer in app.answers} == {2}
    assert weights(app) == {"1": 100.0}


def test_an_experiment_is_won_by_the_version_with_the_better_metric(app: Application) -> None:
    def report() -> None:
        worth = {"1": 0.2, "2": 0.8}
        outcomes = [
            {"id": id, "metric": "clicks", "value": worth[version] + 0.1 * (at % 2)}
            for at, (version, id) in enumerate(app.asked)
        ]
        app.asked.clear()
        answered = app.post("/app/outcomes", {"outcomes": outcomes})
        assert answered[0] == 200, (answered, outcomes)

    app.beside = report
    release = app.release("2", AB(metric="clicks", bake="2s", horizon="60s", min_samples=20, min_outcomes=20))
    assert (release.outcome, release.cause) == ("promoted", "effect")
    assert release.figures["effect"] == pytest.approx(0.6, abs=0.05)


def test_a_person_may_end_a_release(app: Application) -> None:
    def go_back() -> None:
        if weights(app).get("2"):
            send_back(app.serving, app.serving, "app", by="ada")

    app.beside = go_back
    release = app.release("2")
    assert (release.outcome, release.cause, release.by) == ("rolled_back", "person", "ada")
    assert weights(app) == {"1": 100.0}


@pytest.mark.parametrize(
    ("ended", "phase", "left"), [(Stopped, "rolled_back", {"1": 100.0}), (Killed, "baking", {"1": 80.0, "2": 20.0})]
)
def test_stopped_for_good_it_goes_back_and_killed_it_stays(
    app: Application, ended: type[BaseException], phase: str, left: dict[str, float]
) -> None:
    def end() -> None:
        if weights(app).get("2") == 20.0:
            raise ended

    app.beside = end
    with pytest.raises(ended):
        app.release("2")
    traffic = app.serving.traffic("app")
    assert traffic is not None
    assert (traffic.phase, traffic.weights) == (phase, left)
    app.beside = lambda: None
    resumed = app.carrier().carry_out(state_from_json(app.kept[-1]))
    stopped = ended is Stopped
    assert (resumed.outcome, resumed.by) == (
        ("rolled_back", "release r1, stopped") if stopped else ("promoted", "release r1")
    )
    assert app.failed == []


def test_going_back_after_a_release(app: Application) -> None:
    app.release("2")
    assert send_back(app.serving, app.serving, "app", by="ada").weights == {"1": 100.0}
    again = send_back(app.serving, app.serving, "app", to="1", by="ada")
    assert (again.weights, again.generation) == ({"1": 100.0}, weights_generation(app))  # nothing to change
    assert send_back(app.serving, app.serving, "app", to="2").weights == {"2": 100.0}
    app.serving.deploy("app", "3", FACTOR, b"3")
    with pytest.raises(ConfigError, match="1, 3 are served beside 2"):
        send_back(app.serving, app.serving, "app")
    with pytest.raises(NotFound, match="nothing was released"):
        send_back(app.serving, app.serving, "other")


def weights_generation(app: Application) -> int:
    traffic = app.serving.traffic("app")
    assert traffic is not None
    return traffic.generation


@pytest.mark.parametrize(("mood", "outcome"), [("", "promoted"), ("nan", "rolled_back")])
def test_killed_before_and_after_every_write_another_goes_on(mood: str, outcome: str) -> None:
    """Before a state is stored, after it, and after the router did what it says: the end is always the same."""
    with LocalServing() as serving:
        app = Application(serving, mood)
        ended, at = False, 0
        while not ended:
            ended = _dies_at(app, at, outcome)
            at += 1
        assert at > 6
        assert app.failed == []


def _dies_at(app: Application, at: int, outcome: str) -> bool:
    """A release whose controller dies at moment ``at``, and another that ends it; True if it did not come there."""
    app.serving.undeploy("app")
    app.serving.deploy("app", "1", FACTOR, b"1")
    without_another(app.serving, "r0", "app", "1", CANARY, None, app.clock)
    app.serving.deploy("app", "2", FACTOR, b"2", {"heeds": True})
    state = begin("r1", "app", "2", CANARY, app.serving.traffic("app"), app.clock)
    app.kept, deadly = [], _Deadly(app, at)
    try:
        release = deadly.carry_out(state)
        return True
    except Killed:
        stored = state_from_json(app.kept[-1]) if app.kept else state
        release = app.carrier().carry_out(stored)
    assert release.outcome == outcome, (at, release.why)
    assert weights(app) == {"2" if outcome == "promoted" else "1": 100.0}
    return False


@dataclass
class _Deadly:
    """Dies at a moment: before or after a state is stored, or before or after the router changes."""

    app: Application
    at: int
    seen: int = 0

    def carry_out(self, state: ReleaseState) -> Release:
        carrier = self.app.carrier(self.keep)
        router = _Watched(self.app.serving, self)
        return Carrier(self.app.serving, router, carrier.keep, carrier.tell, carrier.now, carrier.sleep).carry_out(
            state
        )

    def pass_by(self) -> None:
        self.seen += 1
        if self.seen > self.at:
            raise Killed

    def keep(self, state: dict[str, Any]) -> None:
        self.pass_by()
        self.app.keep(state)
        self.pass_by()


class _Watched:
    """A router of which each change is a place to die before and after."""

    def __init__(self, serving: LocalServing, deadly: _Deadly) -> None:
        self._serving, self._deadly = serving, deadly

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serving, name)

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Any:
        self._deadly.pass_by()
        endpoint = self._serving.route(app, traffic, timeout_s=timeout_s)
        self._deadly.pass_by()
        return endpoint
