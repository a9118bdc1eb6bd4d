"""Port of the journal: the facts of every run, and what must change in the same transaction.

Promises that every back end keeps and ``tests/store/test_journal_conformance.py`` checks: an append is all or
nothing and durable when it returns; ``seq`` is gap-free from 1; an append with an older epoch or another ``seq``
than the run's changes nothing and raises StaleEpoch; finished runs accept no facts; the same append may be repeated
after a lost acknowledgement without doubling anything; a trigger key belongs to one run.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from orchestrator.graph.fact import Fact, Recorded, RunState
from orchestrator.types import Digest


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the journal's index knows it; a projection of its facts, kept in the same transactions.

    Attributes:
        trigger_key: What the run was made for, if only one run may be: a delivery of a webhook, an hour of a schedule.
    """

    id: str
    pipeline: str
    state: RunState
    seq: int
    epoch: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    driver: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    trigger_key: str | None = None


class CacheEntry(NamedTuple):
    """A reusable output: where it is, which run made it, and until when it may be reused (wall-clock seconds)."""

    run: str
    chunk: Digest
    at: int
    expires_at: float
    parts: Mapping[str, str] = {}


class InboxRow(NamedTuple):
    """A request by somebody who does not own the run: approval, signal, cancellation."""

    key: str
    body: Mapping[str, Any]
    at: float


class Snapshot(NamedTuple):
    """Machine state after the fact ``seq``."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """One transaction of a driver.

    The same object may be appended again when it is not known whether it was committed.

    Attributes:
        epoch, seq: What the driver believes the run's epoch and last seq to be.
        chunks: Inline chunks the facts refer to, by digest.
        taken: Keys of inbox rows that these facts answer; they are removed with the same commit.
        cache: Outputs that become reusable.
        state: The run's state after these facts; None leaves it.
        attempt: Random; kept with the run, so that a repetition finds out that the first time was a success.
    """

    run: str
    epoch: int
    seq: int
    at: float
    facts: Sequence[Fact]
    chunks: Mapping[Digest, bytes] = field(default_factory=dict)
    taken: Sequence[str] = ()
    cache: Mapping[str, CacheEntry] = field(default_factory=dict)
    state: RunState | None = None
    attempt: str = field(default_factory=lambda: secrets.token_hex(8))


class Ownership(Protocol):
    """A driver's hold on a run; ``release`` gives it up. The hold ends by itself when the process dies."""

    run: str
    epoch: int

    def verify(self) -> None:
        """Make sure that the run is still held; cheap unless this process was frozen or cut off from the store.

        Raises:
            StaleEpoch: another driver has taken over; the message names it. This one must stop.
            StoreUnavailable: it cannot be known, because the store is away.
        """
        ...

    def release(self) -> None:
        """Give the run up; no error if already done."""
        ...


class Records(Protocol):
    """What is known of runs: all that it takes to bring one back."""

    def facts(self, run: str, after: int = 0) -> Iterator[Recorded]:
        """Facts with ``seq > after`` in order.

        Raises:
            NotFound: no such run.
            JournalCorrupt: a gap, or a fact that cannot be read.
        """
        ...

    def snapshot(self, run: str) -> Snapshot | None:
        """The run's snapshot, if any."""
        ...


class Journal(Records, Protocol):
    """Durable, gap-free facts of runs. Thread-safe."""

    def create(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes]) -> str:
        """Make a run with its first facts (seq 1…), state and tags from ``row``.

        Returns:
            The run's id; that of another run if the trigger key already has one. Then nothing was written.

        Raises:
            ValueError: the id is empty or taken.
        """
        ...

    def begin(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes], driver: str) -> Ownership | str:
        """Make a run as ``create`` does and own it from the start, under epoch 1: all of it in one transaction.

        Returns:
            The hold on it; the id of another run if the trigger key already has one. Then nothing was written.

        Raises:
            ValueError: the id is empty or taken.
        """
        ...

    def run_of_key(self, trigger_key: str) -> str | None:
        """The run that was made for a trigger key, or None."""
        ...

    def own(self, run: str, driver: str, wait_s: float = 0.0) -> Ownership:
        """Take a run over under the next epoch.

        Args:
            wait_s: How long to wait for a living driver to let go of it.

        Raises:
            NotFound: no such run.
            RunOwned: a living driver holds it; the message names it.
        """
        ...

    def owner(self, run: str) -> str | None:
        """The living driver that holds the run, or None."""
        ...

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding the run; None if one holds it, or the last one gave it up in order."""
        ...

    def append(self, append: Append) -> int:
        """Commit one transaction and return the run's new last ``seq``.

        Raises:
            StaleEpoch: the run's epoch or seq is not what the driver believes; nothing was written.
            CursorElsewhere: a cursor that the facts move is not where the run found it; nothing was written.
            StoreUnavailable: disk full or no connection; the same append may be tried again, also if this one was
                written and only its acknowledgement got lost.
        """
        ...

    def chunk(self, run: str, digest: Digest) -> bytes | None:
        """An inline chunk of the run, verified against its digest; None if it is not inline."""
        ...

    def save_snapshot(self, run: str, snapshot: Snapshot) -> None:
        """Replace the run's snapshot."""
        ...

    def post(self, run: str, key: str, body: Mapping[str, Any], at: float) -> bool:
        """Put a request into the run's inbox; False if one with this key was ever posted.

        Raises:
            NotFound: no such run.
        """
        ...

    def inbox(self, run: str) -> list[InboxRow]:
        """Requests not yet taken, oldest first."""
        ...

    def cached(self, keys: Sequence[str], now: float) -> dict[str, CacheEntry]:
        """Reusable outputs among these keys that have not expired."""
        ...

    def nearest_cached(self, stage: str, now: float) -> CacheEntry | None:
        """The newest entry a stage's node wrote (its ``parts['stage']``), to explain a miss."""
        ...

    def run(self, run: str) -> RunRow:
        """One run, by id or by a unique beginning of it; raises NotFound."""
        ...

    def runs(
        self,
        pipeline: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: float | None = None,
        before_id: str = "",
        search: str = "",
    ) -> list[RunRow]:
        """Runs, newest first.

        Args:
            before: Only runs made before this time, or at it with an id below ``before_id``: what follows on a page.
            search: Only runs with this text in their id, pipeline or the value of a tag; ASCII case does not count.
        """
        ...

    def live_digests(
        self, load: Callable[[Digest], bytes | memoryview], without: Collection[str] = ()
    ) -> Iterator[Digest]:
        """Every digest that some fact, chunk, graph, capsule or unexpired cache entry names: collection's roots.

        ``load`` reads an artifact (``ArtifactStore.get``): graphs are artifacts that name others. The runs ``without``
        are left out, as if they were removed, and so are versions named there (``data:flights@v3``).
        """
        ...

    def reusable_until(self, at: float) -> Mapping[str, float]:
        """Until when cache entries that have not expired at a time hand out outputs, by the run that made them."""
        ...

    def held_bytes(self, runs: Sequence[str]) -> Mapping[str, int]:
        """What the journal holds of runs, in bytes."""
        ...

    def forget(self, run: str, at: float) -> bool:
        """Remove a run with its facts, chunks and snapshot.

        False, and nothing is removed, if there is no such run, it has not ended, or a cache entry that has not expired
        at that time names it.
        """
        ...

    def forget_expired(self, at: float) -> int:
        """Remove cache entries that have expired by a time; returns how many."""
        ...

    def close(self) -> None:
        """Close connections; no error if already done."""
        ...
