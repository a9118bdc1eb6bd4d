"""The journal on a SQL database.

Every transaction of a driver opens with one statement that is fence, gap-free sequence and expected state at once:
it moves the run's ``seq`` only where epoch and ``seq`` are what the driver believes and the run has not ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.errors import JournalCorrupt, NotFound, StaleEpoch
from orchestrator.graph.fact import (
    FINISHED,
    CursorMoved,
    DriverStarted,
    Fact,
    Recorded,
    RunFinished,
    RunState,
    VersionPublished,
)
from orchestrator.ports.journal import Append, CacheEntry, InboxRow, RunRow, Snapshot
from orchestrator.ports.values import digest_bytes
from orchestrator.store import schema
from orchestrator.store.cache import find_cached, find_nearest, keep
from orchestrator.store.codec import decode_fact, decode_mapping, encode_fact, encode_mapping
from orchestrator.store.owner import RunOwnership
from orchestrator.store.registry import SqlRegistry, move, publish
from orchestrator.store.retention import forget_expired, forget_run, held_bytes, reusable_until
from orchestrator.store.roots import Load, live_digests
from orchestrator.store.runs import batches, find_run, list_runs
from orchestrator.store.sqlite import BUSY_TIMEOUT_S, FactRow, SqliteDatabase, path_of
from orchestrator.types import Digest

_log = logging.getLogger(__name__)
_FACTS_PER_READ = 4096

_runs = schema.run.c
_FENCE = (
    update(schema.run)
    .where(
        _runs.id == bindparam("run"),
        _runs.epoch == bindparam("believed_epoch"),
        _runs.seq == bindparam("believed_seq"),
        _runs.state.not_in(sorted(FINISHED)),
    )
    .values(
        seq=_runs.seq + bindparam("count"),
        state=func.coalesce(bindparam("new_state"), _runs.state),
        started_at=func.coalesce(_runs.started_at, bindparam("started")),
        finished_at=bindparam("finished"),
    )
)
_STANDING = select(_runs.epoch, _runs.seq, _runs.state).where(_runs.id == bindparam("run"))
_TAKE_OVER = (
    update(schema.run).where(_runs.id == bindparam("run")).values(epoch=_runs.epoch + 1, driver=bindparam("name"))
)
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


def open_journal(url: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> SqlJournal:
    """Open the journal at ``sqlite:///path``, making it if need be.

    Args:
        url: See ``sqlite.path_of``.
        busy_timeout_s: How long a write waits for another process before StoreUnavailable.

    Raises:
        ConfigError: the URL names no database that this release can use.
        StoreUnavailable, SchemaTooNew, JournalCorrupt: see ``SqliteDatabase``.
    """
    return SqlJournal(SqliteDatabase(path_of(url), busy_timeout_s))


class SqlJournal:
    """``ports.journal.Journal`` on a SQL database. Thread-safe; other processes may use the same database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    # ---- what drivers write

    def create(self, row: RunRow, facts: Sequence[Fact], chunks: Mapping[Digest, bytes]) -> None:
        """Make a run; see ``Journal.create``."""
        if not row.id.isprintable() or not row.id:
            raise ValueError(f"{row.id!r} cannot be the id of a run; use printable characters")
        rows = _fact_rows(row.id, 0, row.created_at, facts)
        values = {column.name: getattr(row, column.name) for column in schema.run.c}
        with self._database.write() as connection:
            try:
                connection.execute(insert(schema.run), values | {"seq": len(rows)})
            except IntegrityError as error:
                raise ValueError(f"there is a run {row.id!r} already; choose another id") from error
            if row.tags:
                tags = [{"run": row.id, "name": name, "value": value} for name, value in row.tags.items()]
                connection.execute(insert(schema.tags), tags)
            self._write(connection, row.id, rows, chunks)

    def own(self, run: str, driver: str) -> RunOwnership:
        """Take a run over under the next epoch; see ``Journal.own``."""
        self._standing(run)
        lock = self._database.locks.take(run, driver)
        try:
            with self._database.write() as connection:
                connection.execute(_TAKE_OVER, {"run": run, "name": driver})
                epoch = connection.execute(_STANDING, {"run": run}).one().epoch
        except BaseException:
            lock.release()
            raise
        return RunOwnership(run, epoch, lock)

    def owner(self, run: str) -> str | None:
        """The living driver that holds the run, or None."""
        return self._database.locks.holder(run)

    def append(self, append: Append) -> int:
        """Commit one transaction and return the run's new last ``seq``; see ``Journal.append``.

        Raises:
            StaleEpoch: also if the run has ended.
            CursorElsewhere: a cursor that the run moves is not where the run found it.
            NotFound: no such run.
            ValueError: the facts contradict each other or cannot be encoded.
        """
        rows = _fact_rows(append.run, append.seq, append.at, append.facts)
        state = _state_after(append)
        started = any(isinstance(fact, DriverStarted) for fact in append.facts)
        with self._database.write() as connection:
            moved = connection.execute(
                _FENCE,
                {
                    "run": append.run,
                    "believed_epoch": append.epoch,
                    "believed_seq": append.seq,
                    "count": len(rows),
                    "new_state": state,
                    "started": append.at if started else None,
                    "finished": append.at if state in FINISHED else None,
                },
            )
            if moved.rowcount != 1:
                _refuse(self._standing(append.run, connection), append)
            self._write(connection, append.run, rows, append.chunks)
            if append.taken:
                connection.execute(_TAKE, [{"of_run": append.run, "of_key": key} for key in append.taken])
            keep(self._database.insert, connection, append.cache, append.at)
            for fact in append.facts:
                if isinstance(fact, VersionPublished):
                    publish(self._database.insert, connection, append.run, fact, append.at)
                elif isinstance(fact, CursorMoved):
                    move(self._database.insert, connection, append.run, fact, append.at)
        return append.seq + len(rows)

    def save_snapshot(self, run: str, snapshot: Snapshot) -> None:
        """Replace the run's snapshot, unless a later one is there.

        Raises:
            NotFound: no such run.
            ValueError: the snapshot is ahead of the run's facts.
        """
        values = {"run": run, "seq": snapshot.seq, "digest": digest_bytes(snapshot.body), "body": snapshot.body}
        with self._database.write() as connection:
            last = self._standing(run, connection).seq
            if snapshot.seq > last:
                raise ValueError(f"run {run}: a snapshot of fact {snapshot.seq} is ahead of the last fact, {last}")
            statement = self._database.insert(schema.snapshot)
            new = statement.excluded
            # A driver that was frozen and succeeded must not put its older state back.
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["run"],
                    set_={"seq": new.seq, "digest": new.digest, "body": new.body},
                    where=schema.snapshot.c.seq <= new.seq,
                ),
                values,
            )

    # ---- what drivers and others read

    def facts(self, run: str, after: int = 0) -> Iterator[Recorded]:
        """Facts with ``seq > after``, up to the last one at the time of the call; see ``Journal.facts``."""
        return self._read_facts(run, after, self._standing(run).seq)

    def chunk(self, run: str, digest: Digest) -> bytes | None:
        """An inline chunk of the run, or None if it is not inline.

        Raises:
            JournalCorrupt: its bytes have another digest.
        """
        with self._database.read() as connection:
            data: bytes | None = connection.execute(_CHUNK, {"run": run, "digest": digest}).scalar_one_or_none()
        if data is not None and digest_bytes(data) != digest:
            raise JournalCorrupt(f"run {run}: chunk {digest} is damaged; restore the journal from a backup", run=run)
        return data

    def snapshot(self, run: str) -> Snapshot | None:
        """The run's snapshot, if any; a damaged one counts as none, since the facts hold everything it did."""
        query = select(schema.snapshot).where(schema.snapshot.c.run == run)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if digest_bytes(row.body) != row.digest:
            _log.warning("run %s: its snapshot is damaged and ignored; check the disk of the journal", run)
            return None
        return Snapshot(row.seq, row.body)

    # ---- requests of others

    def post(self, run: str, key: str, body: Mapping[str, Any], at: float) -> bool:
        """Put a request into the run's inbox; False if one with this key was ever posted."""
        values = {"run": run, "key": key, "body": encode_mapping(body, f"request {key!r}"), "at": at, "taken": False}
        with self._database.write() as connection:
            self._standing(run, connection)
            added = connection.execute(self._database.insert(schema.inbox).on_conflict_do_nothing(), values)
            return added.rowcount == 1

    def inbox(self, run: str) -> list[InboxRow]:
        """Requests not yet taken, in the order in which they were posted."""
        with self._database.read() as connection:
            rows = connection.execute(_WAITING, {"run": run}).all()
        return [InboxRow(row.key, decode_mapping(row.body, f"run {run}: request {row.key!r}"), row.at) for row in rows]

    # ---- cache, index, collection

    def cached(self, keys: Sequence[str], now: float) -> dict[str, CacheEntry]:
        """Reusable outputs among these keys that have not expired."""
        with self._database.read() as connection:
            return {key: entry for some in batches(keys) for key, entry in find_cached(connection, some, now)}

    def nearest_cached(self, stage: str, now: float) -> CacheEntry | None:
        """The newest unexpired entry that this stage's node wrote."""
        with self._database.read() as connection:
            return find_nearest(connection, stage, now)

    def run(self, run: str) -> RunRow:
        """One run, by id or by a unique beginning of it; raises NotFound."""
        with self._database.read() as connection:
            return find_run(connection, run)

    def runs(
        self, pipeline: str | None = None, state: str | None = None, limit: int = 50, before: float | None = None
    ) -> list[RunRow]:
        """Runs, newest first; ``before`` pages by creation time."""
        with self._database.read() as connection:
            return list_runs(connection, pipeline, state, limit, before)

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

    # ---- inside a transaction

    def _standing(self, run: str, connection: Connection | None = None) -> Row[int, int, str]:
        """Epoch, seq and state of a run; raises NotFound."""
        if connection is None:
            with self._database.read() as connection:
                return self._standing(run, connection)
        row = connection.execute(_STANDING, {"run": run}).one_or_none()
        if row is None:
            raise NotFound(f"there is no run {run!r}; `orc ls` lists the runs", run=run)
        return row

    def _write(self, connection: Connection, run: str, rows: list[FactRow], chunks: Mapping[Digest, bytes]) -> None:
        if rows:
            self._database.insert_facts(connection, rows)
        if chunks:
            data = [{"run": run, "digest": digest, "data": data} for digest, data in chunks.items()]
            connection.execute(self._database.insert(schema.chunk).on_conflict_do_nothing(), data)

    def _read_facts(self, run: str, after: int, last: int) -> Iterator[Recorded]:
        """Facts ``after+1..last``, some thousand at a time, so that no reader keeps a transaction open."""
        seq = max(after, 0)
        while seq < last:
            with self._database.read() as connection:
                rows = connection.execute(_FACTS, {"run": run, "after": seq, "last": last}).all()
            if not rows:
                raise _gap(run, seq + 1)
            for row in rows:
                if row.seq != seq + 1:
                    raise _gap(run, seq + 1)
                seq = row.seq
                yield Recorded(seq, row.at, decode_fact(run, seq, row.kind, row.body))


def _fact_rows(run: str, seq: int, at: float, facts: Sequence[Fact]) -> list[FactRow]:
    return [(run, number, *encode_fact(fact), at) for number, fact in enumerate(facts, seq + 1)]


def _state_after(append: Append) -> RunState | None:
    """State that a run has after an append; its last fact decides if the run ends with it."""
    ends = [fact for fact in append.facts if isinstance(fact, RunFinished)]
    if not ends:
        return append.state
    if ends[0] is not append.facts[-1]:
        raise ValueError(f"run {append.run}: facts follow RunFinished in one append; it must be the last")
    if append.state not in (None, ends[0].state):
        raise ValueError(f"run {append.run}: state {append.state!r} contradicts RunFinished({ends[0].state!r})")
    return ends[0].state


def _refuse(standing: Row[int, int, str], append: Append) -> NoReturn:
    """Say why the fence did not open."""
    if standing.state in FINISHED:
        raise StaleEpoch(f"run {append.run} is {standing.state}; a finished run takes no more facts", run=append.run)
    raise StaleEpoch(
        f"run {append.run} stands at epoch {standing.epoch}, fact {standing.seq}, but this driver believes epoch "
        f"{append.epoch}, fact {append.seq}; another driver has taken over, so this one must stop",
        run=append.run,
        epoch=standing.epoch,
        seq=standing.seq,
    )


def _gap(run: str, seq: int) -> JournalCorrupt:
    return JournalCorrupt(f"run {run}: fact {seq} is missing; restore the journal from a backup", run=run, seq=seq)
