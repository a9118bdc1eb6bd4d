"""The journal on a SQL database.

Every method that writes is one transaction that does no harm when it is done twice, because a connection can break
after the database has committed and before it has said so: random ids tell whether the first time was a success.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, insert, select, update

from orchestrator.errors import JournalCorrupt, RunOwned
from orchestrator.graph.fact import CursorMoved, Fact, Recorded, TagsMoved, VersionPublished
from orchestrator.ports.journal import Append, CacheEntry, InboxRow, Ownership, RunRow, Snapshot
from orchestrator.ports.values import digest_bytes
from orchestrator.store import schema
from orchestrator.store.cache import find_cached, find_nearest, keep
from orchestrator.store.codec import decode_fact, decode_mapping, encode_fact, encode_mapping
from orchestrator.store.database import Database, FactRow
from orchestrator.store.fence import pass_fence, standing, state_after
from orchestrator.store.registry import SqlRegistry, move, publish, retag
from orchestrator.store.retention import forget_expired, forget_run, held_bytes, reusable_until
from orchestrator.store.roots import Load, live_digests
from orchestrator.store.runs import Wanted, batches, find_run, list_runs, made_before, run_of_key
from orchestrator.types import Digest

T = TypeVar("T")

_log = logging.getLogger(__name__)
_FACTS_PER_READ = 4096

OWN_POLL_S = 0.2
"""Pause between two attempts of a driver that waits for a run."""

_FACTS = (
    select(schema.fact.c.seq, schema.fact.c.kind, schema.fact.c.at, schema.fact.c.body)
    .where(
        schema.fact.c.run == bindparam("run"),
        schema.fact.c.seq > bindparam("after"),
        schema.fact.c.seq <= bindparam("last"),
    )
    .order_by(schema.fact.c.seq)
    .limit(_FACTS_PER_READ)
)
_CHUNK = select(schema.chunk.c.data).where(
    schema.chunk.c.run == bindparam("run"), schema.chunk.c.digest == bindparam("digest")
)
_SNAPSHOT = select(schema.snapshot).where(schema.snapshot.c.run == bindparam("run"))
_TAKE = (
    update(schema.inbox)
    .where(schema.inbox.c.run == bindparam("of_run"), schema.inbox.c.key == bindparam("of_key"))
    .values(taken=True, body=b"")
)
_WAITING = (
    select(schema.inbox.c.key, schema.inbox.c.body, schema.inbox.c.at)
    .where(schema.inbox.c.run == bindparam("run"), ~schema.inbox.c.taken)
    .order_by(schema.inbox.c.number)
)
_POSTED = select(schema.inbox.c.attempt).where(
    schema.inbox.c.run == bindparam("run"), schema.inbox.c.key == bindparam("key")
)


class SqlJournal:
    """``ports.journal.Journal`` on a SQL database. Thread-safe; other processes may use the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_chunks = database.insert(schema.chunk).on_conflict_do_nothing()  # made once: it is often needed

    # ---- what drivers write

    def create(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes]) -> str:
        """Make a run, unless its trigger key has one; see ``Journal.create``."""
        return self._change(self._creation(row, facts, chunks))

    def begin(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes], driver: str) -> Ownership | str:
        """Make a run and own it from the start; see ``Journal.begin``."""
        return self._database.own_new(row.id, driver, self._creation(row, facts, chunks))

    def _creation(
        self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes]
    ) -> Callable[[Connection], str]:
        """What makes a run, inside a transaction: gives its id, or that of the run that the trigger key has."""
        if not row.id.isprintable() or not row.id:
            raise ValueError(f"{row.id!r} cannot be the id of a run; use printable characters")
        rows = _fact_rows(row.id, 0, row.created_at, facts)
        values = {column.name: getattr(row, column.name) for column in schema.run.c if column.name != "attempt"}
        values |= {"seq": len(rows), "attempt": secrets.token_hex(8)}

        def create(connection: Connection) -> str:
            if connection.execute(self._database.insert(schema.run).on_conflict_do_nothing(), values).rowcount != 1:
                return made_before(connection, values)
            if row.tags:
                tags = [{"run": row.id, "name": name, "value": value} for name, value in row.tags.items()]
                connection.execute(insert(schema.tags), tags)
            self._write(connection, row.id, rows, chunks)
            return row.id

        return create

    def own(self, run: str, driver: str, wait_s: float = 0.0) -> Ownership:
        """Take a run over under the next epoch; see ``Journal.own``."""
        self._ask(lambda connection: standing(connection, run))
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._database.own(run, driver)
            except RunOwned:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise
                time.sleep(min(left_s, OWN_POLL_S))

    def owner(self, run: str) -> str | None:
        """The living driver that holds the run, or None."""
        return self._database.holder(run)

    def abandoned(self, run: str) -> str | None:
        """The driver that died holding the run; None if one holds it, or the last one gave it up in order."""
        return self._database.abandoned(run)

    def append(self, append: Append) -> int:
        """Commit one transaction and return the run's new last ``seq``; see ``Journal.append``.

        Raises:
            StaleEpoch: also if the run has ended.
            CursorElsewhere: a cursor that the run moves is not where the run found it.
            NotFound: no such run.
            ValueError: the facts contradict each other or cannot be encoded.
        """
        rows = _fact_rows(append.run, append.seq, append.at, append.facts)
        state = state_after(append)

        def commit(connection: Connection) -> None:
            if not pass_fence(connection, append, state):
                return
            self._write(connection, append.run, rows, append.chunks)
            if append.taken:
                connection.execute(_TAKE, [{"of_run": append.run, "of_key": key} for key in append.taken])
            keep(self._database.insert, connection, append.cache, append.at)
            for fact in append.facts:
                if isinstance(fact, VersionPublished):
                    publish(self._database.insert, connection, append.run, fact, append.at)
                elif isinstance(fact, TagsMoved):
                    retag(connection, append.run, fact, append.at)
                elif isinstance(fact, CursorMoved):
                    move(self._database.insert, connection, append.run, fact, append.at)

        self._change(commit)
        return append.seq + len(rows)

    def save_snapshot(self, run: str, snapshot: Snapshot) -> None:
        """Replace the run's snapshot, unless a later one is there.

        Raises:
            NotFound: no such run.
            ValueError: the snapshot is ahead of the run's facts.
        """
        values = {"run": run, "seq": snapshot.seq, "digest": digest_bytes(snapshot.body), "body": snapshot.body}
        statement = self._database.insert(schema.snapshot)
        new = statement.excluded
        # A driver that was frozen and succeeded must not put its older state back.
        statement = statement.on_conflict_do_update(
            index_elements=["run"],
            set_={"seq": new.seq, "digest": new.digest, "body": new.body},
            where=schema.snapshot.c.seq <= new.seq,
        )

        def save(connection: Connection) -> None:
            last = standing(connection, run).seq
            if snapshot.seq > last:
                raise ValueError(f"run {run}: a snapshot of fact {snapshot.seq} is ahead of the last fact, {last}")
            connection.execute(statement, values)

        self._change(save)

    # ---- what drivers and others read

    def facts(self, run: str, after: int = 0) -> Iterator[Recorded]:
        """Facts with ``seq > after``, up to the last one at the time of the call; see ``Journal.facts``."""
        return self._read_facts(run, after, self._ask(lambda connection: standing(connection, run)).seq)

    def chunk(self, run: str, digest: Digest) -> bytes | None:
        """An inline chunk of the run, or None if it is not inline.

        Raises:
            JournalCorrupt: its bytes have another digest.
        """
        values = {"run": run, "digest": digest}
        data: bytes | None = self._ask(lambda connection: connection.execute(_CHUNK, values).scalar_one_or_none())
        if data is not None and digest_bytes(data) != digest:
            raise JournalCorrupt(f"run {run}: chunk {digest} is damaged; restore the journal from a backup", run=run)
        return data

    def snapshot(self, run: str) -> Snapshot | None:
        """The run's snapshot, if any; a damaged one counts as none, since the facts hold everything it did."""
        row = self._ask(lambda connection: connection.execute(_SNAPSHOT, {"run": run}).one_or_none())
        if row is None:
            return None
        if digest_bytes(row.body) != row.digest:
            _log.warning("run %s: its snapshot is damaged and ignored; check the disk of the journal", run)
            return None
        return Snapshot(row.seq, row.body)

    # ---- requests of others

    def post(self, run: str, key: str, body: Mapping[str, Any], at: float) -> bool:
        """Put a request into the run's inbox; False if one with this key was ever posted."""
        body_bytes, attempt = encode_mapping(body, f"request {key!r}"), secrets.token_hex(8)
        values = {"run": run, "key": key, "body": body_bytes, "at": at, "taken": False, "attempt": attempt}

        def post(connection: Connection) -> bool:
            standing(connection, run)
            added = connection.execute(self._database.insert(schema.inbox).on_conflict_do_nothing(), values)
            return added.rowcount == 1 or connection.execute(_POSTED, {"run": run, "key": key}).scalar_one() == attempt

        return self._change(post)

    def inbox(self, run: str) -> list[InboxRow]:
        """Requests not yet taken, in the order in which they were posted."""
        rows = self._ask(lambda connection: connection.execute(_WAITING, {"run": run}).all())
        return [InboxRow(row.key, decode_mapping(row.body, f"run {run}: request {row.key!r}"), row.at) for row in rows]

    # ---- cache, index, collection

    def cached(self, keys: Sequence[str], now: float) -> dict[str, CacheEntry]:
        """Reusable outputs among these keys that have not expired."""
        return self._ask(
            lambda connection: {
                key: entry for some in batches(keys) for key, entry in find_cached(connection, some, now)
            }
        )

    def nearest_cached(self, stage: str, now: float) -> CacheEntry | None:
        """The newest unexpired entry that this stage's node wrote."""
        return self._ask(lambda connection: find_nearest(connection, stage, now))

    def run(self, run: str) -> RunRow:
        """One run, by id or by a unique beginning of it; raises NotFound."""
        return self._ask(lambda connection: find_run(connection, run))

    def run_of_key(self, trigger_key: str) -> str | None:
        """The run that was made for a trigger key, or None."""
        return self._ask(lambda connection: run_of_key(connection, trigger_key))

    def runs(
        self,
        pipeline: str | None = None,
        state: str | None = None,
        limit: int = 50,
        before: float | None = None,
        before_id: str = "",
        search: str = "",
    ) -> list[RunRow]:
        """Runs, newest first; see ``Journal.runs``."""
        wanted = Wanted(pipeline, state, before, before_id, search)
        return self._ask(lambda connection: list_runs(connection, wanted, limit))

    def live_digests(self, load: Load, without: Collection[str] = ()) -> Iterator[Digest]:
        """Every digest that some fact, chunk, graph, capsule or unexpired cache entry names, some more than once.

        Args:
            load: Reads an artifact (``ArtifactStore.get``): graphs are artifacts that name others. Chunks and
                containers that are artifacts are only named; the collector follows those.
            without: Runs that are left out, as if they were removed.

        Raises:
            JournalCorrupt: something cannot be read, so that it is not known what it names: collect nothing.
        """
        return live_digests(self._database, time.time(), load, without)

    @property
    def registry(self) -> SqlRegistry:
        """Named versions and cursors in the same database."""
        return SqlRegistry(self._database)

    # ---- removal of runs

    def reusable_until(self, at: float) -> dict[str, float]:
        """Until when unexpired cache entries hand out outputs, by the run that made them."""
        with self._database.read() as connection:
            return reusable_until(connection, at)

    def held_bytes(self, runs: Sequence[str]) -> dict[str, int]:
        """What the journal holds of runs, in bytes."""
        with self._database.read() as connection:
            return held_bytes(connection, runs)

    def forget(self, run: str, at: float) -> bool:
        """Remove an ended run that no cache entry names; see ``Journal.forget``."""
        with self._database.write() as connection:
            return forget_run(connection, run, at)

    def forget_expired(self, at: float) -> int:
        """Remove cache entries that have expired by a time; returns how many."""
        with self._database.write() as connection:
            return forget_expired(connection, at)

    def close(self) -> None:
        """Release the runs owned through this journal and close connections; no error if already done."""
        self._database.close()

    # ---- transactions

    def _ask(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with self._database.read() as connection:
                return question(connection)

        return self._database.repeat(ask)

    def _change(self, change: Callable[[Connection], T]) -> T:
        def commit() -> T:
            with self._database.write() as connection:
                return change(connection)

        return self._database.repeat(commit)

    def _write(self, connection: Connection, run: str, rows: list[FactRow], chunks: Mapping[Digest, bytes]) -> None:
        if rows:
            self._database.insert_facts(connection, rows)
        if chunks:
            data = [{"run": run, "digest": digest, "data": data} for digest, data in chunks.items()]
            connection.execute(self._insert_chunks, data)

    def _read_facts(self, run: str, after: int, last: int) -> Iterator[Recorded]:
        """Facts ``after+1..last``, some thousand at a time, so that no reader keeps a transaction open."""
        seq = max(after, 0)
        while seq < last:
            values = {"run": run, "after": seq, "last": last}
            rows = self._ask(lambda connection, values=values: connection.execute(_FACTS, values).all())  # type: ignore[misc]
            if not rows:
                raise _gap(run, seq + 1)
            for row in rows:
                if row.seq != seq + 1:
                    raise _gap(run, seq + 1)
                seq = row.seq
                yield Recorded(seq, row.at, decode_fact(run, seq, row.kind, row.body))


def _fact_rows(run: str, seq: int, at: float, facts: Sequence[Fact]) -> list[FactRow]:
    return [(run, number, *encode_fact(fact), at) for number, fact in enumerate(facts, seq + 1)]


def _gap(run: str, seq: int) -> JournalCorrupt:
    return JournalCorrupt(f"run {run}: fact {seq} is missing; restore the journal from a backup", run=run, seq=seq)
