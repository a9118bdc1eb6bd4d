"""Bringing a run back: its fold from snapshot and journal, and the takeover by a new driver."""

from __future__ import annotations

import os
import socket

from orchestrator.engine.snapshot import decode_snapshot
from orchestrator.engine.state import RunFold
from orchestrator.errors import JournalCorrupt
from orchestrator.graph import fact as f
from orchestrator.graph.node import Graph
from orchestrator.ports.journal import Records


def load_fold(journal: Records, run: str, graph: Graph, use_snapshot: bool = True) -> RunFold:
    """State of a run from its journal.

    Raises:
        NotFound: no such run.
        JournalCorrupt: facts are missing, unreadable or contradict each other.
    """
    snapshot = journal.snapshot(run) if use_snapshot else None
    fold = decode_snapshot(snapshot.body, graph) if snapshot else RunFold(run, graph)
    for recorded in journal.facts(run, fold.seq):
        if recorded.seq != fold.seq + 1:
            raise JournalCorrupt(f"run {run}: fact {fold.seq + 1} is missing; restore the journal from a backup")
        fold.apply(recorded.fact, recorded.at)
        fold.seq = recorded.seq
    return fold


def started(epoch: int, driver: str, backend: str, slots: int) -> f.DriverStarted:
    """The fact with which a driver begins its epoch."""
    return f.DriverStarted(epoch, driver, socket.gethostname(), os.getpid(), backend, slots)
