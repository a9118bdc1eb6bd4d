"""``python -m benchmarks [row …] [--repeat N] [--json]``: ours on local workers and on Ray, against raw Ray.

Each repetition runs every column once, in turn, with a fresh salt, and checks the sum. Printed are medians in
microseconds a step from the start of the call to its result, start-up of the cluster excluded; ours starts its own
workers in that time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("ORC_HOME", tempfile.mkdtemp(prefix="orc-benchmark-"))

import ray

from benchmarks import ours, raw
from orchestrator import Pipeline


class Row(NamedTuple):
    """One graph: how many steps, what to compare."""

    name: str
    steps: int
    params: dict[str, int]
    pipeline: Pipeline[..., Any]
    raw: Callable[..., int]
    by_hand: Callable[..., int] | None = None


ROWS = [
    Row("fan-out 10,000", 10_000, {"n": 10_000}, ours.fan_out, raw.fan_out, raw.fan_out_by_hand),
    Row("chain 1,000", 1_000, {"n": 1_000}, ours.chain, raw.chain),
    Row("layers 20 x 50", 1_000, {"depth": 20, "width": 50}, ours.layers, raw.layers),
    Row("dynamic loop 1,000", 1_000, {"n": 1_000}, ours.loop, raw.loop),
]


def measure(row: Row, repeat: int) -> dict[str, list[float]]:
    """Microseconds a step of each column, one value a repetition."""
    columns: dict[str, Callable[[int], int]] = {
        "raw Ray": lambda salt: row.raw(salt, **row.params),
        "ours, local": lambda salt: row.pipeline.options(on="local").run(salt=salt, **row.params).result(),
        "ours, Ray": lambda salt: row.pipeline.options(on="ray").run(salt=salt, **row.params).result(),
    }
    if row.by_hand is not None:
        by_hand = row.by_hand
        columns["raw Ray, 50 a task"] = lambda salt: by_hand(salt, **row.params)
    samples: dict[str, list[float]] = {name: [] for name in columns}
    for _ in range(repeat):
        salt = secrets.randbits(60)
        results = {}
        for name, run in columns.items():
            begun = time.perf_counter()
            results[name] = run(salt)
            samples[name].append((time.perf_counter() - begun) / row.steps * 1e6)
        if len(set(results.values())) != 1:
            raise SystemExit(f"{row.name}: the columns disagree: {results}")
    return samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help="beginnings of row names; all when none is given")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [row for row in ROWS if not given.rows or any(row.name.startswith(name) for name in given.rows)]
    ray.init(address="local", log_to_driver=False, include_dashboard=False)
    ray.get([raw.follow.remote(i) for i in range(200)])
    found = {row.name: measure(row, given.repeat) for row in rows}
    ray.shutdown()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Ray {ray.__version__}"
    if given.json:
        json.dump({"machine": machine, "unit": "microseconds a step", "rows": found}, sys.stdout, indent=2)
        return
    print(f"{machine}; microseconds a step, median of {given.repeat} (all)")
    for name, samples in found.items():
        print(f"\n{name}")
        base = statistics.median(samples["raw Ray"])
        for column, values in samples.items():
            median = statistics.median(values)
            shown = ", ".join(f"{v:.0f}" for v in values)
            print(f"  {column:20} {median:8.1f}   {base / median:6.1f} x raw Ray   ({shown})")


if __name__ == "__main__":
    main()
