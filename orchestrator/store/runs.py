"""The index of runs: one run by a beginning of its id, and listings, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, or_, select

from orchestrator.errors import NotFound
from orchestrator.ports.journal import RunRow
from orchestrator.store.schema import run as runs
from orchestrator.store.schema import tags

_SHOWN = 5
_KEYS_PER_QUERY = 500

_SHOWN_COLUMNS = [column for column in runs.c if column.name != "attempt"]
_FROM = select(*_SHOWN_COLUMNS).where(runs.c.id >= bindparam("beginning")).order_by(runs.c.id).limit(_SHOWN + 1)
_OF_KEY = select(runs.c.id, runs.c.attempt).where(runs.c.trigger_key == bindparam("key"))
_MADE_BY = select(runs.c.attempt).where(runs.c.id == bindparam("run"))


def run_of_key(connection: Connection, trigger_key: str) -> str | None:
    """The run that was made for a trigger key, or None."""
    row = connection.execute(_OF_KEY, {"key": trigger_key}).one_or_none()
    return None if row is None else row.id


def made_before(connection: Connection, values: Mapping[str, Any]) -> str:
    """The run that is there instead of the one with these values: that of its trigger key, or that very one.

    Raises:
        ValueError: another run has the id.
    """
    if connection.execute(_MADE_BY, {"run": values["id"]}).scalar_one_or_none() == values["attempt"]:
        return str(values["id"])
    found = run_of_key(connection, values["trigger_key"]) if values["trigger_key"] is not None else None
    if found is None:
        raise ValueError(f"there is a run {values['id']!r} already; choose another id")
    return found


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


class Wanted(NamedTuple):
    """Which runs to list; see ``Journal.runs``."""

    pipeline: str | None
    state: str | None
    before: float | None
    before_id: str
    search: str


def list_runs(connection: Connection, wanted: Wanted, limit: int) -> list[RunRow]:
    """Runs that match, newest first."""
    if not f"{wanted.pipeline}{wanted.search}{wanted.before_id}".isprintable():
        return []  # in no run, and not all of it can be sent to a database
    query = select(*_SHOWN_COLUMNS).order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(max(limit, 0))
    if wanted.pipeline is not None:
        query = query.where(runs.c.pipeline == wanted.pipeline)
    if wanted.state is not None:
        query = query.where(runs.c.state == wanted.state)
    if wanted.before is not None:
        same = (runs.c.created_at == wanted.before) & (runs.c.id < wanted.before_id)
        query = query.where((runs.c.created_at < wanted.before) | same)
    if wanted.search:
        tagged = select(tags.c.run).where(
            tags.c.run == runs.c.id, tags.c.value.icontains(wanted.search, autoescape=True)
        )
        named = (column.icontains(wanted.search, autoescape=True) for column in (runs.c.id, runs.c.pipeline))
        query = query.where(or_(*named, tagged.exists()))
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
