"""What a run would do as a fragment of HTML: the graph, and node by node what would run, and why."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.engine.plan import Plan
from orchestrator.views.markup import Cell, Markup, Number, framed, head, mark, paragraph, table
from orchestrator.views.run import cut_graph
from orchestrator.views.status import NodeStatus, count_text
from orchestrator.views.svg import graph_svg

_LOOKS = {"reuse": "cached", "run": "pending", "after": "pending", "skip": "skipped", "wait": "waiting"}
_SAID = {"reuse": "reused", "run": "runs", "after": "runs after", "skip": "skipped", "wait": "waits"}
_WIRING = frozenset({"branch", "choice", "pack"})


_MOST = 300
"""Nodes that the table names."""


def plan_text(plan: Plan) -> str:
    """A plan in a few words."""
    reused = "1 step" if plan.reused == 1 else f"{count_text(plan.reused)} steps"
    return f"{reused} reused, at least {count_text(plan.to_run)} to run"


def plan_html(plan: Plan, statuses: Mapping[str, NodeStatus]) -> str:
    """A plan; its table names the nodes that do work."""
    graph, note = cut_graph(plan.graph)
    rows: list[tuple[Cell, ...]] = [
        (
            one.node,
            Markup(mark(_LOOKS[one.action], _SAID[one.action])),
            Number("?" if one.steps is None else count_text(one.steps)),
            one.reason,
        )
        for one in plan.nodes
        if one.kind not in _WIRING
    ]
    more = f"and {count_text(len(rows) - _MOST)} more" if len(rows) > _MOST else ""
    return framed(
        head(f"{plan.graph.pipeline}: plan"),
        paragraph(plan_text(plan)),
        note,
        f'<div class="orc-graph scroll">{graph_svg(graph, statuses)}</div>',
        table(("step", "what", "steps", "why"), rows[:_MOST]),
        paragraph(more, soft=True),
    )
