"""``orc rerun``: a new run from the record of another, which keeps what is valid, or verifies what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.app.verification import verification
from orchestrator.cli.changing import ask, show, traced
from orchestrator.cli.documents import ChangedFileItem, DifferenceItem, VerificationDocument
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import counted, note, table, write, write_json
from orchestrator.cli.running import (
    AllowDegraded,
    Code,
    Detach,
    DryRun,
    Json,
    NewValues,
    On,
    Quiet,
    RunId,
    TimeLimit,
    Yes,
    backend_of,
    drive,
    watch,
)
from orchestrator.errors import ConfigError, RunError
from orchestrator.graph.fact import FINISHED

if TYPE_CHECKING:
    from orchestrator.app.rerun import Renewal
    from orchestrator.app.verification import Verification

_SHOWN = 20

Keep = Annotated[bool, typer.Option("--keep", help="take over what the recorded run finished")]
Verify = Annotated[
    bool, typer.Option("--verify", help="run all but effects again without the cache, and compare with the record")
]
Repeat = Annotated[
    list[str] | None,
    typer.Option("--repeat", metavar="STEP", help="let a step with effects that began already act again; repeatable"),
]


def rerun(
    run_id: RunId,
    values: NewValues = None,
    code: Code = None,
    keep: Keep = False,
    verify: Verify = False,
    repeat: Repeat = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    on: On = None,
    detach: Detach = False,
    timeout: TimeLimit = None,
    allow_degraded: AllowDegraded = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Start a new run with the code, graph, parameters and seed of a recorded one."""
    if verify and (code or keep or repeat):
        raise ConfigError("--verify runs the recorded code from its start; leave --code, --keep and --repeat out")
    runner = Runner()
    new = traced(runner, run_id, code, values, yes, dry_run)
    _refuse_unfinished(runner, run_id)
    renewal = runner.renewal(run_id, keep=keep, verify=verify, code=new)
    if new is not None:
        show(new.comparison, renewal.acting, dry_run, json)
        if dry_run:
            return ExitCode.OK
    for file in renewal.files:
        note(str(file))
    if keep or new is not None:
        _refuse_repetition(renewal, repeat or [])
    elif renewal.acting and not verify:
        note(f"has effects and acts again: {', '.join(renewal.acting)}")
    if new is not None and not ask("Start a new run with this code?", yes):
        return ExitCode.FAILED

    def start() -> Run:
        return runner.rerun(renewal, backend_of(on), detach, new)

    if not verify:
        return watch(runner.installation, start, timeout, allow_degraded, json, quiet)
    ended = drive(runner.installation, start, timeout, False, quiet)
    if isinstance(ended, ExitCode):
        return ended
    Run(runner.installation, ended.follower.run).raise_for_state()
    return _report(verification(runner.installation, renewal, ended.follower.run), json)


def _refuse_unfinished(runner: Runner, run_id: str) -> None:
    """A run that can go on must: a second one beside it would do its work twice."""
    row = runner.installation.journal.run(run_id)
    if row.state not in FINISHED:
        raise RunError(f"run {row.id} has not ended ({row.state}); go on with it: orc resume {row.id}")


def _refuse_repetition(renewal: Renewal, repeat: list[str]) -> None:
    """Refuse to let a step with effects act a second time, unless it was named.

    Raises:
        RunError: names the steps.
        ConfigError: a step was named that would not act again.
    """
    unknown = [step for step in repeat if step not in renewal.acting]
    if unknown:
        steps = ", ".join(renewal.acting) or "none"
        raise ConfigError(f"--repeat {unknown[0]}: no step with effects that would act again; there are: {steps}")
    refused = [step for step in renewal.acting if step not in repeat]
    if refused:
        allow = " ".join(f"--repeat '{step}'" for step in refused)
        raise RunError(
            f"run {renewal.origin}: {', '.join(refused)} has effects and began already; in a new run it would act "
            f"again under a new key. If that is right, add {allow}"
        )


def _report(found: Verification, as_json: bool) -> ExitCode:
    """Say what a verification came to."""
    if as_json:
        files = [ChangedFileItem(*file) for file in found.files]
        differences = [DifferenceItem(d.address, d.recorded, d.now, d.inputs_equal) for d in found.differences]
        suspect = found.suspect.address if found.suspect else None
        write_json(VerificationDocument(
            found.run, found.origin, found.identical, found.compared, differences, suspect, list(found.taken), files
        ))  # fmt: skip
        return ExitCode.OK if found.identical else ExitCode.FAILED
    if found.differences:
        rows = [(d.address, d.recorded[:12], d.now[:12], "yes" if d.inputs_equal else "no") for d in found.differences]
        write(table(("STEP", "RECORDED", "NOW", "SAME INPUTS"), rows[:_SHOWN]))
        if len(rows) > _SHOWN:
            write(f"… {len(rows) - _SHOWN:,} more; see --json")
    if found.suspect:
        write(f"suspect: {found.suspect.address}, the first step whose inputs are the same and whose output is not")
    if found.taken:
        write(f"taken from the record: {', '.join(found.taken)}")
    same = "all outputs are those on record" if found.identical else f"{len(found.differences):,} differ"
    write(f"run {found.run} repeats {found.origin}: {counted(found.compared, 'step')} compared, {same}")
    return ExitCode.OK if found.identical else ExitCode.FAILED
