"""Following a run by its facts: the state of every node, for progress on a terminal and for pages.

Facts are read from the journal, so a run is followed in the same way whoever drives it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.app.picture import run_statuses
from orchestrator.app.quality import QualityRecord
from orchestrator.engine.state import RunFold
from orchestrator.graph import fact as f
from orchestrator.graph.node import dependencies
from orchestrator.views.status import NodeStatus

if TYPE_CHECKING:
    from orchestrator.app.installation import Installation

CONTROL_KINDS = frozenset({"branch", "choice", "pack"})
"""Kinds of nodes that are wiring, not work, and are left out for people."""


@dataclass(slots=True)
class Activity:
    """What the fold does not keep of a node: when it was busy, and with how many steps."""

    since: float | None = None
    until: float | None = None
    in_flight: int = 0


@dataclass(slots=True)
class Following:
    """The state of one run as far as its facts have been read."""

    installation: Installation
    run: str
    fold: RunFold = field(init=False)
    activity: dict[str, Activity] = field(default_factory=dict)
    quality: QualityRecord = field(default_factory=QualityRecord)
    seq: int = 0

    def __post_init__(self) -> None:
        self.fold = RunFold(self.run, self.installation.graph(self.installation.created(self.run)))

    def advance(self) -> Sequence[f.Recorded]:
        """Read what was committed since the last time, and return it."""
        fresh = list(self.installation.journal.facts(self.run, self.seq))
        for recorded in fresh:
            self.seq = recorded.seq
            self.fold.apply(recorded.fact, recorded.at)
            self.quality.add(recorded.fact)
            for fact in f.apart(recorded.fact):
                self._note(fact, recorded.at)
        return fresh

    def statuses(self) -> dict[str, NodeStatus]:
        """State of every node, those that run included."""
        now = self.installation.clock.now()
        return {node: self._with_activity(node, status, now) for node, status in run_statuses(self.fold).items()}

    def _with_activity(self, node: str, status: NodeStatus, now: float) -> NodeStatus:
        checked = self._checked(node)
        activity = self.activity.get(node)
        if activity is None:
            return status
        counts = dict(status.counts)
        running = min(activity.in_flight, counts.get("pending", 0)) if self._may_run(node) else 0
        if running:
            counts.update(running=running, pending=counts["pending"] - running)
        until = now if running else activity.until
        elapsed_s = None if activity.since is None or until is None else max(until - activity.since, 0.0)
        note = "" if status.state in ("succeeded", "cached") else status.note
        note = " · ".join(part for part in (checked, note) if part)
        return replace(status, counts=counts, elapsed_s=elapsed_s, note=note)

    def _may_run(self, node: str) -> bool:
        """False for a single step that was sent along with one whose output it needs, and waits for it there."""
        nodes = self.fold.nodes
        state = nodes[node]
        if state.many or state.parent is not None:
            return True
        for ref in dependencies(state.node):
            source = nodes[ref.node]
            item = ref.path[0] if source.many and ref.path else None
            if not (source.outputs.find(item) if isinstance(item, int) else source.has_output):
                return False
        return True

    def _checked(self, node: str) -> str:
        """What the checks of a node came to, in a few words."""
        counted = Counter(total.state for total in self.quality.totals(node))
        told = ", ".join(f"{counted[state]} {state}" for state in ("failed", "warned", "passed") if counted[state])
        return f"checks: {told}" if told else ""

    def _note(self, fact: f.Fact, at: float) -> None:
        if isinstance(fact, f.DriverStarted):
            for activity in self.activity.values():
                activity.in_flight = 0
            return
        if isinstance(fact, f.CodeChanged):
            calls = {name: name for name, state in self.fold.nodes.items() if state.parent is not None}
            left = {**calls, **fact.kept}.items()
            self.activity = {node: self.activity[was] for node, was in left if was in self.activity}
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
