"""Fragments of HTML for notebooks and pages: a drawn graph, and tables. No scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.graph.node import Graph
from orchestrator.views.lettering import escape
from orchestrator.views.status import NodeStatus
from orchestrator.views.svg import graph_svg

_CELL = "padding:3px 12px 3px 0;text-align:left;vertical-align:top;border-bottom:1px solid rgba(125,136,153,0.35)"


def graph_html(graph: Graph, status: Mapping[str, NodeStatus] | None = None) -> str:
    """A graph, or a run of it, in a frame that scrolls when it is wider than the page."""
    return f'<div class="orc-graph" style="overflow:auto;max-width:100%">{graph_svg(graph, status)}</div>'


def table_html(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table of texts and numbers; every cell is escaped.

    Raises:
        ValueError: a row has another number of cells than the head.
    """
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells, its head {len(head)}: {row!r}")
    titles = (f'<th scope="col" style="{_CELL}">{escape(name)}</th>' if name else "<td></td>" for name in head)
    top = "".join(titles)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(cell))}</td>' for cell in row) + "</tr>" for row in rows
    )
    caption = f'<caption style="text-align:left;font-weight:600;padding-bottom:4px">{escape(title)}</caption>'
    table = f"{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return (
        '<div class="orc-table" style="overflow:auto;max-width:100%">'
        f'<table style="border-collapse:collapse">{table}</table></div>'
    )
