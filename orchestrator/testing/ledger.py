"""Evidence that does not depend on the system: steps write down that they began, in a file of their own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from orchestrator.graph.context import step


class Started(NamedTuple):
    """A step body began."""

    run: str
    step: str
    attempt: int
    key: str
    payload: str
    pid: int
    at: float


def write_ledger(path: str | Path, payload: str = "", with_key: bool = False) -> None:
    """Append one line for the running step, durable on return; called from inside a stage.

    Args:
        payload: What the step is about to send to the outside world, if it has effects.
        with_key: Also note the step's idempotency key.
    """
    here = step()
    entry = Started(
        here.run_id, here.address, here.attempt, here.key if with_key else "", payload, os.getpid(), time.time()
    )
    line = json.dumps(entry._asdict()) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_ledger(path: str | Path) -> list[Started]:
    """All complete lines of a ledger; empty if it was never written."""
    if not Path(path).exists():
        return []
    return [
        Started(**json.loads(line)) for line in Path(path).read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]
