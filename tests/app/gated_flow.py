"""A pipeline that cannot end before it is told to, however fast or slow the machine is."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator import pipeline, stage
from orchestrator.testing import write_ledger

FREE = 6
"""Steps that wait for nothing."""


@stage
def pass_gate(x: int, ledger: str, gate: str) -> int:
    write_ledger(ledger)
    while x >= FREE and not Path(gate).exists():
        time.sleep(0.05)
    return x


@pipeline
def gated(ledger: str, gate: str, n: int = FREE + 4) -> list[int]:
    return pass_gate.map(list(range(n)), ledger=ledger, gate=gate)
