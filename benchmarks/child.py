"""What fresh processes of the benchmark do: ``python -m benchmarks.child TASK JSON`` prints one line of JSON."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.graph.fact import StepsCompleted

CHECKED_ITEMS = 5


def million(given: dict[str, Any]) -> dict[str, Any]:
    """A fan-out of each size, one after the other in this process, after a small one that is not counted."""
    work = _floor(given) if given["column"] == "floor" else _durable(given)
    work(given["salt"], 100)
    took_s = {}
    for n in given["sizes"]:
        begun = time.perf_counter()
        answer, run = work(given["salt"], n)
        took_s[str(n)] = time.perf_counter() - begun
    driver_mb = _peak_mb()
    return {"took_s": took_s, "answer": answer, "driver_mb": driver_mb} | (_records(run, n) if run else {})


def _durable(given: dict[str, Any]) -> Callable[[int, int], tuple[int, str]]:
    from benchmarks.pipelines import fan_out

    def work(salt: int, n: int) -> tuple[int, str]:
        run = fan_out.options(on=given["column"]).run(salt=salt, n=n)
        return run.result(), run.id

    return work


def _floor(given: dict[str, Any]) -> Callable[[int, int], tuple[int, str]]:
    _attach(given["ray"])
    from benchmarks.floor import Floor

    floor = Floor(Path(os.environ["ORC_HOME"]) / "floor.db")
    return lambda salt, n: (floor.fan_out(salt, n), "")


def _records(run: str, n: int) -> dict[str, Any]:
    """What the journal, read anew, says of the items: how many it has, and whether some of them hold their output."""
    read = runs[run]
    items = 0
    for recorded in read.events():
        fact = recorded.fact
        if isinstance(fact, StepsCompleted) and fact.node == "follow":
            items += len(fact.elapsed_us) // 4  # a number for each
    xs = read["seeds"].output
    places = [k * (n - 1) // (CHECKED_ITEMS - 1) for k in range(CHECKED_ITEMS)]
    outputs = all(read["follow", place].output == xs[place] + 1 for place in places)
    return {"items": items, "outputs": outputs}


def cached(given: dict[str, Any]) -> dict[str, Any]:
    """A run whose steps have all been stored, or are stored by it."""
    from benchmarks.pipelines import stored_map

    begun = time.perf_counter()
    run = stored_map.run(salt=given["salt"], n=given["n"])
    xs = run.result()
    took_s = time.perf_counter() - begun
    return {
        "answer": sum(xs), "run_s": took_s, "ray": "ray" in sys.modules,
        "bodies": sum(1 for recorded in run.events() if hasattr(recorded.fact, "bundle")),
    }  # fmt: skip


def interrupted(given: dict[str, Any]) -> dict[str, Any]:
    """Begin a run and say which; somebody ends this process at half of it."""
    from benchmarks.pipelines import half_gated

    run = half_gated.options(on=given["column"]).start(salt=given["salt"], n=given["n"], folder=given["folder"])
    print(run.id, flush=True)
    return {"answer": run.result()}


def resumed(given: dict[str, Any]) -> dict[str, Any]:
    """Go on with a run; seconds from the call to the first step that had not been done."""
    from orchestrator.app.runs import runs as known

    run = known[given["run"]]
    begun = time.time()
    answer = run.resume().result()
    return {"answer": answer, "first_s": float(Path(given["folder"], "through").read_text()) - begun}


def raw_one(given: dict[str, Any]) -> dict[str, Any]:
    """One task of raw Ray, on a Ray of its own or on the one at an address."""
    _attach(given["ray"])
    import ray

    from benchmarks import raw

    return {"answer": ray.get(raw.follow.remote(given["salt"]))}


def _attach(address: str) -> None:
    import ray

    if address:
        os.environ["RAY_AUTH_MODE"] = "token"
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


def _peak_mb() -> float:
    """Largest memory this program has held; where it is known, without that of the process it was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


TASKS = {
    "million": million, "cached": cached, "interrupted": interrupted, "resumed": resumed, "raw_one": raw_one,
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](json.loads(sys.argv[2]))))
