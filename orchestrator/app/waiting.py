"""What the steps of a run wait for, and what they waited for: inputs, workers, answers, the next attempt."""

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
"""Nodes that are named of those that had the workers."""


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


@dataclass(frozen=True, slots=True)
class Waited:
    """Why a node did not begin earlier.

    Attributes:
        last_input: The node whose output came last; empty if it needs none.
        ready_at, started_at: Wall-clock seconds.
        meanwhile: Nodes that had workers between the two, longest first; ``others`` counts those that are not named.
    """

    last_input: str
    ready_at: float
    started_at: float | None
    meanwhile: tuple[str, ...]
    others: int
    needs: str
    worker_came_up: bool


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


def waited_for(record: RunRecord, name: str) -> Waited | None:
    """Why a node did not begin earlier; None if it was not ready yet."""
    times = record.times()
    ready, began = times[name].ready_at, times[name].started_at
    if ready is None:
        return None
    ended = {need: times[need].ended_at for need in record.needs(name)
             if record.fold.nodes[need].node.kind not in CONTROL_KINDS}  # fmt: skip
    last = max(ended, key=lambda need: ended[need] or 0.0, default="")
    until = began if began is not None else record.installation.clock.now()
    shares: dict[str, float] = {}
    for other, one in times.items():
        if other == name or one.started_at is None or record.fold.nodes[other].node.kind in CONTROL_KINDS:
            continue
        shared = min(until, one.ended_at or until) - max(ready, one.started_at)
        if shared > 0:
            shares[other] = shared
    busy = sorted(shares, key=lambda other: -shares[other])
    starts = record.items.of(name).starts
    up = record.came_up(starts[0].worker) if starts else None
    return Waited(
        last, ready, began, tuple(busy[:_TOLD]), max(len(busy) - _TOLD, 0),
        describe_need(record.fold.nodes[name].node.policy.resources), up is not None and up > ready,
    )  # fmt: skip
