"""What steps of a run wait for now: inputs, workers, answers, the next attempt. For the past see ``explaining``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.app.following import CONTROL_KINDS
from orchestrator.backends.supply import describe_need
from orchestrator.graph import fact as f

if TYPE_CHECKING:
    from orchestrator.app.record import RunRecord
    from orchestrator.engine.state import NodeState

WaitKind = Literal["input", "worker", "answer", "retry", "driver"]

_TOLD = 3
"""Nodes that are named of those whose outputs are missing."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Steps of one node that wait.

    Attributes:
        on: Nodes whose outputs are missing.
        needs: What each of them asks for, in the words of the stage's options.
        since, until: Wall-clock seconds, as far as known.
    """

    node: str
    steps: int | None
    kind: WaitKind
    text: str
    on: tuple[str, ...] = ()
    needs: str = ""
    since: float | None = None
    until: float | None = None


def waits_of(record: RunRecord) -> Iterator[Wait]:
    """What waits in a run that has not ended, in the order of the graph."""
    if record.row.state in f.FINISHED:
        return
    statuses, times, fold = record.statuses(), record.times(), record.fold
    due: dict[str, float] = {}
    for (node, _), at in fold.retrying.items():
        due[node] = min(at, due.get(node, at))
    for name, state in fold.nodes.items():
        if state.node.kind in CONTROL_KINDS or state.is_settled:
            continue
        counts = statuses[name].counts
        asked = fold.waiting.get(name)
        if asked is not None:
            yield Wait(name, 1, "answer", asked.text or "an answer", until=asked.deadline)
        if counts.get("retrying"):
            yield Wait(name, counts["retrying"], "retry", "its next attempt", until=due.get(name))
        pending = counts.get("pending", 0)
        if (pending or not state.closed) and asked is None:
            yield _pending(record, state, pending if state.closed else None, times[name].ready_at)


def _pending(record: RunRecord, state: NodeState, steps: int | None, ready_at: float | None) -> Wait:
    name = state.node.id
    open_ = [need for need in record.needs(name) if not record.fold.nodes[need].is_settled]
    named = tuple(need for need in record.fold.nodes if need in open_
                  and record.fold.nodes[need].node.kind not in CONTROL_KINDS)  # fmt: skip
    if named:
        return Wait(name, steps, "input", "the output of " + ", ".join(named[:_TOLD])
                    + (f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""), named)  # fmt: skip
    if record.driver is None:
        return Wait(name, steps, "driver", "a driver: nobody drives the run", since=ready_at)
    return Wait(name, steps, "worker", "a worker", (), describe_need(state.node.policy.resources), ready_at)
