"""Pipelines whose steps hold their workers until a file is there."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator import approve, pipeline, stage

LONGEST_S = 300.0


def held(gate: str) -> None:
    """Wait for the file."""
    deadline = time.monotonic() + LONGEST_S
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


@stage
def hold(x: int, gate: str) -> int:
    print(f"item {x} begins")
    held(gate)
    print(f"item {x} ends")
    return x


@stage(num_gpus=0.25)
def share(x: int, gate: str) -> int:
    held(gate)
    return x


@stage
def tell(gate: str) -> int:
    print("line 1\nline 2")
    held(gate)
    many = Path(gate).with_name("many")
    for number in range(3, 5 + (int(many.read_text()) if many.exists() else 0)):
        print(f"line {number}")
    return 1


@stage
def after(x: int) -> int:
    return x


@stage
def gather(xs: list[int]) -> int:
    return sum(xs)


@pipeline
def busy(gate: str) -> int:
    approve("Ship it?", timeout="1h")
    return gather([hold(1, gate), hold(2, gate), hold(3, gate)])


@pipeline
def shared(gate: str) -> int:
    return gather(share.map([1, 2, 3], gate=gate))


@pipeline
def telling(gate: str) -> int:
    return after(tell(gate))
