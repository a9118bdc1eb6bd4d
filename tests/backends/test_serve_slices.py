"""Slices: from a request's field to the totals of an outcome that is reported later, by way of the answer's id."""

from __future__ import annotations

import asyncio
import json

import pytest

from orchestrator.backends.serve_answer import Answer
from orchestrator.backends.serve_choice import traffic_document, traffic_from
from orchestrator.backends.serve_counts import MAX_SLICES, Counts, add_all
from orchestrator.backends.serve_routing import ANSWER_HEADER, Asked, Routing
from orchestrator.backends.serve_slices import LARGEST_BODY, request_id, slices_in, slices_of
from orchestrator.ports.traffic import OutcomeTally, Traffic

FIELDS = ("plan", "age")
TRAFFIC = Traffic(1, {"v1": 100.0}, "v1", slices=FIELDS)


def body(**row: object) -> bytes:
    return json.dumps({"rows": [row, {"plan": "another"}]}).encode()


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (body(plan="basic", age=40, other=1), ("plan=basic", "age=40")),
        (body(plan=True, age=None), ("plan=true",)),
        (body(plan=["a"], age={}), ()),
        (body(plan="ü" * 100), (f"plan={'ü' * 40}",)),
        (b'{"rows": []}', ()),
        (b'{"rows": "no"}', ()),
        (b"[" * 5000, ()),
        (b"not json", ()),
        (body(plan="x" * LARGEST_BODY), ()),
    ],
)
def test_a_request_belongs_to_slices_by_its_first_row(sent: bytes, found: tuple[str, ...]) -> None:
    assert slices_of(sent, FIELDS) == found
    assert slices_in(f"v1--{request_id(found)}", FIELDS) == found
    assert request_id(found).isascii()


@pytest.mark.parametrize("told", ["", ".", ".x", ".W10", ".bnVsbA", ".\ud800", ".WyJvdGhlcj0xIl0", "." + "a" * 70_000])
def test_ids_that_somebody_made_up_belong_to_none(told: str) -> None:
    assert slices_in(f"v1--0123{told}", FIELDS) == ()


def test_an_outcome_counts_for_the_slices_of_its_request() -> None:
    async def ask(version: str, asked: Asked) -> Answer:
        return Answer(200, b'{"predictions": [1]}', False)

    async def both() -> Counts:
        routing = Routing("churn", ask)
        routing.follow(traffic_from(json.loads(json.dumps(traffic_document(TRAFFIC)))), routing.limits)
        reports = []
        for plan, value in (("basic", 1.0), ("basic", 0.0), ("pro", 1.0)):
            reply = await routing.handle("POST", "", body(plan=plan), None)
            reports.append({"id": reply.headers[ANSWER_HEADER], "metric": "bought", "value": value})
        assert json.loads(routing.outcomes(json.dumps({"outcomes": reports}).encode()).body)["counted"] == 3
        return routing.take()["v1"]

    tally = asyncio.run(both()).tally()
    assert tally.outcomes == {"bought": OutcomeTally(3, 2.0, 2.0, 0.0, 1.0)}
    assert tally.slices == {
        ("bought", "plan=basic"): OutcomeTally(2, 1.0, 1.0, 0.0, 1.0),
        ("bought", "plan=pro"): OutcomeTally(1, 1.0, 1.0, 1.0, 1.0),
    }


def test_there_are_never_more_slices_than_fit() -> None:
    totals: dict[str, Counts] = {}
    for number in range(2 * MAX_SLICES):
        counts = Counts()
        counts.outcome("bought", 1.0, (f"plan={number}", "plan=0"))
        add_all(totals, {"v1": counts})
    assert len(totals["v1"].slices) == MAX_SLICES
    assert totals["v1"].slices["bought", "plan=0"].count == 2 * MAX_SLICES + 1
    assert totals["v1"].outcomes["bought"].count == 2 * MAX_SLICES
