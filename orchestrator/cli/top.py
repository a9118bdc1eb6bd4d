"""``orc top``: what goes on now, redrawn on a terminal, or once."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.overview import Watching
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.listing import Json
from orchestrator.cli.output import counted, iso, local_time, table, write, write_json
from orchestrator.cli.run_documents import ActiveRunItem, QueuedItem, TopDocument, WorkingItem
from orchestrator.types import seconds
from orchestrator.views.status import duration_text

if TYPE_CHECKING:
    from orchestrator.app.overview import Overview

_ROWS = 12
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"

Once = Annotated[bool, typer.Option("--once", help="print it once and end")]
Every = Annotated[str, typer.Option("--every", metavar="DURATION", help="how often it is redrawn")]


def top(once: Once = False, every: Every = "1s", json: Json = False) -> int:
    """Watch what runs now: runs, the steps on their workers, and what waits for one. Ctrl-C ends it."""
    watching, pause_s = Watching(Installation()), max(seconds(every), 0.1)
    if json:
        write_json(_document(watching.look()))
        return ExitCode.OK
    if once or not sys.stdout.isatty():
        write(_page(watching.look()))
        return ExitCode.OK
    try:
        while True:
            sys.stdout.write(f"{_CLEAR}{_page(watching.look())}\n")
            sys.stdout.flush()
            time.sleep(pause_s)
    except KeyboardInterrupt:
        return ExitCode.OK


def _page(found: Overview) -> str:
    if not found.runs:
        return f"{local_time(found.at)}  nothing runs"
    slots = sum(run.slots for run in found.runs if run.driver is not None)
    busy = sum(run.running for run in found.runs)
    waiting = sum(run.queued for run in found.runs)
    parts = [
        f"{local_time(found.at)}  {counted(len(found.runs), 'run')}, {counted(busy, 'step')} on workers, "
        f"{waiting:,} in queues, {counted(slots, 'slot')}",
        _section(
            ("run", "pipeline", "state", "done", "running", "queued", "for", "driver"),
            [
                (run.run, run.pipeline, run.state, f"{run.done:,}", f"{run.running:,}", f"{run.queued:,}",
                 duration_text(run.elapsed_s), run.driver or "none")
                for run in found.runs
            ],
        ),
        _section(
            ("worker", "host", "run", "step", "steps", "for"),
            [
                (one.worker, one.host, one.run, one.node, f"{one.steps:,}", duration_text(found.at - one.since))
                for one in found.workers
            ],
        ),
        _section(
            ("queue", "run", "steps", "waits"),
            [(one.node, one.run, f"{one.steps:,}", one.why) for one in found.queue],
        ),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _section(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    more = f"\n… {len(rows) - _ROWS} more; see --json" if len(rows) > _ROWS else ""
    return table(head, rows[:_ROWS]) + more


def _document(found: Overview) -> TopDocument:
    return TopDocument(
        iso(found.at) or "",
        [ActiveRunItem(*run) for run in found.runs],
        [
            WorkingItem(one.run, one.worker, one.host, one.node, one.steps, iso(one.since) or "", found.at - one.since)
            for one in found.workers
        ],
        [QueuedItem(*one) for one in found.queue],
    )
