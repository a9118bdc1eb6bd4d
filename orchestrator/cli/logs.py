"""``orc logs``: what steps wrote, by attempt; searched, followed, or as data."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.logs import Logs
from orchestrator.app.run import Run
from orchestrator.cli.addresses import MaybeAddress, RunOrStep, run_and_maybe_step
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.failing import failure_lines
from orchestrator.cli.output import iso, note, write, write_json_line
from orchestrator.cli.run_documents import LogLineItem
from orchestrator.graph.fact import FINISHED
from orchestrator.types import parse_address

if TYPE_CHECKING:
    from orchestrator.app.logs import LogLine

_TURN_S = 0.25

Follow = Annotated[bool, typer.Option("--follow", "-f", help="go on until the run has ended, also while steps run")]
Grep = Annotated[str, typer.Option("--grep", metavar="TEXT", help="only lines with this text; case does not count")]
Attempt = Annotated[int | None, typer.Option("--attempt", min=1, help="only of this attempt")]
Tail = Annotated[int | None, typer.Option("--tail", "-n", min=0, help="only the last so many lines")]
JsonLines = Annotated[bool, typer.Option("--json", help="print JSON lines, one for each line")]


def logs(
    run_id: RunOrStep,
    address: MaybeAddress = None,
    follow: Follow = False,
    grep: Grep = "",
    attempt: Attempt = None,
    tail: Tail = None,
    json: JsonLines = False,
) -> int:
    """Print what a step wrote, or all steps of a run, all attempts in order."""
    here = Installation()
    run_name, step_name = run_and_maybe_step(run_id, address)
    run = Run(here, here.journal.run(run_name).id)
    step = None if step_name is None else run[step_name]
    node, item = (None, None) if step is None else parse_address(step.address)
    found = Logs(here, run.id, node, item)
    several = step is None or (item is None and run.fold().nodes[step.address].node.is_map)
    printer = _Printer(several, grep.lower(), attempt, json)
    shown = [line for line in found.advance() if printer.wants(line)]
    printer.print(shown if tail is None else shown[max(len(shown) - tail, 0) :])
    if follow:
        _follow(run, found, printer)
    if not printer.printed and not json:
        note(f"{step.address if step is not None else run.id} wrote nothing" + (f" with {grep!r}" if grep else ""))
    if step is not None and not json:
        _tell_failure(here, run, node or "", item)
    return ExitCode.OK


def _follow(run: Run, found: Logs, printer: _Printer) -> None:
    """Print what comes until the run has ended; Ctrl-C ends only this."""
    try:
        while True:
            ended = run.state in FINISHED
            printer.print([line for line in found.advance() if printer.wants(line)])
            if ended:
                return
            printer.print([line for line in found.live() if printer.wants(line)])
            time.sleep(_TURN_S)
    except KeyboardInterrupt:
        return


def _tell_failure(here: Installation, run: Run, node: str, item: int | None) -> None:
    """Say under the log how the step failed, if it did in the end."""
    fold = run.fold()
    failed = [index for name, index in fold.failed if name == node and item in (None, index)]
    for line in failure_lines(here, fold, fold.nodes[node], failed[0]) if failed else ():
        note(line)


class _Printer:
    """Prints lines, with their steps in front if there are several."""

    def __init__(self, several: bool, grep: str, attempt: int | None, json: bool) -> None:
        self.printed = 0
        self._several = several
        self._grep = grep
        self._attempt = attempt
        self._json = json

    def wants(self, line: LogLine) -> bool:
        """True if a line was asked for."""
        return self._grep in line.text.lower() and self._attempt in (None, line.attempt)

    def print(self, lines: Iterable[LogLine]) -> None:
        """Print these."""
        for line in lines:
            self.printed += 1
            if self._json:
                at = iso(line.at)
                write_json_line(LogLineItem(line.step, line.attempt, line.line, line.text, line.worker, at))
            else:
                again = f" (attempt {line.attempt})" if line.attempt > 1 else ""
                write(f"{line.step}{again} | {line.text}" if self._several else line.text)
        sys.stdout.flush()
