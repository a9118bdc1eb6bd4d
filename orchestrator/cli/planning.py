"""``orc plan``: what a run would do and why, without doing it and without starting a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.app.picture import plan_statuses
from orchestrator.app.runner import Runner
from orchestrator.cli.documents import PlanDocument, PlanItem
from orchestrator.cli.output import counted, write, write_json
from orchestrator.cli.running import Values, What
from orchestrator.config.job import load_job
from orchestrator.views.svg import graph_svg
from orchestrator.views.tree import graph_tree, tree_lines


def plan(
    what: What,
    values: Values = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="draw it into a file")] = None,
) -> None:
    """Say what a run would do and why, without doing it."""
    job = load_job(what, values or [])
    planned = Runner().plan(job.pipeline, job.params, job.pipeline.run_options)
    items = [PlanItem(node.node, node.kind, node.action, node.steps, node.reason) for node in planned.nodes]
    if svg is not None:
        svg.write_text(graph_svg(planned.graph, plan_statuses(planned)))
    if json:
        write_json(PlanDocument(planned.graph.pipeline, planned.reused, planned.to_run, items))
        return
    write("\n".join(line.text for line in tree_lines([graph_tree(planned.graph, plan_statuses(planned))])))
    write(f"{counted(planned.reused, 'step')} reused, at least {counted(planned.to_run, 'step')} to run")
