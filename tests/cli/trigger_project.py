"""Writes a small project whose pipelines run by themselves: every two seconds, on a version, on events."""

from __future__ import annotations

from pathlib import Path

_FLOWS = """
import time
from orchestrator import pipeline, stage
from orchestrator.triggers import artifact, cron, webhook

@stage(publish="data:daily")
def load(day: int, rows: int) -> list[int]:
    return list(range(day, day + rows))

@stage
def total(rows: list[int], label: str) -> str:
    return f"{label} {sum(rows)}"

@pipeline(on=[cron("30 2 * * *", tz="Europe/Berlin", misfire="skip"), webhook("retrain")], concurrency=1)
def churn(day: int = 1, rows: int = 3, label: str = "total") -> str:
    return total(load(day, rows), label)

@pipeline(on=[artifact("daily")])
def after(label: str = "after") -> str:
    return total([1], label)

@pipeline
def ticking() -> str:
    return total([2], "tick")
"""
_CONFIGS = {
    "churn": "# Churn every night.\npipeline: flows:churn\nparams: {day: 5}\n",
    "after": "pipeline: flows:after\n",
    "ticking": "pipeline: flows:ticking\non: [{cron: '*/2 * * * * *'}]\nconcurrency: 1\n",
}


def write_project(root: Path) -> Path:
    """The project, in a folder that is not there yet."""
    (root / "configs").mkdir(parents=True)
    (root / "flows.py").write_text(_FLOWS)
    for name, text in _CONFIGS.items():
        (root / "configs" / f"{name}.yaml").write_text(text)
    return root
