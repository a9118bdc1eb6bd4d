"""Reads what is new in a table and delivers it; as a program, one life of a driver that dies at a chosen write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa

from orchestrator import pipeline, stage, step
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.errors import RunError
from orchestrator.graph.pipeline import RunOptions
from orchestrator.testing import InProcess
from orchestrator.testing.crash import CrashingInstallation, CrashPoint
from stages.ingestion import read_new_rows


@stage
def deliver(rows: pa.Table, folder: str) -> int:
    """Write the rows where the run's evidence is: a file for the run, whole or not there, the same for each attempt."""
    place = Path(folder) / f"{step().run_id}.json"
    unfinished = place.with_suffix(".part")
    unfinished.write_text(json.dumps(rows["id"].to_pylist()))
    os.replace(unfinished, place)
    return int(rows.num_rows)


@pipeline
def arriving(url: str, folder: str) -> int:
    return deliver(read_new_rows(url, "events", "at", key="id", cursor="events", overlap=2), folder)


def main(home: str, url: str, folder: str, run: str, point: str) -> None:
    """Begin a run, or resume one, and print its id and state; dies on the way if a point is given."""
    at = CrashPoint(int(point.partition(":")[0]), point.partition(":")[2]) if point else None  # type: ignore[arg-type]
    here = InProcess(installation=CrashingInstallation(Settings.from_environment({"ORC_HOME": home}), at))
    params = {"url": url, "folder": folder}
    here.know(arriving.trace(**params).stages)
    runner: Runner = here.runner
    try:
        driven = runner.resume(run) if run else runner.start(arriving, params, RunOptions())
    except RunError as error:  # it ended in the life before, which died before it could say so
        print(json.dumps([run, error.code]), flush=True)
        return
    driven.wait()
    print(json.dumps([driven.id, driven.state]), flush=True)
