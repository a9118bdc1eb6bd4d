"""The journal in memory, with every promise of ``ports.journal``. It never fails, and outlives every process.

A run is owned by a lease on the store's own clock. What fails is the ``Connection`` of a driver to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.errors import NotFound, RunOwned, StaleEpoch
from orchestrator.graph.fact import FINISHED, DriverStarted, Fact, Recorded, RunFinished, RunState
from orchestrator.ports.journal import Append, CacheEntry, InboxRow, RunRow, Snapshot
from orchestrator.types import Digest

LEASE_S = 3.0
"""How long a driver owns a run without saying that it lives."""


@dataclass(slots=True)
class StoredRun:
    """All that is stored of one run."""

    row: RunRow
    facts: list[Recorded] = field(default_factory=list)
    chunks: dict[Digest, bytes] = field(default_factory=dict)
    inbox: dict[str, InboxRow] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    snapshot: Snapshot | None = None
    owner: str = ""
    lease_until: float = 0.0
    last: Append | None = None


class Lease:
    """A hold on a run (``ports.journal.Ownership``) that ends when it is not renewed."""

    def __init__(self, store: Store, run: str, epoch: int) -> None:
        self.run = run
        self.epoch = epoch
        self._store = store

    def renew(self) -> bool:
        """Hold on for another lease; False if somebody else has taken the run over."""
        stored = self._store.stored(self.run)
        if stored.row.epoch != self.epoch:
            return False
        stored.lease_until = self._store.now() + LEASE_S
        return True

    def verify(self) -> None:
        """See ``Ownership.verify``; who was frozen holds on for another lease, or learns that it is too late."""
        stored = self._store.stored(self.run)
        if stored.row.epoch != self.epoch or (stored.lease_until <= self._store.now() and not self.renew()):
            raise StaleEpoch(f"run {self.run} is driven by {stored.owner} now", run=self.run)

    def release(self) -> None:
        """Give the run up; no error if already done."""
        stored = self._store.stored(self.run)
        if stored.row.epoch == self.epoch:
            stored.lease_until = 0.0


class Store:
    """The journal (``ports.journal.Journal``).

    Args:
        now: The store's own clock.
        on_append: Told of each accepted transaction, with the run's newest epoch.
    """

    def __init__(self, now: Callable[[], float], on_append: Callable[[Append, int], None] | None = None) -> None:
        self.now = now
        self._on_append = on_append
        self._runs: dict[str, StoredRun] = {}
        self._cache: dict[str, CacheEntry] = {}

    def stored(self, run: str) -> StoredRun:
        """A run; raises NotFound."""
        try:
            return self._runs[run]
        except KeyError:
            raise NotFound(f"there is no run {run!r}") from None

    # ---- what drivers write

    def create(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes]) -> str:
        """See ``Journal.create``."""
        if not row.id or not row.id.isprintable() or row.id in self._runs:
            raise ValueError(f"{row.id!r} cannot be the id of a run: it is empty, unprintable or taken")
        stored = self._runs[row.id] = StoredRun(replace(row, seq=len(facts)), chunks=dict(chunks))
        stored.facts += [Recorded(seq, row.created_at, fact) for seq, fact in enumerate(facts, 1)]
        return row.id

    def own(self, run: str, driver: str) -> Lease:
        """See ``Journal.own``."""
        stored = self.stored(run)
        if stored.lease_until > self.now():
            raise RunOwned(f"run {run} is driven by {stored.owner}", run=run, driver=stored.owner)
        stored.row = replace(stored.row, epoch=stored.row.epoch + 1, driver=driver)
        stored.owner, stored.lease_until = driver, self.now() + LEASE_S
        return Lease(self, run, stored.row.epoch)

    def owner(self, run: str) -> str | None:
        """See ``Journal.owner``."""
        stored = self.stored(run)
        return stored.owner if stored.lease_until > self.now() else None

    def abandoned(self, run: str) -> str | None:
        """See ``Journal.abandoned``."""
        stored = self.stored(run)
        return stored.owner if 0 < stored.lease_until <= self.now() else None

    def append(self, append: Append) -> int:
        """See ``Journal.append``."""
        stored = self.stored(append.run)
        state = _state_after(append)
        self._fence(stored, append)
        seq = stored.row.seq
        stored.facts += [Recorded(number, append.at, fact) for number, fact in enumerate(append.facts, seq + 1)]
        stored.chunks.update(append.chunks)
        stored.taken.update(append.taken)
        self._cache.update(append.cache)
        stored.row = _moved(stored.row, append, state)
        stored.last = append
        if self._on_append is not None:
            self._on_append(append, stored.row.epoch)
        return stored.row.seq

    def _fence(self, stored: StoredRun, append: Append) -> None:
        """One condition for the epoch, the gap-free sequence and the expected state."""
        row = stored.row
        if row.state in FINISHED:
            raise StaleEpoch(f"run {row.id} is {row.state}; a finished run takes no more facts", run=row.id)
        if append.epoch != row.epoch or append.seq != row.seq:
            raise StaleEpoch(
                f"run {row.id} stands at epoch {row.epoch}, fact {row.seq}, not at {append.epoch}, {append.seq}",
                run=row.id,
            )

    def save_snapshot(self, run: str, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        stored = self.stored(run)
        if snapshot.seq > stored.row.seq:
            raise ValueError(f"run {run}: a snapshot of fact {snapshot.seq} is ahead of the last fact")
        if stored.snapshot is None or stored.snapshot.seq <= snapshot.seq:
            stored.snapshot = snapshot

    # ---- what drivers and others read

    def facts(self, run: str, after: int = 0) -> Iterator[Recorded]:
        """See ``Journal.facts``."""
        return iter(self.stored(run).facts[max(after, 0) :])

    def chunk(self, run: str, digest: Digest) -> bytes | None:
        """See ``Journal.chunk``."""
        return self.stored(run).chunks.get(digest)

    def snapshot(self, run: str) -> Snapshot | None:
        """See ``Journal.snapshot``."""
        return self.stored(run).snapshot

    def post(self, run: str, key: str, body: Mapping[str, Any], at: float) -> bool:
        """See ``Journal.post``."""
        stored = self.stored(run)
        if key in stored.inbox:
            return False
        stored.inbox[key] = InboxRow(key, json.loads(json.dumps(dict(body))), at)
        return True

    def inbox(self, run: str) -> list[InboxRow]:
        """See ``Journal.inbox``."""
        stored = self.stored(run)
        return [row for key, row in stored.inbox.items() if key not in stored.taken]

    def cached(self, keys: Sequence[str], now: float) -> dict[str, CacheEntry]:
        """See ``Journal.cached``."""
        return {key: self._cache[key] for key in keys if key in self._cache and self._cache[key].expires_at > now}

    def nearest_cached(self, stage: str, now: float) -> CacheEntry | None:
        """See ``Journal.nearest_cached``."""
        entries = (e for e in reversed(self._cache.values()) if e.parts.get("stage") == stage and e.expires_at > now)
        return next(entries, None)

    def run(self, run: str) -> RunRow:
        """See ``Journal.run``; ids are not completed."""
        return self.stored(run).row

    def runs(
        self,
        pipeline: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: float | None = None,
        before_id: str = "",
        search: str = "",
    ) -> list[RunRow]:
        """See ``Journal.runs``."""
        rows = [
            s.row for s in self._runs.values() if pipeline in (None, s.row.pipeline) and state in (None, s.row.state)
        ]
        rows = [row for row in rows if before is None or (row.created_at, row.id) < (before, before_id)]
        told = [(row, (row.id, row.pipeline, *row.tags.values())) for row in rows]
        rows = [row for row, texts in told if any(search.lower() in text.lower() for text in texts)]
        return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)[:limit]

    def live_digests(self, load: Callable[[Digest], bytes | memoryview]) -> Iterator[Digest]:
        """Chunks only: nothing is collected here."""
        return (digest for stored in self._runs.values() for digest in stored.chunks)

    def close(self) -> None:
        """See ``Journal.close``."""


def _state_after(append: Append) -> RunState | None:
    ends = [fact for fact in append.facts if isinstance(fact, RunFinished)]
    if not ends:
        return append.state
    if ends[0] is not append.facts[-1] or append.state not in (None, ends[0].state):
        raise ValueError(f"run {append.run}: RunFinished must be the last fact and say the state")
    return ends[0].state


def _moved(row: RunRow, append: Append, state: RunState | None) -> RunRow:
    started = row.started_at
    if started is None and any(isinstance(fact, DriverStarted) for fact in append.facts):
        started = append.at
    return replace(
        row, seq=row.seq + len(append.facts), state=state or row.state, started_at=started,
        finished_at=append.at if state in FINISHED else row.finished_at,
    )  # fmt: skip
