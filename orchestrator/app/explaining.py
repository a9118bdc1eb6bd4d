"""Why a step ran, what it waited for, and what the cache had to do with it: from the facts of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from orchestrator.app.following import CONTROL_KINDS
from orchestrator.app.step_inputs import StepInput, inputs_of
from orchestrator.engine.state import SETTLED
from orchestrator.errors import OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.graph.node import dependencies

if TYPE_CHECKING:
    from orchestrator.app.record import NodeTimes, RunRecord
    from orchestrator.app.step_facts import StepFacts
    from orchestrator.engine.state import NodeState, RunFold
    from orchestrator.graph.node import Node

Times: TypeAlias = "Mapping[str, NodeTimes]"

WORTH_S = 0.001
"""Shorter waits are not worth saying."""

_NAMED = 3


class Waited(NamedTuple):
    """A time in which a step could not go on.

    Attributes:
        for_: ``input``, ``worker``, ``retry`` or ``answer``.
        until: Wall-clock seconds; None while it goes on, and ``waited_s`` is how long so far.
        why: What exactly it waited for.
    """

    for_: Literal["input", "worker", "retry", "answer"]
    since: float
    until: float | None
    waited_s: float
    why: str


class KeyPart(NamedTuple):
    """A part of a cache key that decided; values as they look, or the beginnings of their digests."""

    name: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a step is as it is.

    Attributes:
        because: Why it ran, or did not.
        nearest: The run whose stored output it would have taken, had these parts of its key been the same.
    """

    because: str
    waits: list[Waited]
    nearest: str
    key_parts: list[KeyPart]
    inputs: list[StepInput]
    failure: f.Failure | None


def explain(record: RunRecord, state: NodeState, index: int | None) -> Explanation:
    """Explain a step; a map as a whole if no item is named."""
    item = 0 if index is None and not state.node.is_map else index
    facts, times = record.step_facts(state, index), record.times()
    single = item if item is not None else min(state.failures, default=None)
    failure = None if single is None else state.failures.get(single)
    return Explanation(
        _because(record, state, item, facts),
        [wait for wait in _waits(record, state, item, facts, times) if wait.waited_s >= WORTH_S],
        facts.missed.nearest if facts.missed else "",
        list(_key_parts(record, state, single, facts.missed)),
        [] if single is None else inputs_of(record.installation, record.fold, state, single),
        failure,
    )


# ---- why it ran


def _because(record: RunRecord, state: NodeState, item: int | None, facts: StepFacts) -> str:
    created = record.fold.created
    if state.node.kind in ("approval", "signal"):
        return "it asks, and goes on when it is answered"
    if facts.completed is not None and facts.completed.cached:
        origin = facts.completed.cached
        if created is not None and created.forked and origin == created.origin:
            return f"history: taken over from run {origin}, of which this run is a fork from {created.forked}"
        if created is not None and origin == created.origin:
            return f"taken over from run {origin}, whose record this run goes on with"
        return f"its output was in the cache: same code and inputs as in run {origin}"
    if state.skipped:
        return _skipped(record.fold, state.node)
    if not _ran(state, item, facts) and (not facts.begun or record.row.state in f.FINISHED):
        if record.row.state in f.FINISHED:
            return "it did not run: what it needs failed, or the run ended before it"
        return ""
    if state.node.policy.cache_s is None:
        why = "its stage has no cache, so it runs in every run"
    elif state.node.policy.effects:
        why = "it has effects, so its output is never taken from the cache"
    else:
        why = "its output was not in the cache" + (f": {facts.missed.reason}" if facts.missed else "")
    if created is not None and created.forked:
        forked = created.forked.partition("[")[0]
        point = "it" if state.node.id == forked else created.forked
        return f"this run was forked from {point}; {why}"
    return why


def _ran(state: NodeState, item: int | None, facts: StepFacts) -> bool:
    """True if a body came to an end, one way or the other: what was sent in one bundle may not have begun."""
    return facts.completed is not None or bool(state.failures if item is None else item in state.failures)


def _skipped(fold: RunFold, node: Node) -> str:
    for guard in node.guards:
        branch = fold.nodes.get(guard.branch)
        if branch is not None and branch.truth is not None and branch.truth != guard.expected:
            made = next((ref.node for ref in dependencies(branch.node)), guard.branch)
            return f"its branch was not taken: {made} was {'true' if branch.truth else 'false'}"
    return "what it needs failed, or the run ended before it"


def _is_open(state: NodeState, item: int | None) -> bool:
    return not state.is_settled if item is None else state.status[item] not in SETTLED


# ---- what it waited for


def _waits(record: RunRecord, state: NodeState, item: int | None, facts: StepFacts, times: Times) -> Iterator[Waited]:
    """In order of time; nothing for what was taken over."""
    if facts.completed is not None and facts.completed.cached:
        return
    own, still = times[state.node.id], record.row.finished_at or record.installation.clock.now()
    begun = record.drivers[0][0] if record.drivers else None
    if begun is not None and record.row.finished_at is not None and not _ran(state, item, facts):
        never = [need for need in _needs(record, state) if not record.fold.nodes[need].has_output]
        if never and not state.skipped:
            yield Waited("input", begun, None, still - begun, f"for {_listed(never)}, which never came")
        return
    if begun is not None and (own.ready_at is not None or _is_open(state, item)):
        until = own.ready_at
        told = _last_input(record, state, times) if until is not None else _open_inputs(record, state)
        if told:
            yield Waited("input", begun, until, (until or still) - begun, told)
    started = facts.started
    if not state.node.is_map and own.started_at is not None:
        started = own.started_at
    is_work = state.node.kind in ("stage", "dynamic") and (started is not None or _is_open(state, item))
    if own.ready_at is not None and is_work:
        why = for_worker(record, state, times, own.ready_at, started)
        yield Waited("worker", own.ready_at, started, (started or still) - own.ready_at, why)
    yield from _retried(facts.retries, together=item is None)
    if facts.asked is not None:
        asked = state.node.prompt
        yield Waited("answer", facts.asked, facts.ended, (facts.ended or still) - facts.asked, f"for {asked!r}")


def _retried(retries: list[tuple[float, f.AttemptFailed]], together: bool) -> Iterator[Waited]:
    """Waits between attempts: each of a step, those of all items of a map together by the error."""
    groups: dict[str, list[tuple[float, f.AttemptFailed]]] = {}
    for place, one in enumerate(retries):
        groups.setdefault(one[1].failure.name if together else str(place), []).append(one)
    for group in groups.values():
        error, until = group[0][1].failure.name, max(failed.retry_at for _, failed in group)
        longest = max(0.0, *(failed.retry_at - at for at, failed in group))
        why = f"after {error}, before it was tried again"
        if len(group) > 1:
            why = f"at most before an item was tried again after {error}, {len(group):,} times"
        yield Waited("retry", group[0][0], until, longest, why)


def _last_input(record: RunRecord, state: NodeState, times: Times) -> str:
    """The input that came last."""
    needed = [(times[need].ended_at or 0.0, need) for need in _needs(record, state) if need in times]
    if not needed:
        return ""
    return f"for its input {max(needed)[1]}" + (f", the last of {len(needed)}" if len(needed) > 1 else "")


def _open_inputs(record: RunRecord, state: NodeState) -> str:
    nodes = record.fold.nodes
    open_ = [need for need in _needs(record, state) if need in nodes and not nodes[need].is_settled]
    return f"for its inputs {_listed(open_)}" if len(open_) > 1 else f"for its input {open_[0]}" if open_ else ""


def _needs(record: RunRecord, state: NodeState) -> list[str]:
    """Nodes with work of their own that a node needs."""
    nodes = record.fold.nodes
    return sorted(need for need in record.needs(state.node.id) if nodes[need].node.kind not in CONTROL_KINDS)


def for_worker(record: RunRecord, state: NodeState, all_times: Times, since: float, until: float | None) -> str:
    """Which resource, from which queue, and who had it meanwhile."""
    driver = record.drivers[-1][1] if record.drivers else None
    slots = f" of {driver.slots}" if driver is not None and driver.slots else ""
    node, resources = state.node, state.node.policy.resources
    if node.kind == "dynamic" or node.policy.streaming:
        wanted = "for a host process of its own, which takes no slot"
    elif node.policy.light:
        wanted = f"for a slot{slots}, in the queue of light steps"
    else:
        asked = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus, "memory": resources.memory,
                 **resources.resources}  # fmt: skip
        amounts = ", ".join(f"{name}={amount:g}" for name, amount in asked.items() if amount)
        wanted = f"for {amounts or 'a worker of its own'}, in the queue of heavy steps"
    busy = [
        name
        for name, times in all_times.items()
        if name != node.id and record.fold.nodes[name].node.kind not in CONTROL_KINDS
        and times.started_at is not None and times.started_at < (until or since + 1e9)
        and (times.ended_at is None or times.ended_at > since)
    ]  # fmt: skip
    came_up = [at for at, _ in record.workers if since <= at <= (until or at)]
    told = f"; meanwhile ran {_listed(busy)}" if busy else ""
    return wanted + told + ("; a worker had to be started" if came_up else "")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# ---- the cache


def _key_parts(
    record: RunRecord, state: NodeState, item: int | None, missed: f.CacheMissed | None
) -> Iterator[KeyPart]:
    """The parts of the key that were others, as they look where the record of the other run still says so."""
    if missed is None or not missed.changed:
        return
    before = _inputs_there(record, state, missed.nearest)
    here = record.installation
    now = {one.name: one.preview for one in inputs_of(here, record.fold, state, 0 if item is None else item)}
    for name, (was, is_now) in missed.changed.items():
        argument = name.removeprefix("argument ")
        looks = before.get(argument, ""), now.get(argument, "")
        if name == argument or not all(looks) or looks[0] == looks[1] or state.node.is_map:
            looks = _short(was), _short(is_now)
        yield KeyPart(name, *looks)


def _inputs_there(record: RunRecord, state: NodeState, run: str) -> dict[str, str]:
    """Arguments of the same stage in another run by name, if that is still on record."""
    here = record.installation
    try:
        fold = here.fold(run)
        same = [one for one in fold.nodes.values() if _ref(one) == _ref(state) and not one.node.is_map]
        other = next((one for one in same if one.node.id == state.node.id), same[0] if same else None)
        return {} if other is None else {one.name: one.preview for one in inputs_of(here, fold, other, 0)}
    except OrchestratorError:
        return {}


def _ref(state: NodeState) -> str | None:
    return state.node.stage.ref if state.node.stage is not None else None


def _short(part: str) -> str:
    """``int 3`` as ``3``; the beginning of a digest; ``-`` for none."""
    kind, _, value = part.partition(" ")
    if kind in ("int", "float", "bool") and value:
        return value
    return part[:12] if len(part) >= 32 and " " not in part else part or "-"
