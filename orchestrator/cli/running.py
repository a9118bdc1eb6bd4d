"""``orc run`` and ``orc resume``: start or take over a run, show its progress, and report how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

from orchestrator.app.outputs import Outputs
from orchestrator.app.runner import Runner, refuse_ended
from orchestrator.app.switches import told
from orchestrator.cli.documents import RunEnded
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.failing import failure_lines
from orchestrator.cli.following import CONTROL_KINDS, Follower
from orchestrator.cli.output import counted, note, write, write_json_line
from orchestrator.cli.progress import open_progress
from orchestrator.cli.text import as_text
from orchestrator.config.job import load_job
from orchestrator.errors import ConfigError, NotFound
from orchestrator.graph.fact import FINISHED, RunState
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation
    from orchestrator.app.run import Run

FOLLOW = "it goes on; follow it with: orc show --follow"
"""What to do about a run that another process drives."""

_TURN_S = 0.1
_TERMINAL_LINES = 20

What = Annotated[str, typer.Argument(metavar="PIPELINE", help="module:pipeline, a YAML file, or a name under configs/")]
Values = Annotated[
    list[str] | None, typer.Argument(metavar="NAME=VALUE", help="parameters, and stages.NAME.option=VALUE")
]
On = Annotated[
    str | None, typer.Option("--on", metavar="local|ray", help="where steps run; decided by need if not given")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="kept with the run; repeatable")]
Detach = Annotated[bool, typer.Option("--detach", help="return while the run waits for a person or a program")]
TimeLimit = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="stop after this long: exit code 124")
]
AllowDegraded = Annotated[bool, typer.Option("--allow-degraded", help="exit with 0 when the run is degraded")]
Json = Annotated[bool, typer.Option("--json", help="print JSON lines")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="show no progress")]
Code = Annotated[
    str | None,
    typer.Option("--code", metavar="PIPELINE", help="go on with this code: module:pipeline, or a file as for orc run"),
]
NewValues = Annotated[
    list[str] | None, typer.Argument(metavar="NAME=VALUE", help="parameters that only the new code has")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what --code would change")]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="one key, one run: with a key that has a run, follow that one"),
]
Wait = Annotated[
    str, typer.Option("--wait", metavar="DURATION", help="wait this long for a living driver to let go of the run")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="a run's id, or a unique beginning of it")]


def run(
    what: What,
    values: Values = None,
    on: On = None,
    tag: Tags = None,
    key: Key = None,
    detach: Detach = False,
    timeout: TimeLimit = None,
    allow_degraded: AllowDegraded = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run a pipeline and wait for its end."""
    runner = Runner()
    job = load_job(what, values or [])
    pipeline = job.pipeline.options(on=backend_of(on), tags=tags_of(tag or []), key=key)

    def start() -> Run:
        known = runner.installation.journal.run_of_key(key) if key is not None else None
        if known is not None:
            note(f"key {key!r} has a run already: {known}")
        return runner.start(pipeline, job.params, pipeline.run_options, detach)

    return watch(runner.installation, start, timeout, allow_degraded, json, quiet)


def resume(
    run_id: RunId,
    values: NewValues = None,
    code: Code = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    on: On = None,
    wait: Wait = "0s",
    detach: Detach = False,
    timeout: TimeLimit = None,
    allow_degraded: AllowDegraded = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a run whose driver is gone; finished steps are not run again."""
    from orchestrator.app.new_code import refuse_repetition
    from orchestrator.cli.changing import ask, show, traced

    runner = Runner()
    new = traced(runner, run_id, code, values, yes, dry_run)
    if new is not None:
        refuse_ended(runner.installation.journal.run(new.run))
        show(new.comparison, new.comparison.acted, dry_run, json)
        if dry_run:
            return ExitCode.OK
        refuse_repetition(new)
        if not ask("Go on with this code?", yes):
            return ExitCode.FAILED

    wait_s = seconds(wait)

    def start() -> Run:
        return runner.resume(run_id, backend_of(on), detach, new, wait_s)

    return watch(runner.installation, start, timeout, allow_degraded, json, quiet)


def watch(
    here: Installation,
    start: Callable[[], Run],
    timeout: str | None,
    allow_degraded: bool,
    as_json: bool,
    quiet: bool,
    goes_on: str = "go on with: orc resume",
) -> int:
    """Show the progress of a run until it ends, and report that; the exit code.

    Args:
        start: Gives the run; if this process drives it, it stops to do so when it is interrupted or time is up.
        goes_on: What to do about a run that is left before its end; its id follows.
    """
    with told(here):
        ended = drive(here, start, timeout, as_json, quiet, goes_on)
    return ended if isinstance(ended, ExitCode) else _report(*ended, allow_degraded, as_json)


class Ended(NamedTuple):
    """A run whose driver has returned."""

    follower: Follower
    state: RunState
    elapsed_s: float


def drive(
    here: Installation,
    start: Callable[[], Run],
    timeout: str | None,
    as_json: bool,
    quiet: bool,
    goes_on: str = "go on with: orc resume",
) -> Ended | ExitCode:
    """Show the progress of a run until its driver returns; an exit code if it was left before that. As ``watch``."""
    limit_s = None if timeout is None else seconds(timeout)
    began = time.monotonic()
    running = start()
    follower = Follower(here, running.id)
    progress = open_progress(follower, as_json, quiet)
    try:
        while not _ended(running, _TURN_S):
            progress.show(follower.advance())
            if limit_s is not None and time.monotonic() - began > limit_s:
                running.stop()
                limit = duration_text(limit_s)
                note(f"run {running.id} has not ended within {limit}; {goes_on} {running.id}")
                return ExitCode.TIMED_OUT
    except KeyboardInterrupt:
        running.stop()
        note(f"interrupted; {goes_on} {running.id}")
        return ExitCode.INTERRUPTED
    finally:
        progress.show(follower.advance())
        progress.close()
    return Ended(follower, running.state, time.monotonic() - began)


def _ended(running: Run, timeout_s: float) -> bool:
    """Whether the driver has returned, after waiting a little; raises what made it fail."""
    try:
        running.wait(timeout_s)
    except TimeoutError:
        return False
    return True


def _report(follower: Follower, state: RunState, elapsed_s: float, allow_degraded: bool, as_json: bool) -> int:
    """Tell how a run ended: its result as data, the rest for people."""
    finished = follower.fold.finished
    outcome = finished.outcome if finished else ""
    has_result = state in ("succeeded", "degraded")
    result = _result(follower) if has_result else None
    if as_json:
        reason = finished.reason if finished else ""
        write_json_line(RunEnded(follower.run, state, outcome, reason, result))
    else:
        ended = "refused by a gate" if outcome == "refused" else state
        note(f"run {follower.run} {ended} in {duration_text(elapsed_s)}{_tally(follower)}")
        _advise(follower.run, state, follower)
        if result is not None:
            _print_result(follower.run, as_text(result))
    if outcome == "refused":
        return ExitCode.REFUSED
    if state == "degraded":
        return ExitCode.OK if allow_degraded else ExitCode.DEGRADED
    return ExitCode.FAILED if state in FINISHED and not has_result else ExitCode.OK


def _print_result(run_id: str, text: str) -> None:
    """The result: all of it into a file or pipe, its beginning on a terminal."""
    lines = text.split("\n")
    if len(lines) <= _TERMINAL_LINES or not sys.stdout.isatty():
        write(text)
        return
    write("\n".join(lines[:_TERMINAL_LINES]))
    note(f"… {len(lines) - _TERMINAL_LINES} lines more; see: orc get {run_id}")


def _result(follower: Follower) -> Any:
    try:
        return Outputs(follower.installation, follower.fold).result()
    except NotFound:
        return None


def _tally(follower: Follower) -> str:
    items = [item for item in follower.steps() if item.kind not in CONTROL_KINDS]
    reused = sum(item.counts.get("cached", 0) for item in items)
    ran = sum(item.counts.get(state, 0) for item in items for state in ("succeeded", "degraded"))
    return f": {counted(ran, 'step')} ran, {reused:,} reused"


def _advise(run_id: str, state: str, follower: Follower) -> None:
    """Say what to type next."""
    if state == "failed":
        for node, index in follower.fold.failed[:1]:
            for line in failure_lines(follower.installation, follower.fold, follower.fold.nodes[node], index):
                note(line)
            note(f"see: orc logs {run_id} '{node}[{index}]'    orc debug {run_id} '{node}[{index}]' --pdb")
    elif state == "waiting":
        note(f"it waits; answer with orc approve or orc signal, then: orc resume {run_id}")


def backend_of(on: str | None) -> Literal["local", "ray"] | None:
    """What ``--on`` says; raises ConfigError."""
    if on not in (None, "local", "ray"):
        raise ConfigError(f"--on {on}: write 'local' or 'ray'")
    return cast("Literal['local', 'ray'] | None", on)


def tags_of(written: list[str]) -> dict[str, str]:
    """What ``--tag`` options say; raises ConfigError."""
    tags: dict[str, str] = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ConfigError(f"--tag {text}: write --tag name=value")
        tags[name] = value
    return tags
