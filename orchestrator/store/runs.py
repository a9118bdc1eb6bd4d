"""The index of runs: one run by a beginning of its id, and listings, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Row, bindparam, select

from orchestrator.errors import NotFound
from orchestrator.ports.journal import RunRow
from orchestrator.store.schema import run as runs
from orchestrator.store.schema import tags

_SHOWN = 5
_KEYS_PER_QUERY = 500

_FROM = select(runs).where(runs.c.id >= bindparam("beginning")).order_by(runs.c.id).limit(_SHOWN + 1)


def find_run(connection: Connection, beginning: str) -> RunRow:
    """The run of that id, or the only one whose id begins so.

    Raises:
        NotFound: there is none, or more than one.
    """
    # Anything else is in no id, and some of it cannot be sent to a database.
    rows = connection.execute(_FROM, {"beginning": beginning}).all() if beginning.isprintable() else []
    matching = [row for row in rows if row.id.startswith(beginning)] if beginning else []
    if not matching:
        raise NotFound(f"there is no run {beginning!r}; `orc ls` lists the runs", run=beginning)
    if len(matching) > 1 and matching[0].id != beginning:
        shown = ", ".join(row.id for row in matching[:_SHOWN]) + (", …" if len(matching) > _SHOWN else "")
        raise NotFound(f"more than one run begins with {beginning!r}: {shown}; write more of the id", run=beginning)
    return _with_tags(connection, matching[:1])[0]


def list_runs(
    connection: Connection, pipeline: str | None, state: str | None, limit: int, before: float | None
) -> list[RunRow]:
    """Runs that match, newest first."""
    query = select(runs).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(max(limit, 0))
    if pipeline is not None:
        query = query.where(runs.c.pipeline == pipeline)
    if state is not None:
        query = query.where(runs.c.state == state)
    if before is not None:
        query = query.where(runs.c.created_at < before)
    return _with_tags(connection, connection.execute(query).all())


def batches(keys: Iterable[str]) -> Iterable[list[str]]:
    """Keys in lists that fit into one statement."""
    listed = list(keys)
    return (listed[start : start + _KEYS_PER_QUERY] for start in range(0, len(listed), _KEYS_PER_QUERY))


def _with_tags(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> list[RunRow]:
    found: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for ids in batches(found):
        for tag in connection.execute(select(tags).where(tags.c.run.in_(ids)).order_by(tags.c.name)):
            found[tag.run][tag.name] = tag.value
    return [RunRow(**row._mapping, tags=found[row.id]) for row in rows]
