"""Carrying a release out: looks at the application, asks the controller, stores what it says, and then does it.

The state is handed over to be stored before anything of it is done, so that another process goes on where this one
ended; ``advance`` copes with a router that is ahead of what was stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from orchestrator.errors import ConfigError, NotFound, ServingFailed, TrafficMoved
from orchestrator.ports.serving import Endpoint, Served
from orchestrator.ports.traffic import Router, Tallies, Traffic
from orchestrator.serving.record import Cause, Release
from orchestrator.serving.release import Finish, Observation, advance
from orchestrator.serving.state import ReleaseState
from orchestrator.serving.strategy import Strategy
from orchestrator.serving.trail import Trail

LOOK_S = 0.25
"""How long between two looks."""

KEEP_S, KEEP_PART = 5.0, 0.005
"""How often a state is stored in which nothing but counts has changed: in seconds, or as part of its age if that is
more, so that a release of a week stores no more than a few thousand. Totals make up for what was seen meanwhile."""

FAILURES = 20
"""How often in a row a router may fail to do what it is told before the release gives up."""


class Versions(Protocol):
    """The part of ``ports.serving.Serving`` that a release needs."""

    def status(self, app: str | None = None) -> list[Served]:
        """All versions of an application."""
        ...

    def undeploy(self, app: str, version: str | None = None) -> None:
        """End a version."""
        ...


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a release is carried out with.

    Attributes:
        serving: Where the versions are.
        router: What moves requests between them.
        keep: Stores a state; called before anything of it is done.
        tell: Told of every state.
        now: Seconds since 1970; ``sleep`` waits.
    """

    serving: Versions
    router: Router
    keep: Callable[[dict[str, Any]], None]
    tell: Callable[[ReleaseState], None]
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def carry_out(self, state: ReleaseState) -> Release:
        """Go on with a release to its end; the version that nothing goes to any more is kept warm if it was good.

        If it is stopped for good, cancelled or out of time, everything goes back: nobody would watch the candidate. An
        error leaves the traffic where it is, as the death of the process would; another goes on from there.

        Raises:
            ServingFailed: the router cannot do what it is told, again and again: a version is gone, or Serve is.
        """
        try:
            return self._to_the_end(state)
        except BaseException as stop:
            if not isinstance(stop, Exception | KeyboardInterrupt | SystemExit):
                self._abandon(state)
            raise

    def _abandon(self, state: ReleaseState) -> None:
        now = self.router.traffic(state.app)
        if now is not None and now.release == state.id and now.phase == "baking":
            send_back(self.serving, self.router, state.app, state.stable, by=f"{state.by}, stopped")

    def _to_the_end(self, state: ReleaseState) -> Release:
        kept_at, failures = 0.0, 0
        while True:
            after, instructions = advance(state, self._seen(state), self.now())
            apart_s = max(KEEP_S, KEEP_PART * (self.now() - state.began_at))
            if instructions or _stage(after) != _stage(state) or abs(self.now() - kept_at) >= apart_s:
                self.keep(after.to_json())
                kept_at = self.now()
            self.tell(after)
            state = after
            for instruction in instructions:
                if isinstance(instruction, Finish):
                    self._clean(instruction.release)
                    return replace(instruction.release, url=self._url(state.app))
                try:
                    self.router.route(state.app, instruction.traffic)
                    failures = 0
                except TrafficMoved:
                    break  # somebody else was faster: look again
                except ServingFailed:
                    failures += 1
                    if failures >= FAILURES:
                        raise
            if not instructions or failures:
                self.sleep(LOOK_S)

    def _url(self, app: str) -> str:
        traffic = self.router.traffic(app)
        return "" if traffic is None else self.router.route(app, traffic).url

    def _seen(self, state: ReleaseState) -> Observation:
        traffic = self.router.traffic(state.app)
        tallies = None if traffic is None else self._tallies(state.app)
        found = [served for served in self.serving.status(state.app) if served.endpoint.version == state.candidate]
        return Observation(traffic, tallies, found[0] if found else None)

    def _tallies(self, app: str) -> Tallies | None:
        """How versions answered; None if the router does not say: what is not known promotes nothing."""
        try:
            return self.router.tallies(app)
        except ServingFailed:
            return None

    def _clean(self, release: Release) -> None:
        """Take down what was sent back; after a promotion what has answered before the last good version.

        That one stays warm. A version that was never given a request is one that somebody prepares.
        """
        if release.outcome in ("rolled_back", "reported"):
            self.serving.undeploy(release.app, release.candidate)
        elif release.outcome == "promoted":
            tallies = self._tallies(release.app)
            for served in self.serving.status(release.app):
                version = served.endpoint.version
                asked = tallies is None or version in tallies.versions
                if asked and version not in (release.candidate, release.stable):
                    self.serving.undeploy(release.app, version)


def _stage(state: ReleaseState) -> tuple[object, ...]:
    return state.stand, state.step, state.step_began_at is None, state.decision is None


def send_back(serving: Versions, router: Router, app: str, to: str | None = None, by: str = "") -> Traffic:
    """Give all requests to the last good version at once, whatever a release is doing.

    Args:
        to: The version to go back to. If not given: while a release is under way the stable version, and otherwise the
            one that is still served beside it.
        by: Who wants this; stands in the router's state and in the record of a release that it ends. If it is what was
            done last, the same once more changes nothing.

    Returns:
        What the router does now.

    Raises:
        NotFound: the application has no router, or no such version is served.
        ConfigError: there are several versions to go back to, and none was named.
        ServingFailed: the router cannot be reached.
    """
    while True:
        now = router.traffic(app)
        if now is None:
            raise NotFound(f"{app} has no router, so nothing was released; see orc models for what is served")
        if by and now.by == by and now.phase == "rolled_back":
            return now  # done already; from here, back would be forth
        target = to or _to_go_back_to(serving, app, now)
        weights = {target: 100.0}
        if dict(now.weights) == weights and not now.mirrored:
            return now
        wanted = replace(
            now, generation=now.generation + 1, weights=weights, stable=target, mirrored={}, slices=(),
            phase="rolled_back", by=by,
        )  # fmt: skip
        try:
            router.route(app, wanted)
            return wanted
        except TrafficMoved:
            continue  # a release moved it meanwhile: go back from there


def _to_go_back_to(serving: Versions, app: str, now: Traffic) -> str:
    if now.phase == "baking":
        return now.stable
    served = [one.endpoint.version for one in serving.status(app) if one.state == "healthy"]
    others = [version for version in served if not now.weights.get(version)]
    if not others:
        raise NotFound(f"{app}: only {now.stable} is served, so there is no version to go back to; release one")
    if len(others) > 1:
        raise ConfigError(f"{app}: {', '.join(others)} are served beside {now.stable}; name the one to go back to")
    return others[0]


def failed_at_start(state: ReleaseState, traffic: Traffic | None, message: str, now: float) -> Release:
    """The record of a release whose candidate never became healthy; no request was moved."""
    health = Served(Endpoint(state.app, state.candidate, ""), "unhealthy", message)
    decision = advance(state, Observation(traffic, None, health), now).state.decision
    assert decision is not None
    return decision


def without_another(
    router: Router,
    id: str,
    app: str,
    version: str,
    strategy: Strategy,
    traffic: Traffic | None,
    now: float,
    forced: str = "",
) -> Release:
    """A release with nothing to compare it with: the application's first version, or the one that answers already.

    Raises:
        ServingFailed: it is not served, or the router did not become healthy.
    """
    by, slow_ms = f"release {id}", strategy.slow_limit_ms
    cause: Cause = "same"
    why = "it answered all requests already"
    if traffic is None:
        cause, why = "first", "it is the first version of the application, so there was none to compare it with"
        traffic = Traffic(1, {version: 100.0}, version, release=id, phase="promoted", by=by)
        traffic = traffic if slow_ms is None else replace(traffic, slow_ms=slow_ms)
    return Release(
        id=id, app=app, candidate=version, stable=version, strategy=strategy, outcome="promoted", cause=cause, why=why,
        claims=(), samples=0, step=0, began_at=now, ended_at=now, by=by, trail=Trail(), figures={},
        forced=forced, url=router.route(app, traffic).url,
    )  # fmt: skip
