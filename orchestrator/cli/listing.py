"""``orc ls`` and ``orc show``: runs and their steps, from the journal alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.installation import Installation
from orchestrator.app.picture import run_graph
from orchestrator.app.record import RunRecord
from orchestrator.app.report import write_page
from orchestrator.app.run import Run
from orchestrator.app.sweeps import sweep_views
from orchestrator.cli.documents import RunDocument, RunItem
from orchestrator.cli.exit_code import ExitCode
from orchestrator.cli.failing import failure_lines
from orchestrator.cli.following import CONTROL_KINDS, Follower
from orchestrator.cli.output import iso, local_time, note, table, write, write_json
from orchestrator.cli.running import FOLLOW, RunId, watch
from orchestrator.cli.sweeps import show_sweep
from orchestrator.config.suggestion import meant_or_known
from orchestrator.errors import ConfigError
from orchestrator.graph.fact import FINISHED
from orchestrator.triggers.tags import TAG, WHAT_TAG
from orchestrator.views.status import duration_text
from orchestrator.views.svg import graph_svg
from orchestrator.views.tree import graph_tree, tree_lines

if TYPE_CHECKING:
    from orchestrator.ports.journal import RunRow
    from orchestrator.views.status import NodeStatus

_MOST_FAILED = 3
_WORTH_S = 0.001
_STATES = ("queued", "running", "waiting", "succeeded", "degraded", "failed", "cancelled")

Tree = Annotated[
    bool, typer.Option("--tree", help="only the tree of steps, with when each began and what it waited for")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def ls(
    pipeline: Annotated[str | None, typer.Argument(metavar="PIPELINE", help="only runs of this pipeline")] = None,
    state: Annotated[str | None, typer.Option("--state", metavar="STATE", help="only runs in this state")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="at most this many")] = 20,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    if state is not None and state not in _STATES:
        raise ConfigError(f"--state {state}: there is no such state{meant_or_known(state, _STATES)}")
    here = Installation()
    items = [run_item(here, row) for row in here.journal.runs(pipeline, state, limit)]
    if json:
        write_json(items)
        return
    if not items:
        write("no runs yet; start one with: orc run PIPELINE")
        return
    rows = [(item.id, item.pipeline, described_state(item), _local(item.started_at), _took(item)) for item in items]
    write(table(("id", "pipeline", "state", "started", "took"), rows))


def show(
    run_id: RunId,
    sweep: Annotated[str | None, typer.Argument(metavar="SWEEP", help="the step of a sweep: its trials")] = None,
    tree: Tree = False,
    json: Json = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="show the progress of the run until it ends")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="draw the run, or the sweep")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write all of the run into one file")
    ] = None,
) -> int:
    """Show a run and its steps, or the trials of a sweep."""
    here = Installation()
    row = here.journal.run(run_id)
    if sweep is not None:
        show_sweep(here, row.id, sweep, json=json, svg=svg)
        return ExitCode.OK
    if html is not None:
        note(f"{write_page(here, row.id, html)}: all of run {row.id}")
    if follow:
        return watch(here, lambda: Run(here, row.id), None, False, json, False, FOLLOW)
    follower = Follower(here, row.id)
    follower.advance()
    document = run_document(here, row, follower)
    if svg is not None:
        svg.write_text(graph_svg(run_graph(follower.fold), follower.statuses()))
    if json:
        write_json(document)
        return ExitCode.OK
    item = document.run
    if tree:
        _show_tree(here, row.id, follower)
        return ExitCode.OK
    write(f"{item.id}  {described_state(item)}  started {_local(item.started_at)}  took {_took(item)}")
    if document.reason:
        write(f"because: {document.reason}")
    if TAG in item.tags:
        write(f"by trigger {item.tags[TAG]}: {item.tags.get(WHAT_TAG, '')}")
    for name, value in document.params.items():
        write(f"  {name} = {value}")
    write("\n".join(line.text for line in follower.lines()))
    for node, index in follower.fold.failed[:_MOST_FAILED]:
        for line in failure_lines(here, follower.fold, follower.fold.nodes[node], index):
            write(line)
    for step in document.steps:
        for check in step.checks:
            if check.state != "passed":
                write(f"{check.state}: {step.address}: {check.name}: {check.message}")
    for view in sweep_views(here, follower.fold):
        write(f"{view.title}; its trials: orc show {row.id} {view.name}")
    for address, text in document.waiting.items():
        write(f"waits for an answer: {address}: {text}")
    return ExitCode.OK


def _show_tree(here: Installation, run: str, follower: Follower) -> None:
    """Every step in its scope: when it began, how long it took, what it came after, what it waited for most."""
    record = RunRecord(here, run)
    record.advance()
    times, statuses = record.times(), follower.statuses()
    begun = record.drivers[0][0] if record.drivers else None

    def noted(node: str, status: NodeStatus) -> NodeStatus:
        own, after = times.get(node), sorted(record.needs(node)) if node in record.fold.nodes else []
        parts = (
            [] if own is None or own.started_at is None or begun is None else [f"at +{own.started_at - begun:.2f} s"]
        )
        if own is not None and own.started_at is not None and own.ready_at is not None:
            waited_s = own.started_at - own.ready_at
            parts += [f"waited {duration_text(waited_s)} for a worker"] if waited_s >= _WORTH_S else []
        known = [need for need in after if record.fold.nodes[need].node.kind not in CONTROL_KINDS]
        parts += [f"after {', '.join(known)}"] if known else []
        return replace(status, note=" · ".join([*parts, *([status.note] if status.note else [])]))

    shown = {node: noted(node, status) for node, status in statuses.items()}
    write("\n".join(line.text for line in tree_lines([graph_tree(run_graph(follower.fold), shown)])))


def run_item(here: Installation, row: RunRow) -> RunItem:
    """A run as documents show it."""
    driver = None if row.state in FINISHED else here.journal.owner(row.id)
    times = (iso(row.created_at) or "", iso(row.started_at), iso(row.finished_at))
    return RunItem(row.id, row.pipeline, row.state, *times, driver, dict(row.tags))


def run_document(here: Installation, row: RunRow, follower: Follower) -> RunDocument:
    """A run with its steps."""
    fold = follower.fold
    created = here.created(row.id)
    return RunDocument(
        run=run_item(here, row),
        params=dict(created.params),
        git_commit=created.git_commit,
        reason=fold.finished.reason if fold.finished else "",
        outcome=fold.finished.outcome if fold.finished else "",
        waiting={node: request.text for node, request in fold.waiting.items()},
        steps=follower.steps(),
    )


def described_state(item: RunItem) -> str:
    """The state for people: a run that nobody drives says so."""
    if item.state in FINISHED or item.driver is not None:
        return item.state
    return f"{item.state}, driver: none"


def _local(at: str | None) -> str:
    return local_time(None if at is None else datetime.fromisoformat(at).timestamp())


def _took(item: RunItem) -> str:
    if item.started_at is None or item.finished_at is None:
        return "-"
    began, ended = datetime.fromisoformat(item.started_at), datetime.fromisoformat(item.finished_at)
    return duration_text((ended - began).total_seconds())
