"""Who gets which version, and what is counted: the parts of routing that need no server."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.serve_choice import Choice, check_next, check_traffic, traffic_document, traffic_from
from orchestrator.backends.serve_counts import MAX_CLIENTS, MAX_METRICS, Counts, add_all, bucket_of
from orchestrator.backends.serve_routing import same_answer
from orchestrator.errors import ConfigError, TrafficMoved
from orchestrator.ports.traffic import LATENCY_BASE_MS, LATENCY_GROWTH, ClientTally, OutcomeTally, Traffic

CLIENTS = [f"client-{number}" for number in range(5_000)]


def on(choice: Choice, version: str) -> set[str]:
    return {client for client in CLIENTS if choice.of(client) == version}


@given(
    before=st.floats(1, 99),
    after=st.floats(1, 99),
    candidate=st.text("abcdef", min_size=1, max_size=5),
)
def test_a_weight_that_grows_moves_only_those_it_needs(before: float, after: float, candidate: str) -> None:
    low, high = sorted((before, after))
    some = CLIENTS[:100]
    few = {client for client in some if Choice({"z": 100 - low, candidate: low}).of(client) == candidate}
    many = {client for client in some if Choice({"z": 100 - high, candidate: high}).of(client) == candidate}
    assert few <= many


def test_clients_are_spread_by_weight_and_another_candidate_gets_others() -> None:
    five = on(Choice({"v1": 95, "v2": 5}), "v2")
    assert len(five) == pytest.approx(250, abs=75)  # five standard deviations
    other = on(Choice({"v1": 95, "v3": 5}), "v3")
    assert len(five & other) < 50
    three = Counter(Choice({"v1": 50, "v2": 30, "v3": 20}).of(client) for client in CLIENTS)
    assert three["v2"] == pytest.approx(1500, abs=170)
    assert three["v3"] == pytest.approx(1000, abs=145)


def test_without_a_key_chance_decides_by_weight() -> None:
    choice = Choice({"v1": 80, "v2": 20, "v3": 0})
    drawn = Counter(choice.of(None) for _ in range(5_000))
    assert drawn["v2"] == pytest.approx(1000, abs=150)
    assert set(drawn) == {"v1", "v2"}
    assert {Choice({"v1": 0, "v2": 100}).of(client) for client in (None, "a", "\ud800")} == {"v2"}


def test_traffic_goes_through_json_and_back() -> None:
    traffic = Traffic(3, {"v1": 95, "v2": 5}, "v1", {"v3": 10}, release="r", phase="baking", by="someone")
    assert traffic_from(traffic_document(traffic)) == traffic


@pytest.mark.parametrize(
    ("traffic", "words"),
    [
        (Traffic(1, {"v1": 50, "v2": 49}, "v1"), "sum to 99 and not to 100"),
        (Traffic(1, {"v1": 110, "v2": -10}, "v1"), "give it 0 to 100"),
        (Traffic(1, {"v1": float("nan")}, "v1"), "give it 0 to 100"),
        (Traffic(1, {"v1": 100}, "v1", {"v2": 101}), "mirrored of shop"),
        (Traffic(1, {"v1": 100}, "v1", mirror_limit=0), "mirror_limit 0 have to be positive"),
        (Traffic(1, {"v1": 100}, ""), "version '' cannot be served"),
        (Traffic(1, {"outcomes": 100}, "v1"), "'outcomes' and 'models' are taken"),
        (Traffic(0, {"v1": 100}, "v1"), "generation 0"),
        (Traffic(1, {"v1": 100}, "v1", slow_ms=0), "slow_ms 0"),
    ],
)
def test_what_is_no_traffic_is_refused(traffic: Traffic, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_traffic("shop", traffic)


def test_a_change_is_the_next_one_or_the_last_one_again() -> None:
    standing = Traffic(4, {"v1": 100}, "v1", by="release 7")
    check_next("shop", standing, None)
    check_next("shop", standing, standing)
    check_next("shop", Traffic(5, {"v2": 100}, "v1"), standing)
    for other in (Traffic(4, {"v2": 100}, "v1"), Traffic(3, {"v1": 100}, "v1"), Traffic(6, {"v1": 100}, "v1")):
        with pytest.raises(TrafficMoved, match=r"generation 4 .*by release 7"):
            check_next("shop", other, standing)


@given(st.floats(0, 1e7))
def test_an_answer_is_in_the_first_bucket_that_reaches_as_far(took_ms: float) -> None:
    bucket = bucket_of(took_ms)
    assert took_ms <= LATENCY_BASE_MS * LATENCY_GROWTH**bucket * (1 + 1e-6)
    assert bucket == 0 or took_ms > LATENCY_BASE_MS * LATENCY_GROWTH ** (bucket - 1) * (1 - 1e-6)


def test_counting_in_parts_is_counting_at_once() -> None:
    whole, parts = Counts(), [Counts(), Counts()]
    for number in range(60):
        for counts in (whole, parts[number % 2]):
            verdict = ("answered", "failed", "broken", "rejected")[number % 4]
            counts.request(verdict, number * 1.0, 30.0, f"c{number % 5}" if number % 3 else None)  # type: ignore[arg-type]
            counts.outcome("clicks", number - 7.0)
            counts.comparison(different=number % 6 == 0)
    totals: dict[str, Counts] = {}
    for part in parts:
        add_all(totals, {"v1": part})
    assert totals["v1"].tally() == whole.tally()
    tally = whole.tally()
    assert (tally.requests, tally.errors, tally.broken, tally.rejected, tally.slow) == (45, 30, 15, 15, 7)
    assert sum(tally.latencies.values()) == tally.requests
    assert tally.outcomes["clicks"] == OutcomeTally(60, 1350.0, 48370.0, -7.0, 52.0)
    assert (tally.compared, tally.different) == (60, 10)


def test_clients_and_metrics_have_an_end() -> None:
    counts = Counts()
    for number in range(MAX_CLIENTS + 10):
        counts.request("answered", 1.0, 2.0, f"c{number}")
    counts.request("failed", 1.0, 2.0, "c0")
    assert counts.requests == MAX_CLIENTS + 11
    assert len(counts.clients) == MAX_CLIENTS
    assert counts.clients["c0"] == ClientTally(2, 1, 0)
    assert sum(counts.outcome(f"m{number}", 1.0) for number in range(MAX_METRICS + 5)) == MAX_METRICS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"y": 1}', b'{"y":1.0000000001}', True),
        (b'{"y": 1}', b'{"y":1.1}', False),
        (b'{"y": [1, "a", null]}', b'{"y": [1, "a", null]}', True),
        (b'{"y": 1}', b'{"y": true}', False),
        (b'{"y": 1}', b'{"z": 1}', False),
        (b"[1]", b"[1, 2]", False),
        (b"{", b"{", False),
    ],
)
def test_answers_are_compared_with_a_tolerance(one: bytes, other: bytes, same: bool) -> None:
    assert same_answer(one, other, 1e-6) is same
