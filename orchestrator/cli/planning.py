"""``orc plan``: what a run would do and why, without doing it and without starting a worker."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.app.runner import Runner
from orchestrator.cli.documents import PlanDocument, PlanItem
from orchestrator.cli.output import counted, table, write, write_json
from orchestrator.cli.progress import CONTROL_KINDS
from orchestrator.cli.running import Values, What
from orchestrator.config.job import load_job


def plan(
    what: What, values: Values = None, json: Annotated[bool, typer.Option("--json", help="print JSON")] = False
) -> None:
    """Say what a run would do and why, without doing it."""
    job = load_job(what, values or [])
    planned = Runner().plan(job.pipeline, job.params, job.pipeline.run_options)
    items = [PlanItem(node.node, node.kind, node.action, node.steps, node.reason) for node in planned.nodes]
    if json:
        write_json(PlanDocument(planned.graph.pipeline, planned.reused, planned.to_run, items))
        return
    rows = [
        (item.action, item.node, "?" if item.steps is None else str(item.steps), item.reason)
        for item in items
        if item.kind not in CONTROL_KINDS
    ]
    write(table(("action", "step", "steps", "why"), rows))
    write(f"{counted(planned.reused, 'step')} reused, at least {counted(planned.to_run, 'step')} to run")
