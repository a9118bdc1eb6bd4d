"""A fan-out whose items note in files that they ran, and how a process of its own drives it.

A line in the ledger of ``orchestrator.testing`` is durable and so costs as much as a hundred of these steps. Here each
worker process has one file and adds eight bytes an item: that survives its process, if not the machine, and is all
that a ``kill -9`` asks for.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from functools import cache
from pathlib import Path

from orchestrator import pipeline, runs, stage


@stage
def indexes(n: int) -> list[int]:
    return list(range(n))


@cache
def notebook(folder: str) -> int:
    """This process's file."""
    return os.open(f"{folder}/ran-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@stage
def noted(x: int, gate: int, folder: str) -> int:
    """The successor; items from ``gate`` on wait until the gate is open."""
    os.write(notebook(folder), x.to_bytes(8, sys.byteorder))
    while x >= gate and not os.path.exists(f"{folder}/open"):
        time.sleep(0.01)
    return x + 1


@stage
def total(xs: list[int]) -> int:
    return sum(xs)


@pipeline
def large(n: int, gate: int, folder: str) -> int:
    return total(noted.map(indexes(n), gate=gate, folder=folder))


def ran(folder: Path) -> dict[str, array[int]]:
    """Which items ran, by the file of the process that ran them."""
    noted_in = {}
    for file in folder.glob("ran-*"):
        data = file.read_bytes()
        noted_in[file.name] = array("q", data[: len(data) // 8 * 8])
    return noted_in


def peak_mb(pid: int | str = "self") -> float:
    """Most memory a process ever had resident; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0.0)


def drive(run: str, n: int, gate: int, folder: str) -> None:
    """Start the run (``run`` is ``new``) or resume it; say what it came to and how large this process was."""
    new = large.options(on="local")
    ended = new.run(n=n, gate=gate, folder=folder) if run == "new" else runs[run].resume().wait()
    print(ended.state, ended.result(), peak_mb())
