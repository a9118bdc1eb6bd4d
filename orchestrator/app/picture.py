"""Runs and plans as pictures: the state of each node, and what ``orc show --svg`` writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from orchestrator.engine.plan import Plan
from orchestrator.engine.state import DONE, DROPPED, FAILED, OPEN, RETRY, SKIPPED, WAITING, NodeState, RunFold
from orchestrator.graph.node import Graph
from orchestrator.views.status import NodeStatus
from orchestrator.views.svg import graph_svg

_STATES = {FAILED: "failed", RETRY: "retrying", WAITING: "waiting", SKIPPED: "skipped", DROPPED: "dropped"}
_PLANNED = {"reuse": "cached", "run": "pending", "after": "pending", "skip": "skipped", "wait": "waiting"}


def run_graph(fold: RunFold) -> Graph:
    """The graph of a run as it is by now: with the calls that ``@dynamic`` bodies have made."""
    return replace(fold.graph, nodes=tuple(state.node for state in fold.nodes.values()))


def run_statuses(fold: RunFold) -> dict[str, NodeStatus]:
    """State of each node of a run, for drawing."""
    return {node: _status(state, fold) for node, state in fold.nodes.items()}


def plan_statuses(plan: Plan) -> dict[str, NodeStatus]:
    """What a plan says of each node, for drawing."""
    found: dict[str, NodeStatus] = {}
    for planned in plan.nodes:
        before = found.get(planned.node, NodeStatus())
        counts = dict(before.counts)
        if planned.steps is not None:  # a map of unknown width has no counts yet
            counts[_PLANNED[planned.action]] = planned.steps or 1
        found[planned.node] = NodeStatus(counts, note=planned.reason)
    return found


def run_svg(fold: RunFold) -> str:
    """A run as an SVG document."""
    return graph_svg(run_graph(fold), run_statuses(fold))


def _status(state: NodeState, fold: RunFold) -> NodeStatus:
    counts: Counter[str] = Counter()
    for mark, name in _STATES.items():
        counts[name] += state.status.count(mark)
    done = state.status.count(DONE)
    counts["cached"] = min(state.reused, done)
    counts["degraded"] = min(len(state.degraded), done - counts["cached"])
    counts["succeeded"] = done - counts["cached"] - counts["degraded"]
    counts["cancelled" if fold.finished is not None else "pending"] = state.status.count(OPEN)
    return NodeStatus({name: count for name, count in counts.items() if count}, note=_note(state))


def _note(state: NodeState) -> str:
    if not state.failures:
        return ""
    failure = state.failures[next(iter(state.failures))]
    return f"{failure.name}: {failure.message}"
