"""Why steps ran, what they wait and waited for, and what they took, as documents."""

from __future__ import annotations

from orchestrator.api import schemas as s
from orchestrator.api.describing import iso, step_of
from orchestrator.app.explaining import explain
from orchestrator.app.record import RunRecord
from orchestrator.app.waiting import Wait, waits_of
from orchestrator.backends.supply import describe_need
from orchestrator.engine.state import NodeState

_WORKING = frozenset({"stage", "dynamic"})


def wait_of(wait: Wait) -> s.StepWait:
    """What waits."""
    return s.StepWait(
        node=wait.node, steps=wait.steps, kind=wait.kind, text=wait.text, on=list(wait.on), needs=wait.needs,
        since=iso(wait.since), until=iso(wait.until),
    )  # fmt: skip


def whole_step(record: RunRecord, state: NodeState, index: int | None) -> s.StepDetail:
    """A step with all that is known of it."""
    extra = {
        "waits": _waits(record, state.node.id), "explanation": _explanation(record, state, index),
        "resources": _resources(record, state, index),
    }  # fmt: skip
    return step_of(record, state, index).model_copy(update=extra)


def _waits(record: RunRecord, node: str) -> list[s.StepWait]:
    """What a node waits for now."""
    return [wait_of(wait) for wait in waits_of(record) if wait.node == node]


def _explanation(record: RunRecord, state: NodeState, index: int | None) -> s.Explanation:
    """What ``orc why`` says."""
    found = explain(record, state, index)
    waited = [
        s.TimeWaited(
            what=one.for_, since=iso(one.since) or "", until=iso(one.until), waited_s=one.waited_s, why=one.why
        )
        for one in found.waits
    ]
    parts = [s.KeyPart(name=part.name, before=part.before, now=part.now) for part in found.key_parts]
    return s.Explanation(because=found.because, waited=waited, nearest=found.nearest, key_parts=parts)


def _resources(record: RunRecord, state: NodeState, index: int | None) -> s.StepResources | None:
    """What a step asked for and took; of a whole map, all of its steps together."""
    if state.node.kind not in _WORKING:
        return None
    need = state.node.policy.resources
    used = record.items.of(state.node.id).usage(index if state.node.many else None)
    return s.StepResources(
        requested=describe_need(need), cpus=need.num_cpus, memory=need.memory,
        wall_s=used.wall_s if used else None, cpu_s=used.cpu_s or None if used else None,
        peak_bytes=used.peak_bytes or None if used else None,
    )  # fmt: skip
