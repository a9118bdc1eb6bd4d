"""What happened between two looks: differences of totals, and what a guard has to know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from orchestrator.ports.serving import Served
from orchestrator.ports.traffic import LATENCY_BASE_MS, LATENCY_GROWTH, OutcomeTally, Tally
from orchestrator.serving.clusters import Design

_COUNTS = ("requests", "errors", "slow", "broken", "compared", "different")
_BESIDE = ("rejected", "turned_away")


@dataclass(frozen=True, slots=True)
class Window:
    """Of candidate and stable version, since the look before.

    Attributes:
        candidate, stable: What they did meanwhile; ``clients`` is empty.
        share: Part of the requests that the candidate gets, copies included, from 0 to 1.
        elapsed_s: How long it was.
        health: The candidate as its server sees it; None if it is not served.
        slow_ms: From where on the router counts answers as slow.
        design: How many of the candidate's requests count as one.
        clients: How many clients that send alike the stable version's requests are worth; 0 if they name none.
    """

    candidate: Tally
    stable: Tally
    share: float = 1.0
    elapsed_s: float = 0.0
    health: Served | None = None
    slow_ms: float = 1000.0
    design: Design = field(default_factory=Design)
    clients: float = 0.0


def answers(tally: Tally) -> int:
    """Requests that got an answer."""
    return max(0, tally.requests - tally.errors)


def slower(tally: Tally, limit_ms: float, slow_ms: float) -> int:
    """Answers that took longer: exactly if the router counts them, else those in buckets that lie above the limit."""
    if limit_ms == slow_ms:
        return tally.slow
    return sum(count for bucket, count in tally.latencies.items() if lower_end_ms(bucket) >= limit_ms)


def lower_end_ms(bucket: int) -> float:
    """Where a bucket of latencies begins, in milliseconds."""
    return LATENCY_BASE_MS * LATENCY_GROWTH ** (bucket - 1)


def difference(now: Tally, before: Tally) -> Tally | None:
    """What came since; None if a total is smaller than before, so that they do not belong together."""
    counts = {name: getattr(now, name) - getattr(before, name) for name in (*_COUNTS, *_BESIDE)}
    latencies = {bucket: count - before.latencies.get(bucket, 0) for bucket, count in now.latencies.items()}
    outcomes = {name: _outcomes(entry, before.outcomes.get(name)) for name, entry in now.outcomes.items()}
    slices = {key: _outcomes(entry, before.slices.get(key)) for key, entry in now.slices.items()}
    reported = [entry.count for entry in (*outcomes.values(), *slices.values())]
    if min(*counts.values(), *latencies.values(), *reported) < 0:
        return None
    return Tally(
        **counts,
        latencies={bucket: count for bucket, count in latencies.items() if count},
        outcomes={name: entry for name, entry in outcomes.items() if entry.count},
        slices={key: entry for key, entry in slices.items() if entry.count},
    )


def added(before: Tally, more: Tally) -> Tally:
    """Totals with further ones, without histograms, clients and outcomes."""
    return Tally(**{name: getattr(before, name) + getattr(more, name) for name in (*_COUNTS, *_BESIDE)})


def _outcomes(now: OutcomeTally, before: OutcomeTally | None) -> OutcomeTally:
    if before is None:
        return now
    return OutcomeTally(
        now.count - before.count, now.total - before.total, now.squares - before.squares, now.low, now.high
    )


def tally_to_json(tally: Tally) -> dict[str, Any]:
    """Totals as JSON values, without clients; what is zero or empty is left out."""
    document: dict[str, Any] = {name: value for name in (*_COUNTS, *_BESIDE) if (value := getattr(tally, name))}
    if tally.latencies:
        document["latencies"] = {str(bucket): count for bucket, count in tally.latencies.items()}
    if tally.outcomes:
        document["outcomes"] = {name: list(astuple(entry)) for name, entry in tally.outcomes.items()}
    if tally.slices:
        document["slices"] = [[*key, *astuple(entry)] for key, entry in tally.slices.items()]
    return document


def tally_from_json(document: Mapping[str, Any]) -> Tally:
    """What ``tally_to_json`` wrote."""
    given = dict(document)
    latencies = {int(bucket): count for bucket, count in given.pop("latencies", {}).items()}
    outcomes = {name: OutcomeTally(*entry) for name, entry in given.pop("outcomes", {}).items()}
    slices = {(metric, name): OutcomeTally(*entry) for metric, name, *entry in given.pop("slices", ())}
    return Tally(**given, latencies=latencies, outcomes=outcomes, slices=slices)
