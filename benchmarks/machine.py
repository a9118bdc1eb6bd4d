"""What a figure cannot be read without: versions, and the machine with the load it had."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import orchestrator
from benchmarks.place import CHECKOUT


def versions() -> dict[str, Any]:
    """Of what is measured; the commit has a ``+`` if files differ from it."""
    return {
        "orchestrator": orchestrator.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "ray": metadata.version("ray"),
    }


def machine(home: Path, slots: int) -> dict[str, Any]:
    """Of the machine, before anything has been started; ``load`` is the average over the last minute."""
    return {
        "cores": slots,
        "model": _model(),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "system": f"{platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
        "fsync_ms": _fsync_ms(home),
    }


def _commit() -> str:
    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fsync_ms(home: Path) -> float:
    """Median of what it takes to make 4 kB durable in the benchmark's directory."""
    path, took_s = home / "fsync", []
    with path.open("wb") as file:
        for _ in range(20):
            file.write(os.urandom(4096))
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - begun)
    path.unlink()
    return statistics.median(took_s) * 1e3
