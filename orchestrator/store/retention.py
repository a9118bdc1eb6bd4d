"""Removing runs that are over: what the journal holds of them, and what still refers to it.

A cache entry names a chunk of the run that made it. As long as it may be handed out, that run stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from orchestrator.graph.fact import FINISHED
from orchestrator.store.runs import batches
from orchestrator.store.schema import cache, chunk, fact, inbox, run, snapshot, tags

_OF_A_RUN = (tags, fact, chunk, snapshot, inbox)


def reusable_until(connection: Connection, at: float) -> dict[str, float]:
    """Until when cache entries that have not expired at a time hand out outputs, by the run that made them."""
    query = select(cache.c.run, func.max(cache.c.expires_at)).where(cache.c.expires_at > at).group_by(cache.c.run)
    return dict(connection.execute(query).tuples().all())


def held_bytes(connection: Connection, runs: Sequence[str]) -> dict[str, int]:
    """Size of the facts, inline chunks and snapshots of runs."""
    found = dict.fromkeys(runs, 0)
    for some in batches(runs):
        for table, content in ((fact, fact.c.body), (chunk, chunk.c.data), (snapshot, snapshot.c.body)):
            query = select(table.c.run, func.sum(func.length(content))).where(table.c.run.in_(some))
            for name, size in connection.execute(query.group_by(table.c.run)):
                found[name] += int(size)
    return found


def forget_run(connection: Connection, name: str, at: float) -> bool:
    """Remove a run with everything the journal holds of it.

    False, and nothing is removed, if it has not ended (ended runs take no more facts), or if a cache entry that has not
    expired at that time names it.
    """
    ended = select(run.c.id).where(run.c.id == name, run.c.state.in_(sorted(FINISHED)))
    named = select(cache.c.key).where(cache.c.run == name, cache.c.expires_at > at).limit(1)
    if connection.execute(ended).first() is None or connection.execute(named).first() is not None:
        return False
    for table in _OF_A_RUN:
        connection.execute(delete(table).where(table.c.run == name))
    return connection.execute(delete(run).where(run.c.id == name)).rowcount == 1


def forget_expired(connection: Connection, at: float) -> int:
    """Remove cache entries that have expired by a time; returns how many."""
    return connection.execute(delete(cache).where(cache.c.expires_at <= at)).rowcount
