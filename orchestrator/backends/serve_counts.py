"""How versions answered, being counted: what a router adds up between two reports, and its ledger for good.

A request counts once, for the version that it was given to. An answer that the stable version gave in its place is the
work of that failure and no sample of the stable version's own traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from orchestrator.ports.traffic import LATENCY_BASE_MS, LATENCY_GROWTH, ClientTally, OutcomeTally, Tally

Verdict = Literal["answered", "failed", "broken", "rejected", "turned away"]

MAX_CLIENTS = 10_000
MAX_METRICS = 100
MAX_SLICES = 100

_K = TypeVar("_K")
_GROWTH = math.log(LATENCY_GROWTH)


@dataclass(slots=True)
class Counts:
    """A ``Tally`` that grows."""

    requests: int = 0
    errors: int = 0
    slow: int = 0
    broken: int = 0
    rejected: int = 0
    turned_away: int = 0
    compared: int = 0
    different: int = 0
    latencies: dict[int, int] = field(default_factory=dict)
    clients: dict[str, ClientTally] = field(default_factory=dict)
    outcomes: dict[str, OutcomeTally] = field(default_factory=dict)
    slices: dict[tuple[str, str], OutcomeTally] = field(default_factory=dict)

    def request(self, verdict: Verdict, took_ms: float, slow_ms: float, client: str | None) -> None:
        """Count one request."""
        if verdict == "rejected":
            self.rejected += 1
            return
        if verdict == "turned away":
            self.turned_away += 1
            return
        error = int(verdict != "answered")
        slow = int(not error and took_ms > slow_ms)
        self.requests += 1
        self.errors += error
        self.slow += slow
        self.broken += verdict == "broken"
        bucket = bucket_of(took_ms)
        self.latencies[bucket] = self.latencies.get(bucket, 0) + 1
        if client is not None:
            self._client(client, ClientTally(1, error, slow))

    def outcome(self, metric: str, value: float, slices: Sequence[str] = ()) -> bool:
        """Count one outcome, for its slices as well; False if there are too many metrics already."""
        one = OutcomeTally(1, value, value * value, value, value)
        if not _counted(self.outcomes, metric, one, MAX_METRICS):
            return False
        for name in slices:
            _counted(self.slices, (metric, name), one, MAX_SLICES)
        return True

    def comparison(self, different: bool) -> None:
        """Count one answer to a mirrored request that could be compared."""
        self.compared += 1
        self.different += different

    def add(self, other: Counts) -> None:
        """Count all that another one counted."""
        for name in ("requests", "errors", "slow", "broken", "rejected", "turned_away", "compared", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for bucket, count in other.latencies.items():
            self.latencies[bucket] = self.latencies.get(bucket, 0) + count
        for client, tally in other.clients.items():
            self._client(client, tally)
        for metric, outcome in other.outcomes.items():
            _counted(self.outcomes, metric, outcome, MAX_METRICS)
        for key, outcome in other.slices.items():
            _counted(self.slices, key, outcome, MAX_SLICES)

    def tally(self) -> Tally:
        """What has been counted so far."""
        return Tally(
            requests=self.requests,
            errors=self.errors,
            slow=self.slow,
            broken=self.broken,
            rejected=self.rejected,
            turned_away=self.turned_away,
            latencies=dict(self.latencies),
            clients=dict(self.clients),
            outcomes=dict(self.outcomes),
            slices=dict(self.slices),
            compared=self.compared,
            different=self.different,
        )

    def _client(self, client: str, more: ClientTally) -> None:
        known = self.clients.get(client)
        if known is not None:
            self.clients[client] = ClientTally(
                known.requests + more.requests, known.errors + more.errors, known.slow + more.slow
            )
        elif len(self.clients) < MAX_CLIENTS:  # dropping one for another would make totals shrink
            self.clients[client] = more


def _counted(totals: dict[_K, OutcomeTally], key: _K, more: OutcomeTally, most: int) -> bool:
    """Add values to those of a key; False if there are too many keys already."""
    known = totals.get(key)
    if known is None and len(totals) >= most:
        return False
    totals[key] = more if known is None else OutcomeTally(
        known.count + more.count, known.total + more.total, known.squares + more.squares,
        min(known.low, more.low), max(known.high, more.high),
    )  # fmt: skip
    return True


def add_all(totals: dict[str, Counts], more: dict[str, Counts]) -> None:
    """Add counts by version."""
    for version, counts in more.items():
        totals.setdefault(version, Counts()).add(counts)


def bucket_of(took_ms: float) -> int:
    """Bucket of the histogram for an answer that took so long."""
    if took_ms <= LATENCY_BASE_MS:
        return 0
    return math.ceil(math.log(took_ms / LATENCY_BASE_MS) / _GROWTH - 1e-9)
