"""Facts come back from bytes as they were, and nothing else passes for one."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import JournalCorrupt
from orchestrator.graph import fact as f
from orchestrator.graph.handover import TagMove
from orchestrator.graph.quality import CheckOutcome
from orchestrator.store.codec import decode_fact, encode_fact

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text()
FINITE = st.floats(allow_nan=False)
KNOWN = {
    "params": st.dictionaries(TEXTS, TEXTS),
    "tags": st.dictionaries(TEXTS, TEXTS),
    "node of NodeAdded": st.dictionaries(TEXTS, JSON),
    "document": st.dictionaries(TEXTS, JSON),
    "kept": st.dictionaries(TEXTS, TEXTS),
    "dropped": st.lists(TEXTS).map(tuple),
    "files": st.dictionaries(TEXTS, TEXTS),
    "metrics": st.dictionaries(TEXTS, FINITE),
    "cursors": st.dictionaries(TEXTS, st.builds(f.Position, TEXTS, NUMBERS)),
    "versions": st.dictionaries(TEXTS, TEXTS),
    "proposed": st.dictionaries(TEXTS, TEXTS),
    "moves": st.lists(st.builds(TagMove, TEXTS, TEXTS, st.none() | NUMBERS, st.none() | NUMBERS)).map(tuple),
    "cell": st.binary(),
    "offsets": st.lists(NUMBERS).map(tuple),
    "elapsed_us": st.binary(),
    "steps": st.lists(st.tuples(TEXTS, NUMBERS, NUMBERS)).map(tuple),
    "nodes": st.lists(TEXTS).map(tuple),
    "truths": st.dictionaries(NUMBERS, st.booleans()),
    "lengths": st.dictionaries(NUMBERS, NUMBERS),
    "truth": st.none() | st.booleans(),
    "length": st.none() | NUMBERS,
    "results": st.lists(
        st.builds(
            CheckOutcome,
            TEXTS,
            st.sampled_from(["block", "warn"]),
            st.booleans(),
            NUMBERS,
            NUMBERS,
            TEXTS,
            TEXTS,
            st.none() | NUMBERS,
        )
    ).map(tuple),
    "deadline": st.none() | FINITE,
    "retry_at": FINITE,
    "failure": st.builds(f.Failure, st.lists(TEXTS).map(tuple), TEXTS, st.lists(TEXTS).map(tuple), st.booleans()),
    "action": st.sampled_from(["fail", "drop", "keep", "fallback"]),
    "state": st.sampled_from(get_args(f.RunState)),
    "changed": st.dictionaries(TEXTS, st.tuples(TEXTS, TEXTS)),
    "reason of StepsSkipped": st.sampled_from(["branch", "dropped", "cancelled", "upstream_failed"]),
}
BY_TYPE = {"str": TEXTS, "int": NUMBERS, "bool": st.booleans()}


def of(kind: type[f.Fact]) -> st.SearchStrategy[f.Fact]:
    strategies = {}
    for field in dataclasses.fields(kind):
        known = KNOWN.get(f"{field.name} of {kind.__name__}", KNOWN.get(field.name))
        strategies[field.name] = BY_TYPE[str(field.type)] if known is None else known
    return st.builds(kind, **strategies)


@given(st.one_of([of(kind) for kind in get_args(f.Fact)]))
def test_every_kind_comes_back_as_it_was(fact: f.Fact) -> None:
    kind, body = encode_fact(fact)
    assert kind == type(fact).__name__
    assert decode_fact("r1", 1, kind, body) == fact


@given(st.sampled_from([kind.__name__ for kind in get_args(f.Fact)]), st.binary(max_size=40))
def test_other_bytes_are_a_fact_or_corrupt(kind: str, body: bytes) -> None:
    with suppress(JournalCorrupt):
        assert type(decode_fact("r1", 7, kind, body)).__name__ == kind


def test_a_field_that_an_older_release_did_not_write_has_its_default() -> None:
    body = msgspec.msgpack.encode({"node": "a", "start": 0, "stop": 1, "chunk": "c"})
    assert decode_fact("r1", 1, "StepsCompleted", body) == f.StepsCompleted("a", 0, 1, "c")


def test_only_facts_are_encoded() -> None:
    with pytest.raises(ValueError, match="Failure is no fact"):
        encode_fact(f.Failure((), ""))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be stored"):
        encode_fact(f.NodeAdded("p", 0, 0, "k", {"big": 2**70}))
