"""``orc submit``: bring a run to a cluster, and show its progress from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from orchestrator.app.runner import Runner
from orchestrator.cli.documents import SubmitDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import note, write, write_json
from orchestrator.cli.running import FOLLOW, AllowDegraded, Json, Quiet, Tags, TimeLimit, Values, tags_of, watch
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.app.submit import SubmittedRun

What = Annotated[
    str | None, typer.Argument(metavar="PIPELINE", help="module:pipeline, a YAML file, or a name under configs/")
]
Again = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="bring a run that nobody drives, instead of a new one")
]
Detach = Annotated[bool, typer.Option("--detach", help="return as soon as the cluster keeps the run alive")]


def submit(
    what: What = None,
    values: Values = None,
    resume: Again = None,
    tag: Tags = None,
    detach: Detach = False,
    timeout: TimeLimit = None,
    allow_degraded: AllowDegraded = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run a pipeline on the cluster of ORC_RAY_ADDRESS, where it goes on without this process.

    Ctrl-C leaves the run alone; so does the end of --timeout.
    """
    runner = Runner()
    run = _submitted(runner, what, values or [], tag or [], resume)
    address = runner.installation.settings.ray_address or ""
    if not detach:
        if not quiet and not json:
            note(f"submitted {run.id} to {address}")
        return watch(runner.installation, lambda: run, timeout, allow_degraded, json, quiet, FOLLOW)
    if json:
        write_json(SubmitDocument(run.id, run.job, address))
    else:
        write(run.id)
        note(f"submitted to {address}; follow it with: orc show --follow {run.id}")
    return ExitCode.OK


def _submitted(runner: Runner, what: str | None, values: list[str], tag: list[str], resume: str | None) -> SubmittedRun:
    if (what is None) == (resume is None):
        raise ConfigError("name a pipeline to run, or with --resume a run that nobody drives")
    if what is None:
        run = runner.resubmit(resume or "")
    else:
        job = load_job(what, values)
        pipeline = job.pipeline.options(tags=tags_of(tag))
        run = runner.submit(pipeline, job.params, pipeline.run_options)
    return cast("SubmittedRun", run)
