"""What ``orc alerts --json`` and ``orc cost --json`` print."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from orchestrator.ports.alerts import Kind


class AlertItem(Struct, frozen=True):
    """Something that was raised; ``unsent`` messages about it wait to be tried again."""

    id: str
    kind: Kind
    pipeline: str
    run: str
    text: str
    rule: str
    count: int
    raised_at: str
    last_at: str
    resolved_at: str | None
    unsent: int


class CostItem(Struct, frozen=True):
    """What some steps, a run, or many runs cost.

    ``idle`` is the part of ``amount`` for what was reserved and not used. CPU seconds are those used and those
    reserved, GPU seconds those reserved.
    """

    name: str
    amount: float
    idle: float
    idle_share: float
    cpu: float
    memory: float
    gpu: float
    steps: int
    wall_s: float
    cpu_s: float
    reserved_cpu_s: float
    gpu_s: float
    peak_bytes: int


class CostDocument(Struct, frozen=True):
    """``by`` says what the items are; ``slots_idle_share`` of a run is the part of its slots' time without a body."""

    currency: str
    by: Literal["step", "run", "pipeline", "tag"]
    items: list[CostItem]
    total: CostItem
    runs: int
    slots_idle_share: float | None = None
