"""The row of a million steps: time, flatness, memory of the driver and its workers, and a record of every item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil

from benchmarks.place import CHECKOUT, Place, child
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import successors_sum

SAMPLE_S = 0.5
MOST_S, MOST_DRIVER_MB, MOST_GROWTH = 30.0, 500.0, 1.2


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """One row; each column in a fresh process, so that the memory measured is its own."""
    ours = {"ours, local": _column("local", sizes, place), "ours, Ray": _column("ray", sizes, place)}
    largest = sizes.million[-1]
    growth = f"µs/step at {largest:,} ÷ least of the smaller sizes"
    targets = [
        target
        for name in ours
        for target in (
            Target(name, "most", MOST_S),
            Target(name, "most", MOST_DRIVER_MB, figure="driver peak MB"),
            Target(name, "most", MOST_GROWTH, figure=growth),
            Target(name, "least", largest, figure="items in the journal"),
        )
    ]
    return [
        Row(
            "million", f"fan-out 1 → {largest:,} → 1", "s", {**ours, "floor": _column("floor", sizes, place)},
            lambda salt: successors_sum(salt, largest), targets, "floor", "over", most_repeats=3,
            note="each in a fresh process, after a fan-out of 100 that is not counted; raw Ray is not practical here",
        )
    ]  # fmt: skip


def _column(engine: str, sizes: Sizes, place: Place) -> Column:
    def column(salt: int) -> Reading:
        address = place.ray_address if engine != "local" else ""
        given = {"column": engine, "salt": salt, "sizes": sizes.million, "ray": address}
        process = subprocess.Popen(
            [sys.executable, *child("million", given)], cwd=CHECKOUT, env=place.on(engine), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with LargestWorker(process.pid if engine == "local" else os.getpid(), of_ray=engine != "local") as workers:
                out, err = process.communicate()
        finally:
            process.kill()  # it has ended, unless the wait was interrupted
        if process.returncode:
            sys.stderr.write(err)
            raise subprocess.CalledProcessError(process.returncode, process.args)
        said = json.loads(out.strip().splitlines()[-1])
        return _reading(said, workers.peak_mb, sizes)

    return column


def _reading(said: dict[str, object], worker_mb: float, sizes: Sizes) -> Reading:
    took_s = {int(n): float(s) for n, s in dict(said["took_s"]).items()}  # type: ignore[call-overload]
    us = {n: s / n * 1e6 for n, s in took_s.items()}
    largest = sizes.million[-1]
    figures = {f"µs/step at {n:,}": value for n, value in us.items()}
    figures[f"µs/step at {largest:,} ÷ least of the smaller sizes"] = us[largest] / min(
        value for n, value in us.items() if n != largest
    )
    figures |= {"driver peak MB": float(said["driver_mb"]), "largest worker MB": worker_mb}  # type: ignore[arg-type]
    if "items" in said:
        figures["items in the journal"] = float(said["items"]) if said["outputs"] else 0.0  # type: ignore[arg-type]
    return Reading(took_s[largest], said["answer"], figures)


class LargestWorker:
    """Samples the memory of worker processes while something goes on; remembers the largest."""

    def __init__(self, root: int, of_ray: bool) -> None:
        self.peak_mb = 0.0
        self._root, self._of_ray = root, of_ray
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory of workers")

    def __enter__(self) -> LargestWorker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.peak_mb = max([self.peak_mb, *self._sizes_mb()])

    def _sizes_mb(self) -> Iterator[float]:
        for process in psutil.Process(self._root).children(recursive=True):
            try:
                if not self._of_ray or process.cmdline()[0].startswith("ray::"):
                    yield process.memory_info().rss / 2**20
            except (psutil.Error, IndexError):
                continue  # it has ended in the meantime
