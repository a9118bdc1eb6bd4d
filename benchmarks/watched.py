"""The row of a run that people watch: a fan-out of no-ops, alone and with hundreds of clients on its event stream.

The server is a process of its own, as ``orc up`` is, and so are the clients; all share the machine's processors with
the run. The run holds at its first step until every client has had its first event; what is timed begins there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.pipelines import follow, total
from benchmarks.place import CHECKOUT, Place
from benchmarks.row import Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import successors_sum
from orchestrator import Run, pipeline, stage
from orchestrator.graph import fact as f

ALONE = "alone"
OVER = 1.10
"""How much longer a watched run may take."""

_LONGEST_S = 300.0


@stage
def held_seeds(salt: int, n: int, gate: str) -> list[int]:
    deadline = time.monotonic() + _LONGEST_S
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return [salt + i for i in range(n)]


@pipeline
def held(salt: int, n: int, gate: str) -> int:
    return total(follow.map(held_seeds(salt, n, gate)))


def rows(sizes: Sizes, _place: Place) -> list[Row]:
    """One row."""
    steps, clients = sizes.watched, sizes.watchers
    watched = f"{clients} watching"
    return [
        Row(
            "watched", f"fan-out 1 → {steps:,} → 1 with {clients} clients on its events", "s",
            {ALONE: lambda salt: _reading(salt, steps, 0), watched: lambda salt: _reading(salt, steps, clients)},
            lambda salt: successors_sum(salt, steps), [Target(watched, "share", OVER, ALONE)], ALONE, ratio="over",
            needs_ray=False, note="from the moment that its first step is let go to its result, on local workers",
        )
    ]  # fmt: skip


def _reading(salt: int, steps: int, clients: int) -> Reading:
    home = Path(os.environ["ORC_HOME"])
    gate = home / f"gate-{salt}"
    with server() as url:
        run = held.options(on="local").start(salt=salt, n=steps, gate=str(gate))
        try:
            await_held(run)
            with watchers(url, run.id, clients) as watching:
                begun = time.perf_counter()
                gate.touch()
                answer = run.result()
                took_s = time.perf_counter() - begun
                got = told(watching)
        finally:
            gate.touch()
    return Reading(took_s, answer, {"facts of each client": float(min(got["facts"], default=0))} if clients else {})


def await_held(run: Run) -> None:
    """Wait until the first step is with a worker, which had to start."""
    deadline = time.monotonic() + _LONGEST_S
    while not any(isinstance(one.fact, f.StepsStarted | f.BundleStarted) for one in run.events()):
        assert time.monotonic() < deadline, "the run does not begin"
        time.sleep(0.05)


@contextmanager
def server() -> Iterator[str]:
    """Pages and API over the home of this process, in a process of their own; its address."""
    code = "from orchestrator.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "up", "--no-ray", "--port", "0", "--json"], cwd=CHECKOUT, text=True,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["pages"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60.0)
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def watchers(url: str, run: str, clients: int) -> Iterator[subprocess.Popen[str] | None]:
    """So many clients, each of which has had its first event; none if there are to be none."""
    if not clients:
        yield None
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.watchers", url, run, str(clients)], cwd=CHECKOUT, text=True,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the clients were not served"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def told(process: subprocess.Popen[str] | None) -> dict[str, list[int]]:
    """What the clients got, once the run has ended; nothing if there were none."""
    if process is None:
        return {"facts": []}
    assert process.stdout is not None
    found: dict[str, list[int]] = json.loads(process.stdout.readline())
    assert process.wait(60.0) == 0, "clients were cut off"
    return found
