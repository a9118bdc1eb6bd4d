"""The entrypoint of a submitted run's job: ``python -m orchestrator.app.entrypoint RUN``, on the cluster.

It looks at every node, tells the client whether the run may come, starts the run's supervisor once the client has
created the run, and stays until that has ended. At its top it imports only what a node with nothing but Python and
Ray has, so that it can say what is missing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from orchestrator.app.inspection import Question, examine, objection
from orchestrator.backends import jobs
from orchestrator.errors import NotFound, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

COMMAND: Final = "python -m orchestrator.app.entrypoint"

QUESTION: Final = "ORC_SUBMISSION"
"""Environment variable with what nodes are asked."""

WORD: Final = "orc-submission: "
"""Begins the lines of the job's log that are meant for the client."""

LOOK_S: Final = 60.0
CREATED_S: Final = 60.0
"""Longest time for all nodes to answer, and for the client to create the run once it may come."""

_POLL_S = 0.2
_STOP_S = 2.0  # Ray kills a job that it stops after three seconds


def main(run: str) -> int:
    """Check, start the supervisor, and stay until the run has ended: the exit code is the job's."""
    question = Question.from_json(os.environ[QUESTION])
    jobs.attach()
    refused = objection(question, jobs.on_every_node(examine, question, LOOK_S))
    if refused is not None:
        return _refuse(refused)
    tell("accepted")
    try:
        return _supervise(run)
    except OrchestratorError as error:
        return _refuse(error)


def _supervise(run: str) -> int:
    from orchestrator.app.installation import Installation
    from orchestrator.app.supervisor import Supervisor, supervisor_name

    here = Installation()
    name = supervisor_name(run)
    _await_created(here, run)
    told_to_stop: list[int] = []  # ``ray job stop``; looked at between calls of Ray, which may hold a lock
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    jobs.keep(name, Supervisor, run)
    tell("supervised")
    while jobs.is_kept(name):
        if told_to_stop:
            _stop(name)
        time.sleep(_POLL_S)
    state = here.journal.run(run).state
    print(f"run {run}: {state}", flush=True)
    return 0 if state == "succeeded" else 1


def _await_created(here: Installation, run: str) -> None:
    deadline = time.monotonic() + CREATED_S
    while True:
        try:
            here.journal.run(run)
            return
        except NotFound:
            if time.monotonic() > deadline:
                raise NotFound(
                    f"run {run} does not appear in {here.settings.journal_label}: the client is gone, or its ORC_STORE "
                    "is another database"
                ) from None
            time.sleep(_POLL_S)


def _stop(name: str) -> None:
    """Let nothing of the run stay on the cluster; it can be resumed."""
    jobs.call_kept(name, "stop", _STOP_S)
    jobs.end_kept(name)
    sys.exit(f"{name}: stopped")


def _refuse(error: OrchestratorError) -> int:
    tell("refused", error=type(error).__name__, message=error.message)
    return 1


def tell(word: str, **details: str) -> None:
    """A line for the client."""
    print(f"{WORD}{json.dumps({'word': word, **details})}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
