"""The row of the journal by itself: facts a second, each group acknowledged after its fsync, and the wait for it."""

from __future__ import annotations

import secrets
import sqlite3
import statistics
import time
from collections.abc import Callable

from benchmarks.place import Place
from benchmarks.row import Reading, Row, Target
from benchmarks.sizes import Sizes
from orchestrator.graph.fact import Fact, StepsCompleted
from orchestrator.ports.journal import Append, Journal, RunRow
from orchestrator.store import open_journal
from orchestrator.store.codec import encode_fact

GROUP = 512
PACED_PER_S = 25_000
PACED_GROUP_S = 0.005
OURS, FLOOR = "ours", "floor"
LATENCY = f"p99 acknowledgement ms at {PACED_PER_S:,} facts/s"


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """One row."""
    columns = {OURS: lambda salt: _ours(salt, sizes, place), FLOOR: lambda salt: _floor(salt, sizes, place)}
    return [
        Row(
            "journal", f"journal: {sizes.facts:,} facts of one step each, in groups of {GROUP}", "facts/s", columns,
            lambda _salt: sizes.facts, [Target(OURS, "least", 50_000), Target(OURS, "most", 25.0, figure=LATENCY)],
            FLOOR, "faster", larger_is_better=True, needs_ray=False,
            note="floor: the same bytes through one statement of the standard library's SQLite; the paced load "
            f"brings its facts every {PACED_GROUP_S * 1e3:g} ms, whether or not the journal is ready for them",
        )
    ]  # fmt: skip


def _facts(salt: int, start: int, stop: int) -> list[Fact]:
    at = time.time_ns() % 1000
    return [
        StepsCompleted("follow", i, i + 1, f"{salt:032x}", i, at.to_bytes(4, "little"), worker="w1")
        for i in range(start, stop)
    ]


class Writer:
    """A driver's view of one run: appends facts at its end."""

    def __init__(self, journal: Journal, salt: int) -> None:
        self._journal, self._run = journal, f"journal-{salt:x}"
        journal.create(RunRow(self._run, "journal", "running", 0, 0, time.time()), [], {})
        self._hold = journal.own(self._run, "benchmark")
        self._seq = 0

    def append(self, facts: list[Fact]) -> None:
        """Commit; durable when this returns."""
        self._seq = self._journal.append(Append(self._run, self._hold.epoch, self._seq, time.time(), facts))

    def count(self) -> int:
        """Facts that the journal gives back."""
        return sum(1 for _ in self._journal.facts(self._run))

    def close(self) -> None:
        """Give the run up."""
        self._hold.release()


def _ours(salt: int, sizes: Sizes, place: Place) -> Reading:
    journal = open_journal(f"sqlite:///{place.row_home / 'journal.db'}")
    try:
        writer = Writer(journal, salt)
        rate, acknowledged_s = _full_speed(writer.append, salt, sizes.facts)
        answer = writer.count()
        writer.close()
        paced = Writer(journal, secrets.randbits(60))
        latency_s = _paced(paced.append, salt, sizes.paced_s)
        paced.close()
    finally:
        journal.close()
    figures = {LATENCY: p99(latency_s) * 1e3, "p99 of a group at full speed ms": p99(acknowledged_s) * 1e3}
    return Reading(rate, answer, figures)


def _floor(salt: int, sizes: Sizes, place: Place) -> Reading:
    database = sqlite3.connect(place.row_home / f"floor-{salt:x}.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE fact (seq INTEGER PRIMARY KEY, kind TEXT, body BLOB)")

    def append(facts: list[Fact]) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO fact (kind, body) VALUES (?, ?)", map(encode_fact, facts))
        database.execute("COMMIT")

    rate, _ = _full_speed(append, salt, sizes.facts)
    (answer,) = database.execute("SELECT count(*) FROM fact").fetchone()
    database.close()
    return Reading(rate, answer)


def _full_speed(append: Callable[[list[Fact]], None], salt: int, n: int) -> tuple[float, list[float]]:
    """Facts a second, each group after the one before was acknowledged; seconds that each took. Making them is free."""
    groups = [_facts(salt, start, min(start + GROUP, n)) for start in range(0, n, GROUP)]
    took_s = []
    for group in groups:
        begun = time.perf_counter()
        append(group)
        took_s.append(time.perf_counter() - begun)
    return n / sum(took_s), took_s


def _paced(append: Callable[[list[Fact]], None], salt: int, for_s: float) -> list[float]:
    """Seconds from when a group came due to its acknowledgement. What came due meanwhile goes in one transaction."""
    each = int(PACED_PER_S * PACED_GROUP_S)
    due_s = [PACED_GROUP_S * k for k in range(1, int(for_s / PACED_GROUP_S) + 1)]
    latency_s: list[float] = []
    begun, at = time.perf_counter(), 0
    while at < len(due_s):
        now_s = time.perf_counter() - begun
        if due_s[at] > now_s:
            time.sleep(due_s[at] - now_s)
            continue
        until = next((k for k in range(at, len(due_s)) if due_s[k] > now_s), len(due_s))
        append(_facts(salt, at * each, until * each))
        ended_s = time.perf_counter() - begun
        latency_s += [ended_s - due for due in due_s[at:until]]
        at = until
    return latency_s


def p99(values: list[float]) -> float:
    """99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[98]
