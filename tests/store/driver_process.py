"""Drivers in processes of their own, to be killed: commands that ``test_journal_crashes.py`` starts."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from orchestrator.errors import RunOwned, StaleEpoch, StoreUnavailable
from orchestrator.graph.fact import MapExpanded
from orchestrator.store import open_database, open_journal
from orchestrator.store.fence import pass_fence
from tests.store.backend import append, facts, row
from tests.store.crash import TRANSACTION

SHORT_LEASE_S = 1.0


def say(*words: object) -> None:
    print(*words, flush=True)


def hold(url: str, driver: str, lease_s: str = "60") -> None:
    """Own the run until killed, or until told to release it."""
    journal = open_journal(url, lease_s=float(lease_s))
    try:
        ownership = journal.own("r1", driver)
    except RunOwned as error:
        say("refused", error)
        return
    say("owned", ownership.epoch)
    sys.stdin.readline()
    ownership.release()
    say("released")


def append_for_ever(url: str, group: str) -> None:
    """Own the run and append groups of facts; each acknowledged seq is printed."""
    journal = open_journal(url)
    epoch = journal.own("r1", "appender").epoch
    seq = journal.run("r1").seq
    while True:
        new = [MapExpanded("count", seq + number) for number in range(int(group))]
        seq = journal.append(append(epoch, seq, new))
        say(seq)


def append_when_told(url: str) -> None:
    """Own the run under a short lease, and append a fact for each line of standard input."""
    journal = open_journal(url, lease_s=SHORT_LEASE_S)
    ownership = journal.own("r1", "frozen")
    say("owned", ownership.epoch)
    seq = journal.run("r1").seq
    for line in sys.stdin:
        try:
            if line == "verify\n":
                ownership.verify()
                say("still mine")
            else:
                seq = journal.append(append(ownership.epoch, seq, [MapExpanded("told", seq)]))
                say("appended", seq)
        except StaleEpoch as error:
            say("stale", error)


def freeze_inside_a_transaction(url: str) -> None:
    """Own the run under a short lease, pass the fence, and stop before the commit."""
    database = open_database(url, lease_s=SHORT_LEASE_S)
    epoch = database.own("r1", "frozen").epoch
    with database.write() as connection:
        assert pass_fence(connection, append(epoch, 1, facts(3)), None)
        say("inside")
        os.kill(os.getpid(), signal.SIGSTOP)
    say("committed")


def create_with_key(url: str, first: str, count: str) -> None:
    """Make runs with one trigger key; prints which run there is each time."""
    journal = open_journal(url)
    say("ready")
    sys.stdin.readline()
    for number in range(int(first), int(first) + int(count)):
        say(journal.create(row(f"delivery-{number}", trigger_key="once"), facts(1), {}))


def kill_at_each_statement(*urls: str) -> None:
    """Append in each of some equal databases, in the first killed before the first statement, and so on."""
    for number, url in enumerate(urls, 1):
        child = os.fork()
        if child == 0:
            append_and_die(url, number)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL


def append_and_die(url: str, number: int) -> None:
    """Append, killed just before the statement of that number, or after the commit, which is then acknowledged."""
    seen = 0
    armed = False

    def count(*_: object) -> None:
        nonlocal seen
        seen += armed
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if url.startswith("sqlite"):

        @event.listens_for(Pool, "connect")
        def trace(connection: Any, _record: object) -> None:
            connection.set_trace_callback(count)
    else:
        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)

    journal = open_journal(url)
    armed = True
    journal.append(TRANSACTION)
    say("acknowledged", number)
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk(url: str) -> None:
    """Append when files may not grow any more, then the same when they may again."""
    journal = open_journal(url)
    log = Path(url.removeprefix("sqlite:///") + "-wal")
    transaction = append(0, 1, facts(2_000), chunks={"d" * 64: b"x" * 50_000})
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 20_000, hard))
    for _ in range(2):
        try:
            journal.append(transaction)
        except StoreUnavailable as error:
            say("unavailable", error)
    say("seq", journal.run("r1").seq, "facts", len(list(journal.facts("r1"))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    say("appended", journal.append(transaction))


def fork_while_owning(url: str) -> None:
    """Own the run, fork a child that outlives this process, and wait to be killed."""
    journal = open_journal(url)
    journal.own("r1", "forking")
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    say(child)
    threading.Event().wait()


COMMANDS = {
    command.__name__: command
    for command in (
        hold, append_for_ever, append_when_told, freeze_inside_a_transaction, create_with_key, kill_at_each_statement,
        fill_disk, fork_while_owning,
    )
}  # fmt: skip
