"""Drivers in processes of their own, to be killed: commands that ``test_journal_crashes.py`` starts."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

from orchestrator.errors import RunOwned, StoreUnavailable
from orchestrator.graph.fact import MapExpanded
from orchestrator.store import open_journal
from tests.store.backend import append, facts
from tests.store.crash import TRANSACTION


def say(*words: object) -> None:
    print(*words, flush=True)


def hold(url: str, driver: str) -> None:
    """Own the run until killed, or until standard input ends."""
    journal = open_journal(url)
    try:
        ownership = journal.own("r1", driver)
    except RunOwned as error:
        say("refused", error)
        return
    say("owned", ownership.epoch)
    sys.stdin.read()
    ownership.release()


def append_for_ever(url: str, group: str) -> None:
    """Own the run and append groups of facts; each acknowledged seq is printed."""
    journal = open_journal(url)
    epoch = journal.own("r1", "appender").epoch
    seq = journal.run("r1").seq
    while True:
        new = [MapExpanded("count", seq + number) for number in range(int(group))]
        seq = journal.append(append(epoch, seq, new))
        say(seq)


def kill_at_each_statement(url: str) -> None:
    """Append once in a copy of the database per statement, killed just before it; then once killed after the commit."""
    source = Path(url.removeprefix("sqlite:///"))
    number = 1
    while True:
        copy = source.with_name(f"killed-{number}.db")
        shutil.copy(source, copy)
        child = os.fork()
        if child == 0:
            append_and_die(f"sqlite:///{copy}", number)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL
        acknowledged = copy.with_suffix(".acknowledged").exists()
        say(copy.name, int(acknowledged))
        if acknowledged:
            return
        number += 1


def append_and_die(url: str, number: int) -> None:
    seen = 0
    armed = False

    def count(_statement: str) -> None:
        nonlocal seen
        seen += armed
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Pool, "connect")
    def trace(connection: Any, _record: object) -> None:
        connection.set_trace_callback(count)

    journal = open_journal(url)
    armed = True
    journal.append(TRANSACTION)
    Path(url.removeprefix("sqlite:///")).with_suffix(".acknowledged").touch()
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
    for command in (hold, append_for_ever, kill_at_each_statement, fill_disk, fork_while_owning)
}
