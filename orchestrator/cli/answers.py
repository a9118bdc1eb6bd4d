"""``orc approve``, ``orc signal`` and ``orc cancel``: requests to a run, put into its inbox for whoever drives it."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.run import Run
from orchestrator.cli.documents import AnswerDocument
from orchestrator.cli.listing import Json
from orchestrator.cli.output import write, write_json
from orchestrator.cli.running import RunId
from orchestrator.config.document import parse_value
from orchestrator.errors import RunError
from orchestrator.graph.fact import FINISHED

Step = Annotated[str, typer.Argument(metavar="STEP", help="the step that waits; its name is enough if it is unique")]
Value = Annotated[str | None, typer.Argument(metavar="VALUE", help="payload in YAML or JSON; text stays text")]


def approve(
    run_id: RunId,
    step: Step,
    reject: Annotated[bool, typer.Option("--reject", help="refuse instead")] = False,
    json: Json = False,
) -> None:
    """Answer a step that waits for a person."""
    run = _open_run(run_id)
    run.approve(step, not reject, by=getpass.getuser())
    _tell(run, step, "rejected" if reject else "approved", json)


def signal(run_id: RunId, step: Step, value: Value = None, json: Json = False) -> None:
    """Answer a step that waits for a program."""
    run = _open_run(run_id)
    run.signal(step, None if value is None else parse_value(value), by=getpass.getuser())
    _tell(run, step, "signalled", json)


def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="kept with the run")] = "",
    json: Json = False,
) -> None:
    """End a run; one without a driver ends when it is resumed."""
    run = _open_run(run_id)
    run.cancel(reason)
    _tell(run, "", "cancellation asked for", json)


def _open_run(run_id: str) -> Run:
    here = Installation()
    run = Run(here, here.journal.run(run_id).id)
    if run.state in FINISHED:
        raise RunError(f"run {run.id} has ended ({run.state}); there is nothing to answer")
    return run


def _tell(run: Run, step: str, what: str, as_json: bool) -> None:
    driver = run.driver
    if as_json:
        write_json(AnswerDocument(run.id, step, driver))
        return
    after = "" if driver else f"; nobody drives the run, so go on with: orc resume {run.id}"
    write(f"{step or run.id}: {what}{after}")
