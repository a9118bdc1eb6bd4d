"""A router, its versions and their clients, in memory: what the controller sees and acts on, without Ray."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from random import Random

from orchestrator.errors import TrafficMoved
from orchestrator.ports.serving import Endpoint, Served, ServedState
from orchestrator.ports.traffic import ClientTally, OutcomeTally, Tallies, Tally, Traffic
from orchestrator.serving import Finish, Observation, Release, ReleaseState, SetTraffic, advance, state_from_json

APP, STABLE, CANDIDATE = "churn", "v1", "v2"


@dataclass
class Behaviour:
    """How a version answers: chances of an error, of a slow and of a broken answer; mean of what is reported."""

    errors: float = 0.0
    slow: float = 0.0
    broken: float = 0.0
    silent: bool = False
    different: float = 0.0
    converts: float | None = None


@dataclass
class World:
    """Requests come in batches; the router answers to the fence as the real one does."""

    traffic: Traffic | None = field(default_factory=lambda: Traffic(3, {STABLE: 100.0}, STABLE))
    behaviours: dict[str, Behaviour] = field(default_factory=lambda: {STABLE: Behaviour(), CANDIDATE: Behaviour()})
    health: ServedState | None = "healthy"
    era: int = 0
    now: float = 1000.0
    clients: int = 0
    rng: Random = field(default_factory=lambda: Random(7))
    totals: dict[str, Tally] = field(default_factory=dict)
    routed: list[Traffic] = field(default_factory=list)

    def route(self, traffic: Traffic) -> None:
        """As ``Router.route``."""
        if self.traffic == traffic:
            return
        if self.traffic is not None and traffic.generation != self.traffic.generation + 1:
            raise TrafficMoved(f"the router is at generation {self.traffic.generation}")
        self.traffic = traffic
        self.routed.append(traffic)

    def seen(self) -> Observation:
        """What the controller sees."""
        served = None if self.health is None else Served(Endpoint(APP, CANDIDATE, "http://x"), self.health)
        tallies = None if self.traffic is None else Tallies(f"era {self.era}", dict(self.totals))
        return Observation(self.traffic, tallies, served)

    def restart(self) -> None:
        """The router's counts are gone."""
        self.era += 1
        self.totals = {}

    def batch(self, requests: int, seconds: float = 1.0) -> None:
        """Let requests come, and time go by."""
        self.now += seconds
        if self.traffic is None:
            return
        for _ in range(requests):
            client = f"c{self.rng.randrange(self.clients)}" if self.clients else ""
            point = Random(client).random() if client else self.rng.random()
            weight = self.traffic.weights.get(CANDIDATE, 0.0)
            self._answer(CANDIDATE if point * 100 < weight else STABLE, client, copy=False)
            if self.rng.random() * 100 < self.traffic.mirrored.get(CANDIDATE, 0.0):
                self._answer(CANDIDATE, client, copy=True)

    def _answer(self, version: str, client: str, *, copy: bool) -> None:
        how, rng = self.behaviours[version], self.rng
        if how.silent:
            return
        broken = rng.random() < how.broken
        error = broken or rng.random() < how.errors
        slow = not error and rng.random() < how.slow
        tally = self.totals.get(version, Tally())
        clients, outcomes = dict(tally.clients), dict(tally.outcomes)
        if client:
            mine = clients.get(client, ClientTally(0, 0, 0))
            clients[client] = ClientTally(mine.requests + 1, mine.errors + error, mine.slow + slow)
        if how.converts is not None and not error:
            value = float(rng.random() < how.converts)
            before = outcomes.get("conversion", OutcomeTally(0, 0.0, 0.0, 0.0, 1.0))
            outcomes["conversion"] = OutcomeTally(
                before.count + 1, before.total + value, before.squares + value, 0.0, 1.0
            )
        latencies: dict[int, int] = defaultdict(int, tally.latencies)
        if not error:
            latencies[90 if slow else 40] += 1  # 500 ms, 4.5 ms
        self.totals[version] = replace(
            tally, requests=tally.requests + 1, errors=tally.errors + error, slow=tally.slow + slow,
            broken=tally.broken + broken, clients=clients, outcomes=outcomes, latencies=dict(latencies),
            compared=tally.compared + copy, different=tally.different + (copy and rng.random() < how.different),
        )  # fmt: skip


def stored(state: ReleaseState) -> ReleaseState:
    """As it comes back from a journal."""
    return state_from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))


def drive(
    state: ReleaseState, world: World, looks: int = 400, requests: int = 100, seconds: float = 1.0
) -> Release | None:
    """Run the loop that a real controller runs; None if the release goes on."""
    for _ in range(looks):
        state, instructions = advance(stored(state), world.seen(), world.now)
        for instruction in instructions:
            if isinstance(instruction, Finish):
                return instruction.release
            assert isinstance(instruction, SetTraffic)
            world.route(instruction.traffic)
        world.batch(requests, seconds)
    return None
