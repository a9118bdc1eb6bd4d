"""Outputs that may be reused, by cache key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from orchestrator.ports.journal import CacheEntry
from orchestrator.store.codec import decode_mapping, encode_mapping
from orchestrator.store.schema import cache

_AMONG = select(cache).where(cache.c.key.in_(bindparam("keys", expanding=True)), cache.c.expires_at > bindparam("now"))
_NEWEST = (
    select(cache)
    .where(cache.c.stage == bindparam("stage"), cache.c.expires_at > bindparam("now"))
    .order_by(cache.c.written_at.desc(), cache.c.key.desc())
    .limit(1)
)


def find_cached(connection: Connection, keys: Sequence[str], now: float) -> Iterator[tuple[str, CacheEntry]]:
    """Entries among these keys that have not expired."""
    for row in connection.execute(_AMONG, {"keys": keys, "now": now}):
        yield row.key, _entry(row)


def find_nearest(connection: Connection, stage: str, now: float) -> CacheEntry | None:
    """The newest unexpired entry of a stage's node."""
    row = connection.execute(_NEWEST, {"stage": stage, "now": now}).one_or_none()
    return None if row is None else _entry(row)


def keep(
    insert: Callable[[Any], Any], connection: Connection, entries: Mapping[str, CacheEntry], written_at: float
) -> None:
    """Add entries, or put them in the place of older ones."""
    if not entries:
        return
    statement = insert(cache)
    changed = {column.name: statement.excluded[column.name] for column in cache.c if not column.primary_key}
    rows = [
        {
            "key": key,
            "run": entry.run,
            "chunk": entry.chunk,
            "at": entry.at,
            "expires_at": entry.expires_at,
            "stage": entry.parts.get("stage", ""),
            "parts": encode_mapping(entry.parts, f"cache entry {key}"),
            "written_at": written_at,
        }
        for key, entry in entries.items()
    ]
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=changed), rows)


def _entry(row: Row[Any]) -> CacheEntry:
    return CacheEntry(row.run, row.chunk, row.at, row.expires_at, decode_mapping(row.parts, f"cache entry {row.key}"))
