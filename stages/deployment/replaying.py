"""Rows that have happened already, played to an application over HTTP as its users would, with what became of them.

A release is judged by requests, so this is what it is tried out with where there are no users yet.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator import stage
from orchestrator.errors import ConfigError
from stages.deployment.client import Client
from stages.deployment.serving import plain_rows

MOST_ROWS = 5_000
"""More rows of a table are not played; these come over and over."""

_REPORT = 5
"""Outcomes that one client reports together."""

_PAUSE_S = 0.1
_LOOK_S = 0.2
_FAILED = (OSError, http.client.HTTPException, ValueError, KeyError)


@dataclass(frozen=True)
class Replay:
    """What the users of an application have seen.

    Attributes:
        requests, failures: How many were sent, and how many were not answered; ``first_failure`` says why.
        answered: By the version that answered.
        errors: Mean squared error of the answers by version: for probabilities, the Brier score.
        releases: How many releases ended meanwhile.
        p50_ms, p95_ms: Latency as the users saw it.
    """

    requests: int
    failures: int
    first_failure: str | None
    answered: Mapping[str, int]
    errors: Mapping[str, float]
    releases: int
    p50_ms: float
    p95_ms: float

    def __str__(self) -> str:
        failure = f" (first: {self.first_failure})" if self.first_failure else ""
        return (
            f"{self.requests:,} requests over HTTP meanwhile, {self.failures} failed{failure}, "
            f"p50 {self.p50_ms:.0f} ms, p95 {self.p95_ms:.0f} ms"
        )


@stage(effects=True, num_cpus=0)
def replay(
    url: str,
    table: pa.Table,
    target: str,
    releases: int = 1,
    after: str | None = None,
    metric: str = "brier",
    clients: int = 4,
    pause_s: float = 0.05,
    idle_s: float = 0.5,
    timeout_s: float = 30.0,
    limit_s: float = 600.0,
) -> Replay:
    """Ask an application about rows until some releases of it have ended, and report how right its answers were.

    Stands beside those releases in a pipeline and needs nothing of theirs. Rows come in an order that is random and
    always the same. For each answer the squared error is reported as a business metric, which
    ``rollback_if="brier > 0.25"`` of a release judges by.

    Args:
        url: Of an application with a router, on this machine.
        target: Column with what happened, as a number; rows without it are left out.
        releases: How many releases have to end before this does; one that moves no request is not seen.
        after: The release that ended last before those, by its id; the one that is found at first if it is not named,
            so name it where the next may already be under way when this begins.
        clients: How many ask at the same time, each one request after the other, with ``pause_s`` seconds in between
            while a release is watched, and ``idle_s`` while one is being prepared, which needs the machine.
        timeout_s: Longest wait for an answer.
        limit_s: When to stop at the latest.

    Raises:
        ConfigError: the endpoint is not on this machine, or no row has a target.
    """
    known = table.filter(pc.is_valid(table[target]))
    if not known.num_rows:
        raise ConfigError(f"no row of the table has a {target!r}, so there is nothing to ask about")
    order = np.random.default_rng(0).permutation(known.num_rows)[:MOST_ROWS]
    chosen = known.take(pa.array(order))
    users = _Users(
        url, timeout_s, plain_rows(chosen.drop_columns([target])), chosen[target].to_numpy(), metric,
        pause_s, max(pause_s, idle_s),
    )  # fmt: skip
    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(users.ask, number, clients) for number in range(clients)]
        try:
            ended = users.wait(releases, after, time.monotonic() + limit_s)
        finally:
            users.over.set()
    for one in running:
        one.result()
    return users.seen(ended)


@dataclass
class _Users:
    """What all users ask, and what they have seen."""

    url: str
    timeout_s: float
    rows: list[dict[str, Any]]
    happened: Any
    metric: str
    pause_s: float
    idle_s: float
    watched: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    squares: dict[str, list[float]] = field(default_factory=dict)

    def ask(self, at: int, stride: int) -> None:
        """Be one user, until it is over."""
        client = Client(self.url, self.timeout_s)
        outcomes: list[dict[str, Any]] = []
        while not self.over.is_set():
            row, at = at % len(self.rows), at + stride
            began = time.perf_counter()
            try:
                (answer,), headers = client.predict([self.rows[row]])
                self.latencies.append((time.perf_counter() - began) * 1000)
                square = float(answer - self.happened[row]) ** 2
                self.squares.setdefault(headers["X-Model-Version"], []).append(square)
                outcomes.append({"id": headers["X-Answer-Id"], "metric": self.metric, "value": square})
                if len(outcomes) >= _REPORT:
                    client.ask("POST", {"outcomes": outcomes}, "/outcomes")
                    outcomes = []
            except _FAILED as error:
                self._failed(error)
            self.over.wait(self.pause_s if self.watched else self.idle_s)
        client.close()

    def wait(self, releases: int, after: str | None, deadline: float) -> int:
        """Look at the application until so many releases have ended, or until a moment; gives how many have."""
        client = Client(self.url, self.timeout_s)
        seen: set[str] = set()
        ended = 0
        while ended < releases and time.monotonic() < deadline:
            try:
                traffic, _ = client.ask("GET")
                after = traffic["release"] if after is None else after
                self.watched = traffic["phase"] == "baking"
                seen |= {traffic["release"]} - {after}
                ended = len(seen) - self.watched if seen else 0  # one begins when the one before it has ended
            except _FAILED as error:
                self._failed(error)
            time.sleep(_LOOK_S)
        client.close()
        return ended

    def seen(self, releases: int) -> Replay:
        """All of it."""
        p50, p95 = np.percentile(self.latencies, [50, 95]) if self.latencies else (0.0, 0.0)
        return Replay(
            requests=len(self.latencies) + len(self.failures),
            failures=len(self.failures),
            first_failure=self.failures[0] if self.failures else None,
            answered={version: len(squares) for version, squares in self.squares.items()},
            errors={version: float(np.mean(squares)) for version, squares in self.squares.items()},
            releases=releases,
            p50_ms=float(p50),
            p95_ms=float(p95),
        )

    def _failed(self, error: Exception) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")
        time.sleep(_PAUSE_S)
