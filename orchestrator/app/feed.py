"""News of all runs: each fact once, in the order of its run, from where a reader has come to.

A reader's place is small whatever the number of runs: those that have not ended with the number of the last fact that
was read, and since when runs are new. A run that has ended is never looked at again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.errors import JournalCorrupt, NotFound
from orchestrator.graph.fact import FINISHED, Recorded
from orchestrator.ports.journal import Journal, RunRow

OVERLAP_S = 300.0
"""Runs are found by the time at which they were made, on the clock of whoever made them; clocks may differ so much."""

_log = logging.getLogger(__name__)
_PAGE = 200
_ONE_BY_ONE = 20
_FACTS = 4096


@dataclass
class Place:
    """How far a reader has come.

    Attributes:
        since: Runs made up to then are known.
        floor: Runs made before are none of the reader's business.
        open: Number of the last fact that was read, of each run that has not ended.
        ended: Runs that have ended and were made within the overlap before ``since``, with that time.
    """

    since: float = 0.0
    floor: float = 0.0
    open: dict[str, int] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)


def news(journal: Journal, place: Place) -> Iterator[tuple[RunRow, Sequence[Recorded]]]:
    """What was committed since, run by run; what was yielded counts as read when the next is asked for."""
    for row in _candidates(journal, place):
        seq = place.open.setdefault(row.id, 0)
        if row.seq > seq:
            facts = journal.facts(row.id, seq)
            while batch := _next(facts, row):
                yield row, batch
                place.open[row.id] = seq = batch[-1].seq
        if row.state in FINISHED:  # read to its end, or not readable
            del place.open[row.id]
            place.ended[row.id] = row.created_at
    oldest = place.since - OVERLAP_S
    place.ended = {run: at for run, at in place.ended.items() if at >= oldest}


def _next(facts: Iterator[Recorded], row: RunRow) -> list[Recorded]:
    """Some more facts; none of a run that has been removed or is damaged, which `orc db check` tells."""
    try:
        return list(islice(facts, _FACTS))
    except (JournalCorrupt, NotFound) as error:
        _log.warning("run %s cannot be read: %s", row.id, error.message)
        return []


def _candidates(journal: Journal, place: Place) -> list[RunRow]:
    """Runs that may have news, oldest first; runs that were removed are forgotten."""
    found: dict[str, RunRow] = {}
    oldest = max(place.since - OVERLAP_S, place.floor)
    for row in _pages(journal, None, oldest):
        if row.id not in place.ended:
            found[row.id] = row
        place.since = max(place.since, row.created_at)
    waiting = [run for run in place.open if run not in found]
    if len(waiting) > _ONE_BY_ONE:  # one by one would take longer than all that have not ended
        for state in ("queued", "running", "waiting"):
            found.update((row.id, row) for row in _pages(journal, state, place.floor) if row.id in place.open)
        waiting = [run for run in waiting if run not in found]
    for run in waiting:
        try:
            found[run] = journal.run(run)
        except NotFound:
            del place.open[run]
    return sorted(found.values(), key=lambda row: (row.created_at, row.id))


def _pages(journal: Journal, state: str | None, oldest: float) -> Iterator[RunRow]:
    """Runs made since then, newest first."""
    before, before_id = None, ""
    while rows := journal.runs(state=state, limit=_PAGE, before=before, before_id=before_id):
        for row in rows:
            if row.created_at < oldest:
                return
            yield row
        before, before_id = rows[-1].created_at, rows[-1].id
