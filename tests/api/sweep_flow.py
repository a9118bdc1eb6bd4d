"""A sweep whose last trial holds its worker until a file is there."""

from __future__ import annotations

from orchestrator import pipeline, stage, step, sweep
from tests.api.busy_flow import held


@stage
def tried(lr: float, gate: str) -> dict[str, float]:
    step().report(auc=lr / 2)
    if lr > 0.8:
        held(gate)
    step().report(auc=lr)
    return {"auc": lr}


@stage
def best_of(found: dict[str, float]) -> float:
    return found["auc"]


@pipeline
def sweeping(gate: str) -> float:
    return best_of(sweep(tried, over={"lr": [0.1, 0.5, 0.9]}, fixed={"gate": gate}, metric="auc").output)
