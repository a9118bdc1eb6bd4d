"""Requests of one client resemble each other: how many of them count as one.

The variance of a total over clients, beside what it would be if requests were independent, is the design effect; counts
divided by it may be treated as independent (Rao and Scott 1992, "A simple method for the analysis of clustered binary
data"). E-values shrink to the power of its inverse, which never makes evidence of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.ports.traffic import Tally


@dataclass(frozen=True, slots=True)
class Design:
    """How many requests count as one, by what is counted; 1 if they are independent.

    Attributes:
        errors, slow: For totals of errors and of slow answers.
        requests: For the number of requests itself; nothing can have more than this.
    """

    errors: float = 1.0
    slow: float = 1.0
    requests: float = 1.0

    def at_least(self, other: Design) -> Design:
        """The larger of both."""
        return Design(max(self.errors, other.errors), max(self.slow, other.slow), max(self.requests, other.requests))

    def to_json(self) -> list[float]:
        """As JSON values."""
        return [self.errors, self.slow, self.requests]

    @staticmethod
    def from_json(document: Any) -> Design:
        """What ``to_json`` wrote."""
        return Design(*map(float, document))


def design_of(tally: Tally) -> Design:
    """Design effects of a version's requests; those without a client, or of clients not told apart, are independent."""
    if not tally.clients:
        return Design()
    clients = list(tally.clients.values())
    known = sum(client.requests for client in clients)
    alone = max(0, tally.requests - known)
    if not known:
        return Design()
    most = (sum(client.requests**2 for client in clients) + alone) / (known + alone)
    errors = _design([(client.requests, client.errors) for client in clients], alone, tally.errors, most)
    slow = _design([(client.requests, client.slow) for client in clients], alone, tally.slow, most)
    return Design(errors, slow, max(1.0, most))


def worth_clients(tally: Tally) -> float:
    """How many clients that send as much as each other a version's requests are worth; 0 if they name no clients.

    Kish's effective size, ``(sum n)^2 / sum n^2``: a few that send nearly all are few, however many others there are.
    """
    squares = sum(client.requests**2 for client in tally.clients.values())
    if not squares:
        return 0.0
    known = sum(client.requests for client in tally.clients.values())
    alone = max(0, tally.requests - known)
    return float(known + alone) ** 2 / (squares + alone)


def _design(clients: Sequence[tuple[int, int]], alone: int, hits: int, most: float) -> float:
    """Estimate from how far each client is from the others (a jackknife), pulled to the most that there can be.

    A client is compared with the rate of all others, so that one that dominates does not excuse itself; and the
    estimate counts like one per client beside one that says "as much as possible", so that few clients prove little.
    """
    if most <= 1.0:
        return 1.0
    trials = sum(requests for requests, _ in clients) + alone
    rate = hits / trials
    if not 0.0 < rate < 1.0:
        estimate = most if rate else 1.0
    else:
        apart = sum(
            (got - requests * (hits - got) / (trials - requests)) ** 2 for requests, got in clients if requests < trials
        )
        estimate = (apart + alone * rate * (1.0 - rate)) / (trials * rate * (1.0 - rate))
        if any(requests == trials for requests, _ in clients):
            estimate = most
    units = len(clients) + alone
    return min(most, max(1.0, (estimate * units + most) / (units + 1)))
