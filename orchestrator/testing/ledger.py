"""Evidence that does not depend on the system: what steps did and what clients were told, in files of their own.

A line is durable when the call that writes it returns, so a line that is missing was never written. Steps write that
they began; an observer of a driver writes which facts were acknowledged. ``checker`` joins both with the journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from orchestrator.graph import fact as f
from orchestrator.graph.context import step


class Started(NamedTuple):
    """A step body began. ``epoch`` is that of the driver that sent it, ``at`` wall-clock seconds."""

    run: str
    step: str
    attempt: int
    key: str
    payload: str
    pid: int
    at: float
    epoch: int = 0


class Acknowledged(NamedTuple):
    """A client was told that facts are durable: their digests in order, and the journal's time of their commit.

    An empty ``run`` stands for the only run of its journal.
    """

    run: str
    epoch: int
    at: float
    facts: tuple[str, ...]


def write_ledger(path: str | Path, payload: str = "", with_key: bool = False) -> None:
    """Append one line for the running step, durable on return; called from inside a stage.

    Args:
        payload: What the step is about to send to the outside world, if it has effects.
        with_key: Also note the step's idempotency key.
    """
    here = step()
    key = here.key if with_key else ""
    began = Started(here.run_id, here.address, here.attempt, key, payload, os.getpid(), time.time(), here.epoch)
    append_line(path, began._asdict())


def read_ledger(path: str | Path) -> list[Started]:
    """All complete lines of a ledger; empty if it was never written."""
    return [Started(**line) for line in read_lines(path)]


class AcknowledgementFile:
    """Observer of a driver (``Runner(on_facts=…)``) that writes down what it is told.

    Args:
        run: Named in the lines; empty if the journal holds one run only.
    """

    def __init__(self, path: str | Path, run: str = "") -> None:
        self._path = path
        self._run = run
        self._epoch = 0

    def __call__(self, facts: Iterable[f.Fact], at: float) -> None:
        """Write one line for a committed group of facts."""
        told = list(facts)
        for fact in told:
            if isinstance(fact, f.DriverStarted):
                self._epoch = fact.epoch
        digests = tuple(fact_digest(fact) for fact in told)
        append_line(self._path, Acknowledged(self._run, self._epoch, at, digests)._asdict())


def read_acknowledgements(path: str | Path) -> list[Acknowledged]:
    """All complete lines; empty if there are none."""
    return [Acknowledged(**{**line, "facts": tuple(line["facts"])}) for line in read_lines(path)]


def fact_digest(fact: f.Fact) -> str:
    """Digest of what a fact says, the same for the fact as it was committed and as it is read back."""
    said = msgspec.json.encode([type(fact).__name__, fact], order="deterministic")
    return hashlib.blake2b(said, digest_size=12).hexdigest()


def append_line(path: str | Path, line: Mapping[str, Any]) -> None:
    """Append one JSON line, durable on return; lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """All complete JSON lines of a file; empty if it was never written."""
    if not Path(path).exists():
        return []
    return [json.loads(line) for line in Path(path).read_text().splitlines(keepends=True) if line[-1] == "\n"]
