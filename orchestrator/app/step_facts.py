"""What the facts of a run say about one step or map: read once, and then only what is new."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from orchestrator.app.reasons import reasons_of
from orchestrator.graph import fact as f

MOST_REASONS = 200


class StepFacts:
    """Facts about one step, or about a map as a whole if no item is named.

    Attributes:
        seq: Number of the last fact that was looked at.
        reasons: What happened and why, with the time; the last of it if that is very much.
        started: When it was first sent to a worker.
    """

    def __init__(self, node: str, item: int | None, origin: str) -> None:
        self._node, self._item, self._origin = node, item, origin
        self.seq = 0
        self.reasons: deque[tuple[float, str, str]] = deque(maxlen=MOST_REASONS)
        self.missed: f.CacheMissed | None = None
        self.completed: f.StepsCompleted | None = None
        self.started: float | None = None
        self.retries: list[tuple[float, f.AttemptFailed]] = []
        self.asked: float | None = None
        self.ended: float | None = None

    @property
    def begun(self) -> bool:
        """It was sent to a worker at least once."""
        return self.started is not None

    def read(self, facts: Iterable[f.Recorded]) -> None:
        """Take in what is new."""
        for recorded in facts:
            self.seq = recorded.seq
            for fact in f.apart(recorded.fact):
                for what, why in reasons_of(fact, recorded.at, self._node, self._item, self._origin):
                    self.reasons.append((recorded.at, what, why))
                if getattr(fact, "node", None) == self._node and _is_about(fact, self._item):
                    self._add(fact, recorded.at)

    def _add(self, fact: f.Fact, at: float) -> None:
        if isinstance(fact, f.CacheMissed):
            self.missed = fact
        elif isinstance(fact, f.StepsCompleted):
            self.completed, self.ended = fact, at
        elif isinstance(fact, f.StepsStarted):
            self.started = at if self.started is None else self.started
        elif isinstance(fact, f.AttemptFailed):
            self.retries.append((at, fact))
        elif isinstance(fact, f.ApprovalRequested):
            self.asked = at


def _is_about(fact: f.Fact, item: int | None) -> bool:
    index = getattr(fact, "index", None)
    if item is None or (index is None and not hasattr(fact, "start")):
        return True
    if index is not None:
        return bool(index == item)
    return bool(fact.start <= item < fact.stop)  # type: ignore[union-attr]
