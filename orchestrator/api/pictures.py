"""Drawings of a run for API and pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.api import schemas as s
from orchestrator.app.picture import run_graph
from orchestrator.app.record import NodeTimes, RunRecord
from orchestrator.graph.fact import FINISHED
from orchestrator.graph.node import Const
from orchestrator.views.status import NodeStatus
from orchestrator.views.svg import graph_svg
from orchestrator.views.timeline import TimelineRow, timeline_svg

MOST_NODES, PAGE_NODES = 400, 100
"""Larger graphs take long to lay out, make pages heavy, and nobody can read them; the table has all nodes."""

WIDE, PARTS = 50, 100
"""Of maps with as many items the timeline shows when they ended, by so many parts of the map's time."""

Link = Callable[[str], str] | None


def graph_of(record: RunRecord, link: Link, most: int = MOST_NODES) -> str:
    """The graph of a run; of a very large one its beginning."""
    graph = run_graph(record.fold)
    if len(graph.nodes) > most:
        graph = replace(graph, nodes=graph.nodes[:most], output=Const(None))
    times, driven = record.times(), record.driver is not None
    return graph_svg(graph, {node: _timed(one, times[node], driven) for node, one in record.statuses().items()}, link)


def _timed(status: NodeStatus, times: NodeTimes, driven: bool) -> NodeStatus:
    """With the time of the body, which a step that was sent in a bundle spends only a part of."""
    if times.started_at is None or times.ended_at is None:
        return status if driven or status.state != "pending" else replace(status, elapsed_s=None)
    return replace(status, elapsed_s=times.ended_at - times.started_at)


def timeline_of(record: RunRecord, nodes: Sequence[s.Node], link: Link) -> str:
    """When nodes of a run waited and ran."""
    critical = set(record.critical())
    now = record.installation.clock.now()
    rows = [
        TimelineRow(
            node.address, node.state, seconds(node.ready_at), seconds(node.started_at), seconds(node.ended_at),
            node.address in critical, link(node.address) if link else "", ended_of(record, node, now),
        )
        for node in nodes
    ]  # fmt: skip
    row = record.row
    known = [at for one in rows for at in (one.started_at, one.ended_at) if at is not None]
    begin = min([row.started_at or row.created_at, *known])
    end = row.finished_at if row.state in FINISHED else now
    if row.state not in FINISHED and record.driver is None:
        end = max(known, default=begin)
    return timeline_svg(rows, begin, max([end or begin, *known]))


def ended_of(record: RunRecord, node: s.Node, now: float) -> list[int]:
    """How many items of a wide map ended in each part of its time; nothing for what is not one."""
    begin, end = seconds(node.started_at), seconds(node.ended_at)
    if begin is None or (node.steps or 0) < WIDE:
        return []
    if end is None and record.driver is not None:
        end = now
    ends = [one for one in record.items.of(node.address).ends if not one.cached]
    lasted = (max((one.at for one in ends), default=begin) if end is None else end) - begin
    if lasted <= 0 or not ends:
        return []
    counts = [0] * PARTS
    for one in ends:
        counts[min(max(int(PARTS * (one.at - begin) / lasted), 0), PARTS - 1)] += one.stop - one.start
    return counts


def seconds(at: str | None) -> float | None:
    """Wall-clock seconds of a time in a document."""
    return None if at is None else datetime.fromisoformat(at).timestamp()
