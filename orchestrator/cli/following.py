"""A followed run as the command line tells it: lines of a tree, and the items of its documents."""

from __future__ import annotations

from typing import cast

from orchestrator.app.following import CONTROL_KINDS, Following
from orchestrator.app.picture import run_graph
from orchestrator.cli.data_documents import CheckedItem
from orchestrator.cli.documents import FailureItem, StepItem, StepState
from orchestrator.graph import fact as f
from orchestrator.views.status import NodeStatus
from orchestrator.views.tree import TreeLine, graph_tree, tree_lines

__all__ = ["CONTROL_KINDS", "Follower"]

_MOST_FAILURES = 5


class Follower(Following):
    """The state of one run as far as its facts have been read."""

    def lines(self) -> list[TreeLine]:
        """The run as a tree of text."""
        return tree_lines([graph_tree(run_graph(self.fold), self.statuses())])

    def steps(self) -> list[StepItem]:
        """All nodes in the order of the graph."""
        return [self._item(node, status) for node, status in self.statuses().items()]

    def step(self, node: str) -> StepItem:
        """One node."""
        return self._item(node, self.statuses()[node])

    def checks(self, node: str) -> list[CheckedItem]:
        """What the checks of a node found."""
        return [
            CheckedItem(one.name, one.severity, one.state, one.checked, one.failed, one.items, one.message, one.column)
            for one in self.quality.totals(node)
        ]

    def _item(self, node: str, status: NodeStatus) -> StepItem:
        state = self.fold.nodes[node]
        return StepItem(
            address=node,
            kind=state.node.kind,
            state=cast(StepState, status.state),
            steps=state.length if state.closed else None,
            counts=dict(status.ordered()),
            elapsed_s=status.elapsed_s,
            failures=[_failure(index, state.failures[index]) for index in sorted(state.failures)[:_MOST_FAILURES]],
            checks=self.checks(node),
        )


def _failure(index: int, failure: f.Failure) -> FailureItem:
    return FailureItem(index, failure.name, failure.message, list(failure.frames))
