"""Driving a run on in a process of its own, which does not end with the one that asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.app.fork import fork, refuse_acting
from orchestrator.app.runner import refuse_ended
from orchestrator.errors import RunError, RunOwned
from orchestrator.graph.fact import FINISHED

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

START_S = 60.0
"""Longest time for the driver to take the run over; then it is left to it."""

_LOOK_S = 0.1
_TAIL = 600
_ROOT = str(Path(__file__).resolve().parents[2])
_DRIVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from orchestrator.app.apart import drive; sys.exit(drive(sys.argv[2]))"
)


def resume_apart(here: Installation, run: str) -> str | None:
    """Start a driver for a run that has none; returns its name once it has the run, None if it is still starting.

    Raises:
        NotFound: no such run.
        RunOwned: a living driver holds it.
        RunError: the run has ended, or its driver could not begin; says why.
    """
    row = here.journal.run(run)
    refuse_ended(row)
    owner = here.journal.owner(row.id)
    if owner is not None:
        raise RunOwned(f"run {row.id} is driven by {owner}")
    log = here.settings.logs_dir / f"driver-{row.id}.log"
    settings = here.settings
    environ = {
        "ORC_HOME": str(settings.home), "ORC_STORE": settings.journal_url, "ORC_ARTIFACTS": settings.artifacts_url
    }  # fmt: skip
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as said:
        place = said.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _DRIVE, _ROOT, row.id],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=settings.home, start_new_session=True,
            env=os.environ | environ,
        )  # fmt: skip
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        code = process.poll()
        now = here.journal.run(row.id)
        if now.epoch > row.epoch or now.state in FINISHED or code == 0:
            return here.journal.owner(row.id)
        if code is not None:
            with log.open("rb") as file:
                file.seek(place)
                told = file.read().decode(errors="replace").strip()[-_TAIL:]
            raise RunError(f"run {row.id} could not be resumed: {told or f'the driver ended with {code}'}")
        time.sleep(_LOOK_S)
    return None


class Forked(NamedTuple):
    """A fork that was made: its id, the step it begins at, and its driver as ``resume_apart`` says."""

    run: str
    step: str
    driver: str | None


def fork_apart(here: Installation, run: str, step: str, repeat: Sequence[str], key: str) -> Forked:
    """Start a new run from a step of another, with the code and parameters of that, driven by a process of its own.

    Args:
        repeat: Steps with effects that may act again; ``*`` for all of them.
        key: One key, one fork.

    Raises:
        NotFound: no such run or step.
        ForkRefused: the run cannot be forked from there, or a step with effects would act again.
        RunError: the driver could not begin; says why.
    """
    known = here.journal.run_of_key(key)
    if known is None:
        made = fork(here, run, step)
        acting = made.renewal.acting
        refuse_acting(made, acting if "*" in repeat else repeat)
        known = made.renewal.create(here, key)
    begun = here.created(known).forked
    if here.journal.run(known).state in FINISHED:
        return Forked(known, begun, None)
    return Forked(known, begun, here.journal.owner(known) or resume_apart(here, known))


def drive(run: str) -> int:
    """Drive a run on in this process until it ends or waits for a person; 1, and why, if that cannot begin."""
    from orchestrator.app.runner import Runner
    from orchestrator.errors import OrchestratorError

    try:
        Runner().resume(run, detach=True).wait()
    except OrchestratorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
