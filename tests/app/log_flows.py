"""Steps that write while they run, fail, or die."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from orchestrator import Retry, Secret, pipeline, stage, step


@stage(retries=Retry(attempts=2, backoff="0s..0s"))
def talk(x: int) -> int:
    print(f"item {x}, attempt {step().attempt}")
    print(f"ERROR in item {x}" if x == 1 else "fine")
    if step().attempt == 1 and x == 1:
        raise OSError("once")
    return x


@stage
def wait_for(xs: list[int], marker: str) -> int:
    print("waiting", flush=True)
    deadline = time.monotonic() + 300
    while not Path(marker).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    print("done", flush=True)
    return len(xs)


@stage
def tells_a_child(word: str, marker: str) -> int:
    subprocess.run(["sh", "-c", f"echo the word is {word}; printf 'half a line: {word}'"], check=True)
    return wait_for([1], marker)


@stage
def dies(n: int, marker: str) -> int:
    print("last words", flush=True)
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(7)
    return n


@pipeline
def talking(marker: str) -> int:
    return wait_for(talk.map([0, 1, 2]), marker)


@pipeline
def telling(marker: str) -> int:
    return tells_a_child(Secret("env:LOG_WORD"), marker)


@pipeline
def mortal(marker: str) -> int:
    return dies(1, marker)
