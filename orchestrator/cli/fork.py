"""``orc fork``: a new run with the history of another up to a step, then other code or parameters; both compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.comparing import run_difference
from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.fork import refuse_acting
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.cli.comparing import difference_document, tell_results
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.output import counted, note, table, write, write_json, write_json_line
from orchestrator.cli.run_documents import ForkDocument, ForkItem
from orchestrator.cli.running import (
    AllowDegraded,
    Detach,
    Json,
    On,
    Quiet,
    RunId,
    TimeLimit,
    backend_of,
    watch,
)
from orchestrator.config.job import load_job
from orchestrator.config.recorded import locate
from orchestrator.graph.fact import FINISHED

if TYPE_CHECKING:
    from orchestrator.app.fork import Fork
    from orchestrator.engine.changes import Change

_ORDER = ("keep", "drop", "run", "new", "remove")
_SAID = {"keep": "history", "drop": "runs again", "run": "runs", "new": "is new", "remove": "is removed"}
_CALLS = 6

From = Annotated[
    str, typer.Option("--from", metavar="STEP", help="where it goes its own way: scope/name#2, or an item of a map")
]
Values = Annotated[
    list[str] | None, typer.Argument(metavar="NAME=VALUE", help="parameters that are other ones from there on")
]
Code = Annotated[
    str | None,
    typer.Option("--code", metavar="PIPELINE", help="module:pipeline, or a file as for orc run; with NAME=VALUE alone "
                 "the run's own pipeline as it is now"),
]  # fmt: skip
Repeat = Annotated[
    list[str] | None,
    typer.Option("--repeat", metavar="STEP", help="let a step with effects that began already act again; repeatable"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what is history and what would run")]


def fork(
    run_id: RunId,
    from_step: From,
    values: Values = None,
    code: Code = None,
    repeat: Repeat = None,
    dry_run: DryRun = False,
    on: On = None,
    detach: Detach = False,
    timeout: TimeLimit = None,
    allow_degraded: AllowDegraded = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Start a new run with the history of another up to a step; that step and what depends on it runs."""
    runner = Runner()
    made = _made(runner, run_id, from_step, code, values or [])
    _show(made, dry_run, json)
    if dry_run:
        return ExitCode.OK
    refuse_acting(made, repeat or [], " ".join(f"--repeat '{step}'" for step in made.renewal.acting))
    for file in made.renewal.files:
        note(str(file))
    begun: list[Run] = []

    def start() -> Run:
        begun.append(runner.rerun(made.renewal, backend_of(on), detach, made.code))
        return begun[0]

    ended = watch(runner.installation, start, timeout, allow_degraded, json, quiet)
    if begun and runner.installation.journal.run(begun[0].id).state in FINISHED:
        difference = run_difference(runner.installation, made.renewal.origin, begun[0].id)
        if json:
            write_json_line(difference_document(difference))
        else:
            tell_results(difference, note)
            note(f"all that differs: orc diff {made.renewal.origin} {begun[0].id}")
    return ended


def _made(runner: Runner, run_id: str, step: str, code: str | None, values: list[str]) -> Fork:
    """The fork with what the command line asks for: the code on record, unless other code or parameters are given."""
    if code is None and not values:
        return runner.fork(run_id, step)
    if code is None:
        here = runner.installation
        code = locate(here.fold(here.journal.run(run_id).id).graph)
        note(f"with {code} as it is now; --code names other code")
    job = load_job(code, values)
    return runner.fork(run_id, step, job.pipeline, job.params)


def _show(made: Fork, dry_run: bool, as_json: bool) -> None:
    """Say what is history and what runs: as data if that is all there is to do, else for people."""
    acting = made.renewal.acting
    if dry_run and as_json:
        items = [ForkItem(c.node, c.action, c.finished, c.steps, c.part, c.reason, c.was) for c in _work(made)]
        write_json(ForkDocument(made.renewal.origin, made.point.step, items, list(made.calls), list(acting)))
        return
    tell = write if dry_run else note
    changes = sorted(_work(made), key=lambda change: _ORDER.index(change.action))
    tell(table(("STEP", "FINISHED", "", "WHY"), [_row(made, change) for change in changes]))
    if made.calls:
        more = f" and {len(made.calls) - _CALLS:,} more" if len(made.calls) > _CALLS else ""
        tell(f"history, inside of bodies: {', '.join(made.calls[:_CALLS])}{more}")
    if acting:
        tell(f"has effects and began already: {', '.join(acting)}")
    kept = sum(change.finished for change in changes if change.node in made.renewal.taken) + len(made.calls)
    tell(f"fork of {made.renewal.origin} from {made.point.step}: {counted(kept, 'step')} from history")


def _work(made: Fork) -> list[Change]:
    """What becomes of each node, but for wiring."""
    return [change for change in made.comparison.changes if made.kinds[change.node] not in CONTROL_KINDS]


def _row(made: Fork, change: Change) -> tuple[str, str, str, str]:
    why = f"{change.part}: {change.reason}" if change.part else change.reason
    of = f" of {change.steps:,}" if change.steps is not None else ""
    finished = f"{change.finished:,}{of}" if change.was else "-"
    said = _SAID[change.action]
    if change.action == "keep" and change.node not in made.renewal.taken:
        said, why = ("goes on", why) if not change.finished else ("runs again", "its outputs are gone from the store")
    elif change.action == "keep" and change.finished < (change.steps or 1):
        said = "history, goes on"
    return change.node, finished, said, why
