"""Rows of fresh processes and first steps: what a user waits for before anything happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import pipelines
from benchmarks.measure import seconds
from benchmarks.place import CHECKOUT, Place, child, fresh
from benchmarks.row import Column, Reading, Row, Target
from benchmarks.sizes import Sizes
from benchmarks.small_steps import LOCAL, ON_RAY, OURS, RAW, successors_sum
from orchestrator import Pipeline
from orchestrator.app.installation import Installation
from orchestrator.graph.fact import StepsCompleted

HALF = 0.49
"""Share of a run after which its driver is killed; steps beyond the half wait at a gate."""

HALF_TIMEOUT_S = 300.0
WORKERS_TIMEOUT_S = 60.0
RAW_WARM, COLD, WARM = "raw Ray, attached", "ours, Ray started", "ours, Ray attached"


def rows(sizes: Sizes, place: Place) -> list[Row]:
    """A cached run, a plan, a resumed run, and ``orc run`` of one stage."""
    return [_cached(sizes, place), _planned(sizes), _resumed(sizes, place), _one_stage(sizes, place)]


def _cached(sizes: Sizes, place: Place) -> Row:
    n = sizes.cached

    def column(salt: int) -> Reading:
        command, environment = child("cached", {"salt": salt, "n": n}), place.on("local")
        fresh(command, environment)
        took_s, line = fresh(command, environment)
        said = json.loads(line)
        figures = {"of it in the run s": said["run_s"], "steps that ran": said["bodies"], "Ray loaded": said["ray"]}
        return Reading(took_s, said["answer"], figures)

    return Row(
        "cached", f"fully cached run of {n:,} steps, fresh process", "s", {LOCAL: column},
        lambda salt: successors_sum(salt, n),
        [Target(LOCAL, "most", 1.0), Target(LOCAL, "most", 0, figure="steps that ran"),
         Target(LOCAL, "most", 0, figure="Ray loaded")],
        needs_ray=False, note="the whole process, from its start to its exit; an earlier one filled the cache",
    )  # fmt: skip


def _planned(sizes: Sizes) -> Row:
    n = sizes.planned

    def column(pipeline: Pipeline[..., Any]) -> Column:
        return seconds(lambda salt: pipeline.plan(salt=salt, n=n).to_run)

    columns = {"ours": column(pipelines.plain_map), "ours, cached stage": column(pipelines.stored_map)}
    return Row(
        "plan", f"plan of a map of {n:,} items", "s", columns, lambda _salt: n,
        [Target(name, "most", 1.0) for name in columns], needs_ray=False,
        note="for a stage with a cache, every item is looked up",
    )  # fmt: skip


def _resumed(sizes: Sizes, place: Place) -> Row:
    n = sizes.resumed
    columns = {LOCAL: _resume(n, "local", place), ON_RAY: _resume(n, "ray", place)}
    return Row(
        "resume", f"resume of a run of {n:,} steps, half done", "s", columns,
        lambda salt: successors_sum(salt, n), [Target(name, "most", 2.0) for name in OURS], most_repeats=3,
        note="from the call in a fresh process to the first line of the first new step; the first driver was killed "
        "(SIGKILL) when the journal had half; on Ray, attaching to the one that is up is part of it",
    )  # fmt: skip


def _resume(n: int, backend: str, place: Place) -> Column:
    def column(salt: int) -> Reading:
        folder = tempfile.mkdtemp(dir=place.row_home)
        given = {"column": backend, "salt": salt, "n": n, "folder": folder}
        driver = subprocess.Popen(
            [sys.executable, *child("interrupted", given)], cwd=CHECKOUT, env=place.on(backend),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert driver.stdout is not None
            run = driver.stdout.readline().strip()
            done = _wait_for_half(run, n)
            _wait_at_gate(Path(folder), place.slots)
        finally:
            driver.kill()
            driver.communicate()
        _wait_for_workers(Path(folder))
        Path(folder, "open").touch()
        _, line = fresh(child("resumed", {"run": run, "folder": folder}), place.on(backend))
        said = json.loads(line)
        if said["first_s"] <= 0:
            raise RuntimeError(
                f"run {run}: a step of the killed driver went on, {-said['first_s']:.3f} s before resume()"
            )
        return Reading(said["first_s"], said["answer"], {"steps done before": done})

    return column


def _wait_for_half(run: str, n: int) -> int:
    """Wait until the journal has half of the steps; how many it has."""
    here = Installation()
    deadline = time.monotonic() + HALF_TIMEOUT_S
    seq = done = 0
    try:
        while done < HALF * n:
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run} has not come to half in {HALF_TIMEOUT_S:g} s; the journal has {done:,}")
            time.sleep(0.02)
            for recorded in here.journal.facts(run, seq):
                seq, fact = recorded.seq, recorded.fact
                if isinstance(fact, StepsCompleted) and fact.node == "gated":
                    done += fact.stop - fact.start
    finally:
        here.close()
    return done


def _wait_at_gate(folder: Path, workers: int) -> None:
    """Wait until every worker is at the gate: one that was still on its way when the driver was killed has no name."""
    deadline = time.monotonic() + WORKERS_TIMEOUT_S
    while len(list(folder.glob("waiting-*"))) < workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {workers} workers have come to half of the run in {WORKERS_TIMEOUT_S:g} s")
        time.sleep(0.02)


def _wait_for_workers(folder: Path) -> None:
    """Wait until the killed driver's workers have ended: one that still waited at the gate would be first through."""
    pids = [int(file.name.partition("-")[2]) for file in folder.glob("waiting-*")]
    deadline = time.monotonic() + WORKERS_TIMEOUT_S
    while any(map(_is_alive, pids)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker of the killed driver is still there after {WORKERS_TIMEOUT_S:g} s: {pids}")
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _one_stage(sizes: Sizes, place: Place) -> Row:
    def orc(backend: str, attach: bool) -> Column:
        def column(salt: int) -> Reading:
            home = tempfile.mkdtemp(dir=place.row_home)
            code = "from orchestrator.cli.main import main; main()"
            command = ["-c", code, "run", "benchmarks.pipelines:one", f"salt={salt}", "--on", backend]
            took_s, line = fresh(command, place.on("ray" if attach else "local") | {"ORC_HOME": home})
            shutil.rmtree(home, ignore_errors=True)
            return Reading(took_s, int(line))

        return column

    def raw(address: bool) -> Column:
        def column(salt: int) -> Reading:
            given = {"salt": salt, "ray": place.ray_address if address else ""}
            took_s, line = fresh(child("raw_one", given), place.on("local"))
            return Reading(took_s, json.loads(line)["answer"])

        return column

    columns = {RAW_WARM: raw(True), WARM: orc("ray", True), LOCAL: orc("local", False)}
    targets = [Target(LOCAL, "most", 1.0), Target(WARM, "most", 2.0)]
    if sizes.cold_ray:
        columns = {RAW: raw(False), COLD: orc("ray", False), **columns}
        targets.append(Target(COLD, "more", 0.5, RAW))
    return Row(
        "one-stage", "one trivial stage, fresh process", "s", columns, lambda salt: salt + 1, targets,
        RAW if sizes.cold_ray else RAW_WARM, most_repeats=5,
        note="whole processes, from start to exit; ours is `orc run` in a new ORC_HOME",
    )  # fmt: skip
