"""A driver that a supervisor started: drives one run on until it ends, or until the supervisor is gone.

``python -m orchestrator.app.supervised RUN``: standard input stays open as long as the supervisor lives; if the driver
cannot go on, the last line of its standard output says why, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import NoReturn

from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.errors import (
    ClusterUnreachable,
    OrchestratorError,
    RunOwned,
    StaleEpoch,
    StoreUnavailable,
    WorkerStartFailed,
)
from orchestrator.graph.fact import FINISHED

STOP_S = 10.0
"""How long it may take to stop in order; then it ends as if it had been killed."""

_PASSING = (RunOwned, StaleEpoch, StoreUnavailable, ClusterUnreachable, WorkerStartFailed)
"""What may be over by the time of another attempt; any other error of ours would meet the next driver too."""


def main(run_id: str) -> int:
    """Drive the run; 0 if it has ended or the supervisor has."""
    try:
        runner = Runner()
        if runner.installation.journal.run(run_id).state in FINISHED:
            return 0
        run = runner.resume(run_id, on="ray")
        threading.Thread(target=_obey, args=(run,), daemon=True).start()
        run.wait()
    except OrchestratorError as error:
        passing = isinstance(error, _PASSING)
        print(json.dumps({"error": str(error), "passing": passing}), flush=True)
        return 1
    return 0


def _obey(run: Run) -> None:
    """Stop when standard input ends, which is when the supervisor does, however it does."""
    os.read(sys.stdin.fileno(), 1)  # not through its buffer, which must be free when the interpreter ends
    threading.Thread(target=_end_late, daemon=True).start()
    run.stop()


def _end_late() -> NoReturn:
    time.sleep(STOP_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
