"""Port of traffic: how much of an application's requests each model version answers, and how well they answered.

A router stands before the versions of an application. What it does is one value, ``Traffic``, that is replaced as a
whole; its ``generation`` is a fence, so that whoever decided on an older view changes nothing. How the versions
answered are totals, ``Tally``, that only grow within one ``era``; whoever reads them works with differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from orchestrator.ports.serving import Endpoint

Phase = Literal["idle", "baking", "promoted", "rolled_back"]

LATENCY_BASE_MS = 0.1
LATENCY_GROWTH = 1.1


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the router of an application does with requests.

    Attributes:
        generation: Grows with every change; a change has to name the next one.
        weights: Percent of the requests for each version; they sum to 100.
        stable: The last good version: where everything goes after a rollback.
        mirrored: Percent of the requests that a version gets a copy of; its answers are compared and thrown away.
        mirror_timeout_s: Longest time for an answer to a copy; later it counts as an error.
        mirror_limit: Most copies under way at each replica of the router; more requests are not copied.
        sticky: Requests with the same client key go to the same version while the weights stay.
        release: The release that moves the weights, or empty.
        phase: How far that release is.
        slow_ms: Answers that took longer count as slow.
        slices: Fields of a request's first row by whose values outcomes are told apart as well.
        by: Who made this change: a release, or a person.
    """

    generation: int
    weights: Mapping[str, float]
    stable: str
    mirrored: Mapping[str, float] = field(default_factory=dict)
    sticky: bool = True
    release: str = ""
    phase: Phase = "idle"
    slow_ms: float = 1000.0
    by: str = ""
    mirror_timeout_s: float = 5.0
    mirror_limit: int = 16
    slices: tuple[str, ...] = ()


class ClientTally(NamedTuple):
    """Requests of one client to one version: they are not independent of each other."""

    requests: int
    errors: int
    slow: int


@dataclass(frozen=True, slots=True)
class OutcomeTally:
    """A business metric that was reported for answers of a version: count, sum, sum of squares, least and largest."""

    count: int
    total: float
    squares: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What one version did, in total since the era began.

    A request counts once, for the version that it was given to; the stable version's answer in place of another's
    failure counts for neither. Mirrored requests count for the version that they were copied to.

    Attributes:
        requests: Answered or failed, without those that the client got wrong (4xx).
        errors: 5xx, no answer in time, a replica that died, or 4xx for what the stable version answered.
        slow: Took longer than ``Traffic.slow_ms``; errors are not counted here.
        broken: Answers that are none: NaN, infinite, empty, or fewer than rows. They are errors too.
        rejected: Requests that the client got wrong.
        turned_away: Requests that the version had no room for; the stable version was asked instead, or the client was
            told to come again.
        latencies: Histogram of how long answers took: bucket ``b`` holds those up to
            ``LATENCY_BASE_MS * LATENCY_GROWTH ** b`` milliseconds.
        clients: By client key, for those that sent one; when there are very many, those that came first.
        outcomes: By metric.
        slices: The same by metric and ``field=value`` of the request; when there are many, those that came first.
        compared, different: Of mirrored requests: compared with the answer that was given, and different from it.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    broken: int = 0
    rejected: int = 0
    turned_away: int = 0
    latencies: Mapping[int, int] = field(default_factory=dict)
    clients: Mapping[str, ClientTally] = field(default_factory=dict)
    outcomes: Mapping[str, OutcomeTally] = field(default_factory=dict)
    slices: Mapping[tuple[str, str], OutcomeTally] = field(default_factory=dict)
    compared: int = 0
    different: int = 0


class Tallies(NamedTuple):
    """Totals by version. Another ``era`` means that counting has begun anew: earlier totals are gone."""

    era: str
    versions: Mapping[str, Tally]


class Router(Protocol):
    """Moves the requests of applications between versions that ``Serving`` deployed."""

    def prepare(self, app: str, *, timeout_s: float = 60.0) -> None:
        """Start the router ahead; until ``route`` it has no traffic and answers 503. No error if there is one.

        Raises:
            ServingFailed: it did not become healthy.
            ConfigError: no application can be called that.
        """
        ...

    def route(self, app: str, traffic: Traffic, *, timeout_s: float = 60.0) -> Endpoint:
        """Do this from now on, and return when all replicas of the router do; starts the router if there is none.

        Repeating the change that was made last is no error.

        Raises:
            TrafficMoved: the router is at another generation than the one before this; nothing was changed.
            ServingFailed: a version with weight is not served, or the router did not become healthy.
            ConfigError: weights that do not sum to 100, or are negative.
        """
        ...

    def traffic(self, app: str) -> Traffic | None:
        """What the router does; None if the application has none."""
        ...

    def tallies(self, app: str) -> Tallies:
        """How the versions have answered; at most about half a second old."""
        ...

    def unroute(self, app: str) -> None:
        """End the router; versions stay. No error if there is none."""
        ...
