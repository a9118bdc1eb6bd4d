"""Pipelines that run on a Ray which was up before."""

from __future__ import annotations

import os
import time
from pathlib import Path

from orchestrator import pipeline, stage


@stage
def where(n: int) -> dict[str, str]:
    import ray

    here = ray.get_runtime_context()
    return {
        "address": here.gcs_address,
        "node": here.get_node_id(),
        "mood": os.environ.get("MOOD", ""),
        "directory": os.getcwd(),
    }


@stage
def wait_until_gone(marker: str) -> str:
    Path(marker).touch()
    while Path(marker).exists():
        time.sleep(0.05)
    return "woken"


@pipeline
def placed(n: int) -> dict[str, str]:
    return where(n)


@pipeline
def waiting(marker: str) -> str:
    return wait_until_gone(marker)
