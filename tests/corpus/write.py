"""Writes a new generation of the corpus with the current release: ``python -m tests.corpus.write``.

Real runs on local workers, exported under the next number. What older releases wrote is never written again.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.graph.fact import SupervisionEnded
from orchestrator.graph.pipeline import Pipeline, RunOptions
from orchestrator.ports.journal import Append
from tests.corpus import flows
from tests.corpus.record import DIGESTS, HERE, digests, without_paths, write_run

ROOT = Path(__file__).parents[2]
IN_DATABASE = ("cached", "asking")
"""Runs of which the database is kept too."""


def main() -> None:
    """Make the runs and export them."""
    generation = 1 + max((int(folder.name) for folder in HERE.glob("[0-9]*") if folder.is_dir()), default=0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _export(HERE / f"{generation:04}", make_runs(home), home)
    DIGESTS.write_text("".join(f"{digest}  {file}\n" for file, digest in digests().items()))


def make_runs(home: Path) -> Installation:
    """Every run of a generation, in a home of its own."""
    here = Installation(Settings.from_environment({"ORC_HOME": str(home), "ORC_SLOTS": "2"}))
    runner = Runner(here)
    _run(runner, flows.wide, marker=str(home / "dead"))
    _run(runner, flows.cached)
    _run(runner, flows.cached)
    for pipeline in (flows.checked, flows.growing, flows.failing, flows.slow):
        _run(runner, pipeline)
    _answered(runner)
    _cancelled(runner, home / "never")
    _resumed(runner, home / "held")
    _recoded(runner, home / "recoded")
    runner.start(flows.asking, {}, RunOptions(on="local"), detach=True).wait()
    return here


def _run(runner: Runner, pipeline: Pipeline[..., Any], **params: str) -> Run:
    return runner.start(pipeline, params, RunOptions(on="local")).wait()


def _answered(runner: Runner) -> None:
    run = runner.start(flows.asking, {}, RunOptions(on="local"))
    _until(lambda: run.state == "waiting")
    run.approve("approve", by="somebody")
    _until(lambda: bool(run.fold().waiting) and "approve" not in run.fold().waiting)
    run.signal("go", {"to": "Berlin"}, by="a program")
    run.wait()


def _cancelled(runner: Runner, marker: Path) -> None:
    run = runner.start(flows.held, {"marker": str(marker)}, RunOptions(on="local"))
    _until(lambda: run["total"].done)
    run.cancel("not needed any more")
    run.wait()


def _resumed(runner: Runner, marker: Path) -> None:
    run = runner.start(flows.held, {"marker": str(marker)}, RunOptions(on="local"))
    _until(lambda: run["total"].done)
    run.stop()
    _given_up(runner.installation, run.id)
    marker.touch()
    runner.resume(run.id).wait()


def _given_up(here: Installation, run: str) -> None:
    """What a supervisor writes whose drivers die again and again."""
    ownership = here.journal.own(run, "supervisor")
    row, fact = here.journal.run(run), SupervisionEnded("10 drivers in a row died without getting anywhere")
    here.journal.append(Append(run, ownership.epoch, row.seq, here.clock.now(), [fact]))
    ownership.release()


def _recoded(runner: Runner, marker: Path) -> None:
    run = runner.start(flows.recoded, {"marker": str(marker)}, RunOptions(on="local"))
    _until(lambda: run["total"].done)
    run.stop()
    marker.touch()
    runner.resume_with(run.id, flows.recoded_since, accept=True).wait()


def _until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError(f"it has not come to that; threads: {[thread.name for thread in threading.enumerate()]}")


def _export(folder: Path, here: Installation, home: Path) -> None:
    folder.mkdir()
    places = {f"{ROOT}/": "", str(home): "home"}
    for number, row in enumerate(reversed(here.journal.runs(limit=100)), 1):
        created = here.created(row.id)
        document = without_paths(msgspec.json.decode(here.artifacts.get(created.graph)), places)
        facts = without_paths(list(here.journal.facts(row.id)), places)
        path = folder / f"{number:02}-{row.pipeline}.jsonl"
        write_run(path, document, facts, here.fold(row.id))
    others = [row.id for row in here.journal.runs(limit=100) if row.pipeline not in IN_DATABASE]
    here.close()
    with closing(sqlite3.connect(home / "journal.db")) as database:
        for table in ("fact", "chunk", "snapshot", "inbox", "tags", "cache", "run"):
            column = "id" if table == "run" else "run"
            database.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(run,) for run in others])
        (folder / "journal.sql").write_text("\n".join(database.iterdump()) + "\n")


if __name__ == "__main__":
    main()
