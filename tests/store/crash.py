"""The transaction that crash tests interrupt, and the state that it starts from."""

from __future__ import annotations

from orchestrator.graph.fact import RunCreated
from orchestrator.ports.journal import CacheEntry, Journal
from tests.store.backend import a_chunk, append, completed, facts, row

CHUNK = a_chunk("first", "second")
CREATED = RunCreated("churn", "g" * 64, "c" * 64, {})
ENTRIES = {key: CacheEntry("r1", CHUNK[0], 0, 99.0, {"stage": "s"}) for key in ("k1", "k2")}
FACTS = [*facts(3), completed(CHUNK[0])]
TRANSACTION = append(
    0, 1, FACTS, chunks={CHUNK[0]: CHUNK[1]}, taken=["go"], cache=ENTRIES, state="waiting", attempt="1"
)


def before(journal: Journal) -> None:
    """A run with one fact and two requests."""
    journal.create(row(), [CREATED], {})
    journal.post("r1", "go", {}, 1.0)
    journal.post("r1", "stay", {}, 1.0)


def is_all_there(journal: Journal) -> bool:
    """True if the whole transaction is in the journal, False if nothing of it; anything else fails."""
    stored = journal.run("r1")
    recorded = [entry.fact for entry in journal.facts("r1")]
    seen = (
        stored.seq,
        stored.state,
        recorded,
        journal.chunk("r1", CHUNK[0]),
        [waiting.key for waiting in journal.inbox("r1")],
        journal.cached(list(ENTRIES), 5.0),
    )
    everything = (5, "waiting", [CREATED, *FACTS], CHUNK[1], ["stay"], ENTRIES)
    nothing: tuple[object, ...] = (1, "queued", [CREATED], None, ["go", "stay"], {})
    assert seen in (everything, nothing)
    return seen == everything
