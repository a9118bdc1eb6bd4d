"""What a run left behind, joined: the ledger of its steps, what its clients were told, the journal, and leftovers."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.artifacts.local import LocalStore
from orchestrator.errors import OrchestratorError
from orchestrator.testing import Violation, check_leaks, check_run, read_acknowledgements
from orchestrator.testing.checker import FACTS_COMPLETE, NOTHING_LEAKED, PROGRESS, SAME_RESULT
from tests.backends.ray_fixtures import is_alive
from tests.chaos.episode import Episode, Stuck

_GONE_S = 60.0
_NOTE_CHARS = 300
_OLD_S = 25 * 3600.0
"""Beyond the age at which a temporary file of a writer that died is removed."""


@dataclass
class Outcome:
    """How a run under a fault came out.

    Attributes:
        redone: Steps that began again after a client had been told that they are finished.
        lost: Facts that a client had been told are durable and that are not there.
        repeated: Bodies that began once more because their outcome had not been committed; no violation.
        recovery_s: From the end of the fault to the next finished step.
    """

    fault: str
    family: str
    store: str
    seed: str
    run: str = ""
    state: str = ""
    steps: int = 0
    drivers: int = 0
    redone: int = 0
    lost: int = 0
    repeated: int = 0
    recovery_s: float | None = None
    took_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def examine(episode: Episode, outcome: Outcome, expected: str) -> None:
    """Fill in what the evidence says.

    Args:
        expected: Digest of the result of a run without faults; empty if this is that run.
    """
    ledger, here, run = episode.ledger, episode.place.here, episode.run
    told = read_acknowledgements(episode.folder / "acknowledged")
    redone = _redone(episode)
    found = check_run(here.journal, run, ledger if _clock_was_true(episode) else (), 0, told)
    found += [Violation("a finished step does not begin again", text) for text in redone]
    found += _result(episode, expected)
    found += _left_behind(episode)
    outcome.run, outcome.state, outcome.drivers = run, episode.state, len(episode.drivers)
    outcome.redone = len(redone)
    outcome.lost = sum(violation.promise == FACTS_COMPLETE for violation in found)
    outcome.steps = episode.outcomes()
    outcome.repeated = sum(n - 1 for n in Counter((line.step, line.attempt) for line in ledger).values())
    outcome.recovery_s = _recovery_s(episode)
    outcome.violations += [f"{violation.promise}: {violation.evidence}" for violation in found]
    outcome.notes += [*episode.notes, *(text.splitlines()[-1][:_NOTE_CHARS] for text in episode.complaints)]


def examine_stuck(episode: Episode, outcome: Outcome, error: Exception) -> None:
    """Note that the run did not come to its end, or that the fault could not be done."""
    where = "" if isinstance(error, Stuck) else "".join(traceback.format_exception(error))
    outcome.violations.append(f"{PROGRESS}: {where or error}")
    outcome.notes += [*episode.notes, *episode.complaints]


def result_digest(episode: Episode) -> str:
    """Digest of what the run returned."""
    return hashlib.sha256(json.dumps(episode.handle.result(), sort_keys=True).encode()).hexdigest()


def _redone(episode: Episode) -> list[str]:
    """By this machine's own clock, which the drivers' may not be."""
    finished: dict[str, float] = {}
    for line in episode.finished:
        for step in line["steps"]:
            finished.setdefault(step, line["at"])
    return [
        f"{line.step} began {line.at - finished[line.step]:.3f} s after it was told to be finished"
        for line in episode.ledger
        if line.at > finished.get(line.step, line.at)
    ]


def _clock_was_true(episode: Episode) -> bool:
    return not (episode.folder / "clock").exists()


def _result(episode: Episode, expected: str) -> list[Violation]:
    if episode.state in ("succeeded", "degraded"):
        try:
            found = result_digest(episode)
        except OrchestratorError as error:
            return [Violation(SAME_RESULT, f"it cannot be read: {error}")]
        if expected and found != expected:
            return [Violation(SAME_RESULT, f"{found} instead of {expected}")]
        return []
    finished = episode.handle.finished
    reason = finished.reason if finished else ""
    if episode.may_fail:
        episode.note(f"it failed, and said: {reason}")
        return []
    return [Violation(SAME_RESULT, f"the run is {episode.state}: {reason}")]


def _left_behind(episode: Episode) -> list[Violation]:
    """Processes, leases and temporary files that are there although the run has ended."""
    deadline = time.monotonic() + _GONE_S
    pids = {line.pid for line in episode.ledger} | {driver.process.pid for driver in episode.drivers}
    while time.monotonic() < deadline:
        left = {
            "process": [str(pid) for pid in pids if is_alive(pid)],
            "lease": [owner for owner in [episode.place.here.journal.owner(episode.run)] if owner],
        }
        if not any(left.values()):
            break
        time.sleep(0.1)
    return check_leaks({}, left) + _temporary_files(episode.place.home / "artifacts", pids)


def _temporary_files(artifacts: Path, pids: set[int]) -> list[Violation]:
    """Those of writers that were killed go with age; the others must be gone."""
    unfinished = artifacts / "unfinished"
    for path in unfinished.iterdir():
        if int(path.name.partition("-")[0]) not in pids:
            return [Violation(NOTHING_LEAKED, f"temporary file {path}")]
        os.utime(path, (time.time() - _OLD_S,) * 2)
    LocalStore(artifacts)
    return [Violation(NOTHING_LEAKED, f"temporary file {path}") for path in unfinished.iterdir()]


def _recovery_s(episode: Episode) -> float | None:
    """None if nothing was left to do when the fault ended."""
    if episode.healed_at is None or episode.state == "failed":
        return None
    after = [line["at"] for line in episode.finished if line["at"] > episode.healed_at and line["steps"]]
    return min(after) - episode.healed_at if after else None
