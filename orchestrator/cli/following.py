"""Following a run by its facts: the state of every node, for progress and for ``orc show``.

Facts are read from the journal, so a run is followed in the same way whoever drives it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.cli.documents import FailureItem, StepItem
from orchestrator.engine.state import DROPPED, FAILED, RETRY, SKIPPED, WAITING, NodeState, RunFold
from orchestrator.graph import fact as f

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

_MOST_FAILURES = 5


@dataclass(slots=True)
class Activity:
    """What the fold does not keep of a node: when it was busy, and with how many steps."""

    since: float | None = None
    until: float | None = None
    in_flight: int = 0

    @property
    def elapsed_s(self) -> float | None:
        """Wall time from the first start to the last outcome, in seconds."""
        return None if self.since is None or self.until is None else max(self.until - self.since, 0.0)


@dataclass(slots=True)
class Follower:
    """The state of one run as far as its facts have been read."""

    installation: Installation
    run: str
    fold: RunFold = field(init=False)
    activity: dict[str, Activity] = field(default_factory=dict)
    seq: int = 0

    def __post_init__(self) -> None:
        self.fold = RunFold(self.run, self.installation.graph(self.installation.created(self.run)))

    def advance(self) -> list[f.Recorded]:
        """Read what was committed since the last time, and return it."""
        fresh = list(self.installation.journal.facts(self.run, self.seq))
        for recorded in fresh:
            self.seq = recorded.seq
            self.fold.apply(recorded.fact, recorded.at)
            self._note(recorded.fact, recorded.at)
        return fresh

    def steps(self) -> list[StepItem]:
        """All nodes in the order of the graph."""
        return [self.step(node) for node in self.fold.nodes]

    def step(self, node: str) -> StepItem:
        """One node."""
        state, activity = self.fold.nodes[node], self.activity.get(node, Activity())
        return StepItem(
            address=node,
            kind=state.node.kind,
            state=self._state(state, activity),
            steps=state.length if state.closed else None,
            done=state.settled - state.status.count(FAILED) - state.status.count(SKIPPED),
            reused=state.reused,
            failed=state.status.count(FAILED) + state.status.count(DROPPED),
            elapsed_s=activity.elapsed_s,
            failures=[_failure(index, state.failures[index]) for index in sorted(state.failures)[:_MOST_FAILURES]],
        )

    def _state(self, state: NodeState, activity: Activity) -> Any:
        if state.status.count(WAITING):
            return "waiting"
        if state.skipped:
            return "skipped"
        if state.status.count(FAILED):
            return "failed"
        if state.is_settled:
            if state.degraded or state.status.count(DROPPED):
                return "degraded"
            return "reused" if state.reused and state.reused == state.settled else "done"
        if self.fold.finished is not None:
            return "pending"
        if state.status.count(RETRY) and not activity.in_flight:
            return "retrying"
        return "running" if activity.in_flight or state.settled else "pending"

    def _note(self, fact: f.Fact, at: float) -> None:
        if isinstance(fact, f.DriverStarted):
            for activity in self.activity.values():
                activity.in_flight = 0
            return
        node = getattr(fact, "node", None)
        if not isinstance(node, str):
            return
        activity = self.activity.setdefault(node, Activity())
        if isinstance(fact, f.StepsStarted):
            activity.since = at if activity.since is None else activity.since
            activity.in_flight += fact.stop - fact.start
        elif isinstance(fact, f.StepsCompleted):
            activity.in_flight = max(activity.in_flight - (fact.stop - fact.start), 0)
            activity.until = at
        elif isinstance(fact, f.AttemptFailed | f.StepFailed):
            activity.in_flight = max(activity.in_flight - 1, 0)
            activity.until = at


def _failure(index: int, failure: f.Failure) -> FailureItem:
    return FailureItem(index, failure.name, failure.message, list(failure.frames))
