"""Design effects: 1 for requests of their own, near the truth for clients that differ, the most for one client."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.ports.traffic import ClientTally, Tally
from orchestrator.serving.clusters import Design, design_of, worth_clients


def tally(clients: dict[str, ClientTally], alone: tuple[int, int, int] = (0, 0, 0)) -> Tally:
    total = [sum(column) + more for column, more in zip(zip(*clients.values(), strict=True), alone, strict=True)]
    return Tally(requests=total[0], errors=total[1], slow=total[2], clients=clients)


def test_requests_without_a_client_are_independent() -> None:
    assert design_of(Tally(requests=500, errors=40, slow=3)) == Design(1.0, 1.0, 1.0)


def test_clients_of_one_request_are_independent() -> None:
    clients = {f"c{n}": ClientTally(1, int(n % 50 == 0), int(n % 7 == 0)) for n in range(400)}
    assert design_of(tally(clients)) == Design(1.0, 1.0, 1.0)


def test_one_client_is_one_sample_however_much_it_sends() -> None:
    assert design_of(tally({"only": ClientTally(1000, 30, 0)})).errors == 1000


def test_a_client_that_dominates_does_not_excuse_itself() -> None:
    clients = {f"c{n}": ClientTally(10, int(n % 10 == 0), 0) for n in range(20)}
    clients["poison"] = ClientTally(1000, 1000, 0)
    found = design_of(tally(clients))
    assert found.errors == pytest.approx(found.requests)
    assert 1200 / found.errors < 2


def test_the_estimate_is_near_the_truth_for_clients_that_differ() -> None:
    rng = np.random.default_rng(8)
    for spread, low, high in ((0.0, 1.0, 1.4), (1.0, 3.5, 8.0)):
        found = []
        for _ in range(20):
            rates = np.where(rng.uniform(0, 1, 200) < 0.1, 0.05 + spread * 0.4, 0.05 - spread * 0.04)
            errors = rng.binomial(20, rates)
            clients = {f"c{n}": ClientTally(20, int(bad), 0) for n, bad in enumerate(errors)}
            found.append(design_of(tally(clients)).errors)
        assert low <= float(np.mean(found)) <= high, (spread, np.mean(found))


def test_requests_of_unknown_clients_count_by_themselves() -> None:
    clients = {"a": ClientTally(50, 10, 0), "b": ClientTally(50, 0, 0)}
    mixed = design_of(tally(clients, alone=(900, 90, 0)))
    assert 1.0 < mixed.errors < design_of(tally(clients)).errors
    assert mixed.slow == pytest.approx(1.0, abs=0.01)


def test_clients_that_send_little_are_worth_little() -> None:
    assert worth_clients(Tally(requests=70)) == 0.0
    assert worth_clients(tally({f"c{n}": ClientTally(7, 0, 0) for n in range(30)})) == pytest.approx(30)
    one_of_many = {"most": ClientTally(1000, 0, 0), **{f"c{n}": ClientTally(1, 0, 0) for n in range(100)}}
    assert worth_clients(tally(one_of_many)) < 1.3


def test_at_least_takes_the_larger_of_each() -> None:
    assert Design(1, 5, 2).at_least(Design(3, 1, 4)) == Design(3, 5, 4)
    assert Design.from_json(Design(1.5, 2.5, 3.5).to_json()) == Design(1.5, 2.5, 3.5)
