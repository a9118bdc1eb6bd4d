"""Releases on real Serve under load: how soon bad candidates are sent back, and what clients notice of any of them.

The controller runs in this process, on the router and the replicas that releases use. Times are by the clock of one
machine: the candidate writes down when it first went wrong, the controller when it had decided, and weights have moved
when all replicas of the router do what they were told.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.candidates import MANNERS, SLOW_S, Clients, payload
from orchestrator.errors import ServingFailed
from orchestrator.ports.serving import Endpoint, Serving
from orchestrator.ports.traffic import Router, Traffic
from orchestrator.serving import Canary, Carrier, Release, begin, failed_at_start, without_another

APP, FIRST = "released", "first"
PREDICTOR = "benchmarks.candidates:Candidate"

CANARY = Canary(
    steps=(10, 50, 100), bake="3s", min_samples=30, patience="2m",
    rollback_if=f"error_rate > 0.02 or p95_ms > {SLOW_S * 600:g}", compare=("errors", "broken"),
)  # fmt: skip

UNREPORTED = replace(CANARY, rollback_if=f"{CANARY.rollback_if} or loss > 0.25", patience="15s")
"""Has a limit on what clients report."""

MOVES = 50


@dataclass
class Clocked:
    """A router, and when it had done what was decided."""

    router: Router
    decided_at: float | None = None
    moved_at: float | None = None
    kept: dict[str, Any] = field(default_factory=dict)

    def keep(self, state: dict[str, Any]) -> None:
        """Store a state; the first one with a decision is the moment of it."""
        self.kept = state
        if state["decision"] is not None and self.decided_at is None:
            self.decided_at = time.time()

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Endpoint:
        """See ``Router``."""
        endpoint = self.router.route(app, traffic, timeout_s=timeout_s)
        if self.decided_at is not None and self.moved_at is None:
            self.moved_at = time.time()
        return endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self.router, name)


@dataclass
class Field:
    """An application with a version that answers, and the candidates that come.

    Attributes:
        folder: Where candidates write down when they went wrong.
    """

    serving: Serving
    router: Router
    folder: Path
    strategy: Canary = CANARY
    clients: int = 8
    factors: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self._deploy(FIRST, "good")
        self.url = without_another(self.router, "r0", APP, FIRST, self.strategy, None, time.time()).url

    def trial(self, manner: str) -> dict[str, Any]:
        """Release a candidate under load: what became of it, when, and what the clients saw."""
        version = f"{manner}-{len(self.factors)}"
        clock = Clocked(self.router)
        self.factors[version] = len(self.factors) + 1  # known before its first answer
        with Clients(self.url, self.factors, self.clients).asking() as asked:
            time.sleep(1.0)
            release = self._released(version, manner, clock)
            ended_at = time.time()
            time.sleep(1.0)
        wrong_at = self._wrong_at(version)
        failed = [one.problem for one in asked if one.problem]
        took_ms = sorted(1000 * one.took_s for one in asked)
        return {
            "manner": manner, "outcome": release.outcome, "cause": release.cause, "why": release.why,
            "requests": len(asked), "failed": len(failed), "problems": failed[:3],
            "answered": dict(Counter(one.version for one in asked)), "at_candidate": release.samples,
            "p50_ms": statistics.median(took_ms), "p99_ms": took_ms[math.ceil(0.99 * len(took_ms)) - 1],
            "wrong_to_decision_s": _between(wrong_at, clock.decided_at or ended_at),
            "decision_to_weights_s": _between(clock.decided_at, clock.moved_at),
        }  # fmt: skip

    def moves(self, count: int = MOVES) -> dict[str, Any]:
        """Move a tenth of the requests to another version and back under load, again and again: how long each takes."""
        version = f"moved-{len(self.factors)}"
        self._deploy(version, "good")
        stable = self._traffic().stable
        took_s = []
        with Clients(self.url, self.factors, self.clients).asking() as asked:
            for number in range(count):
                now = self._traffic()
                weights = {stable: 100.0} if number % 2 else {stable: 90.0, version: 10.0}
                begun = time.perf_counter()
                self.router.route(APP, replace(now, generation=now.generation + 1, weights=weights, phase="idle"))
                took_s.append(time.perf_counter() - begun)
        self.serving.undeploy(APP, version)
        took_s.sort()
        return {
            "moves": count, "requests": len(asked), "failed": sum(bool(one.problem) for one in asked),
            "median_s": statistics.median(took_s), "p99_s": took_s[math.ceil(0.99 * count) - 1],
            "longest_s": took_s[-1],
        }  # fmt: skip

    def _released(self, version: str, manner: str, clock: Clocked) -> Release:
        strategy = UNREPORTED if manner == "mute" else self.strategy
        state = begin(version, APP, version, strategy, self._traffic(), time.time())
        try:
            self._deploy(version, manner)
        except ServingFailed as error:
            return failed_at_start(state, self._traffic(), error.message, time.time())
        return Carrier(self.serving, clock, clock.keep, lambda state: None).carry_out(state)

    def _deploy(self, version: str, manner: str) -> None:
        factor = self.factors.setdefault(version, len(self.factors) + 1)
        self.serving.deploy(APP, version, PREDICTOR, payload(factor, manner, self.folder / version))

    def _traffic(self) -> Traffic:
        traffic = self.router.traffic(APP)
        assert traffic is not None
        return traffic

    def _wrong_at(self, version: str) -> float | None:
        mark = self.folder / version
        return float(mark.read_text()) if mark.exists() else None


def _between(begun_at: float | None, ended_at: float | None) -> float | None:
    return None if begun_at is None or ended_at is None else ended_at - begun_at


def measured(repeats: int, moves: int, folder: Path) -> Iterator[dict[str, Any]]:
    """On the Ray that this process is connected to: each kind of candidate so many times, in turns; then moves."""
    from orchestrator.backends.serve import RayServing
    from orchestrator.backends.serve_router import RayRouter

    serving = RayServing()
    try:
        ground = Field(serving, RayRouter(), folder)
        for _ in range(repeats):
            for manner in MANNERS:
                yield ground.trial(manner)
        if moves:
            yield ground.moves(moves)
    finally:
        serving.shutdown()


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What all of it comes to."""
    trials = [row for row in rows if "manner" in row]
    right = [row for row in trials if row["outcome"] == ("promoted" if row["manner"] == "good" else "rolled_back")]
    weights = sorted(row["decision_to_weights_s"] for row in trials if row["decision_to_weights_s"] is not None)
    return {
        "releases": len(trials), "as_they_should": len(right),
        "requests": sum(row["requests"] for row in rows), "failed": sum(row["failed"] for row in rows),
        "decision_to_weights_longest_s": weights[-1] if weights else None,
    }  # fmt: skip


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Tables for people."""
    lines = [
        "| candidate | outcome | cause | requests | failed | first wrong to decision, s | decision to weights, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "manner" in row:
            times = " | ".join(_shown(row[name]) for name in ("wrong_to_decision_s", "decision_to_weights_s"))
            told = f"{row['outcome'].replace('_', ' ')} | {row['cause']} | {row['requests']:,} | {row['failed']}"
            lines.append(f"| {row['manner']}: {MANNERS[row['manner']]} | {told} | {times} |")
    for row in rows:
        if "moves" in row:
            lines += [
                "",
                f"{row['moves']} moves of a tenth of the requests under load: median {row['median_s']:.2f} s, "
                f"p99 {row['p99_s']:.2f} s, longest {row['longest_s']:.2f} s; "
                f"{row['failed']} of {row['requests']:,} failed.",
            ]
    told = summary(rows)
    longest = _shown(told["decision_to_weights_longest_s"])
    lines += [
        "",
        f"{told['as_they_should']} of {told['releases']} releases ended as they should; {told['failed']} of "
        f"{told['requests']:,} requests failed; from decision to weights {longest} s at most.",
    ]
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
