"""From what was observed in the universes of a sweep to findings about steps: unsafe to repeat, why, and how to fix it.

Pure: observations and outcomes in, findings out. One finding for each kind and node, with the first evidence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from orchestrator.testing.checker import SAME_RESULT
from orchestrator.testing.observer import Observed
from orchestrator.testing.sweep import Swept, Universe
from orchestrator.testing.universe import NodeFacts

Kind = Literal[
    "output differs when repeated",
    "output differs between processes",
    "depends on earlier steps of its process",
    "fails when repeated",
    "acts on the outside without effects=True",
    "repeats its effect",
    "different payloads under one key",
    "changes its input",
    "changes global state",
    "promise broken",
]

FIXES: dict[Kind, str] = {
    "output differs when repeated":
        "draw from step().random or seed with step().seed, take the time from a parameter or from step().now() in a "
        "@dynamic body, and leave file times, process ids and uuids out of the output",
    "output differs between processes":
        "sort what comes out of a set before it decides an order, and use no hash(), id() or process id",
    "depends on earlier steps of its process":
        "pass what the step needs as an argument: after a crash it runs in a process where no earlier step ran",
    "fails when repeated":
        "make the body work when an earlier attempt has already done all or part of it (mkdir(exist_ok=True), replace "
        "instead of create)",
    "acts on the outside without effects=True":
        "declare @stage(effects=True) and hand step().key to the other side, or return the bytes instead of writing "
        "them; a step that only reads may ignore this",
    "repeats its effect":
        "hand step().key to the receiver as an idempotency key (a unique column, a file name, a header), so that the "
        "second time changes nothing",
    "different payloads under one key":
        "make the payload in a step before, without effects: its output is recorded once and is the same for every "
        "attempt",
    "changes its input": "copy the argument before changing it: another attempt, or another step, gets the same value",
    "changes global state":
        "keep nothing in module globals between steps: return it and pass it on, or make it a constant",
    "promise broken": "this is a fault of the engine, not of the pipeline: please report it with this evidence",
}  # fmt: skip
"""How to fix each kind."""


class Finding(NamedTuple):
    """Something unsafe: which step, what was seen, and what to do about it. ``step`` is empty for the engine's own."""

    step: str
    kind: Kind
    evidence: str
    fix: str


def findings(swept: Swept) -> list[Finding]:
    """All findings of a sweep, by node in the order of the graph; the engine's own faults last."""
    nodes = swept.reference.verdict.nodes
    nodes = {**nodes, **{n: v for u in swept.universes for n, v in u.verdict.nodes.items() if n not in nodes}}
    everything = [swept.reference, swept.other_process, *swept.universes]
    found: dict[tuple[str, Kind], Finding] = {}
    watched = bool(swept.reference.observed)
    for judge in (_differing, _failing, _acting, _sending, _changing) if watched else (_recorded, _failing):
        for finding in judge(everything, nodes):
            found.setdefault((finding.step.partition("[")[0], finding.kind), finding)
    order = {name: place for place, name in enumerate(nodes)}
    mine = sorted(found.values(), key=lambda finding: order.get(finding.step.partition("[")[0], len(order)))
    return [*mine, *_ours(swept, {finding.step.partition("[")[0] for finding in mine}, nodes)]


def _found(step: str, kind: Kind, evidence: str) -> Finding:
    return Finding(step, kind, evidence, FIXES[kind])


# ---- the same inputs, another output


def _differing(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Steps without effects that came out differently: at once, in another process, or without their predecessors."""
    unstable: set[str] = set()
    for seen in universes[0].observed:
        if seen.repeated and seen.output and seen.repeated != seen.output and seen.node not in unstable:
            unstable.add(seen.node)
            if not seen.globals_changed:
                text = f"the same inputs gave {seen.output} and, called again in the same process, {seen.repeated}"
                yield _found(seen.step, "output differs when repeated", text)
    unstable |= {seen.node for seen in universes[0].observed if seen.globals_changed}
    known = _outputs(universes[0])
    for number, universe in enumerate(universes[1:]):
        for seen in universe.observed:
            facts, before = nodes.get(seen.node), known.get((seen.step, seen.inputs))
            if facts is None or facts.effects or facts.kind == "dynamic" or seen.node in unstable or not seen.output:
                continue
            if before is not None and seen.output != before and not universe.created_anew:
                unstable.add(seen.node)
                kind: Kind = "output differs between processes" if number == 0 else (
                    "depends on earlier steps of its process")  # fmt: skip
                yield _found(seen.step, kind, f"the same inputs gave {before} without faults and {seen.output} in the "
                             f"run {universe.name}, in process {seen.pid}")  # fmt: skip


def _recorded(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """The same by what the journal holds, where bodies were not watched: the first steps that came out differently."""
    before = universes[0].verdict.outcomes
    for universe in universes[1:]:
        now = universe.verdict.outcomes
        differing = {step for step in before if step in now and before[step] != now[step] and not universe.created_anew}
        touched = {_node_of(step) for step in differing}
        for step in sorted(differing):
            facts = nodes.get(_node_of(step))
            if facts is not None and touched.isdisjoint(facts.needs) and len(before[step]) == len(now[step]):
                kind: Kind = "different payloads under one key" if facts.effects else "output differs when repeated"
                text = f"it gave {before[step]} without faults and {now[step]} in the run {universe.name}"
                yield _found(step, kind, text)


def _node_of(step: str) -> str:
    return step.partition("[")[0].rpartition(" ")[2]


def _outputs(universe: Universe) -> dict[tuple[str, str], str]:
    return {(seen.step, seen.inputs): seen.output for seen in universe.observed if seen.output}


def _failing(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Steps that failed where they had not failed without faults."""
    before = {step for step, _, _ in universes[0].verdict.failures}
    for universe in universes[1:]:
        for step, name, message in universe.verdict.failures:
            if step in before:
                continue
            if name == "ReplayMismatch":
                text = f"in the run {universe.name} it did not do the same again: {message}"
                yield _found(step, "output differs when repeated", text)
            else:
                yield _found(step, "fails when repeated", f"in the run {universe.name} it failed: {name}: {message}")


# ---- the outside


def _acting(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Steps without ``effects=True`` that touch the outside; those seen to do it twice in one run first."""
    for times in (2, 1):
        for universe in [*universes[1:], universes[0]]:
            for step, seen in _by_step(universe.observed):
                facts = nodes.get(seen[0].node)
                if facts is None or facts.effects:
                    continue
                for what, target, count in _touches(seen):
                    if count >= times:
                        often = f"it did so {count} times in the run {universe.name}" if count > 1 else (
                            "a crash after it would do so again")  # fmt: skip
                        text = f"it {what} {target}; {often}"
                        yield _found(step, "acts on the outside without effects=True", text)
                        break


def _sending(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Steps with effects: those that repeat them without a key, and those that send something else the second time."""
    for universe in universes[1:]:
        for step, seen in _by_step(universe.observed):
            facts = nodes.get(seen[0].node)
            if facts is None or not facts.effects or len(seen) < 2:
                continue
            keyed = facts.reads_key or any(one.key_read for one in seen)
            twice = next(((what, target) for what, target, count in _touches(seen) if count > 1), None)
            if not keyed and (twice or not facts.uses):
                what = f"it {twice[0]} {twice[1]}" if twice else "what it does cannot be seen from here"
                text = f"it ran {len(seen)} times in the run {universe.name} and never read step().key: {what}"
                yield _found(step, "repeats its effect", text)
            sent = _payloads(seen)
            if len(sent) > 1 and len({one.inputs for one in seen}) == 1:
                text = f"attempts in the run {universe.name} with the same key and inputs sent {' and '.join(sent)}"
                yield _found(step, "different payloads under one key", text)


def _payloads(seen: Iterable[Observed]) -> list[str]:
    """Digests of what each attempt wrote, or of what it returned if nothing was written; in order, each once."""
    written = [touch.payload for one in seen for touch in one.touched if touch.what == "writes" and touch.payload]
    returned = [one.output for one in seen if one.output]
    found = list(dict.fromkeys(returned))
    return found if len(found) > 1 else list(dict.fromkeys(written)) if _single_target(seen) else found


def _single_target(seen: Iterable[Observed]) -> bool:
    return len({touch.target for one in seen for touch in one.touched if touch.what == "writes"}) == 1


def _by_step(observed: Iterable[Observed]) -> Iterator[tuple[str, list[Observed]]]:
    found: defaultdict[str, list[Observed]] = defaultdict(list)
    for seen in observed:
        found[seen.step].append(seen)
    return iter(found.items())


def _touches(seen: Iterable[Observed]) -> Iterator[tuple[str, str, int]]:
    """What was done to which target by how many of these calls, most often first."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in seen:
        for touch in {(touch.what, touch.target) for touch in one.touched}:
            counts[touch] += 1
    for (what, target), count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        yield what, target, count


# ---- inputs and globals


def _changing(universes: Sequence[Universe], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    for universe in universes:
        for seen in universe.observed:
            if seen.mutated:
                yield _found(
                    seen.step, "changes its input", f"after the body, {_named(seen.mutated)} had another value"
                )
            if seen.globals_changed:
                text = f"after the body, the global {_named(seen.globals_changed)} had another value"
                yield _found(seen.step, "changes global state", text)


def _named(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names)


# ---- our own


def _ours(swept: Swept, unsafe: set[str], nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Broken promises, one of each. Other results are the engine's fault only where no unsafe step is upstream."""
    excused = _downstream(unsafe, nodes)
    told: set[str] = set()
    for where, violation in swept.violations:
        node = violation.evidence.partition("[")[0].rpartition(" ")[2]
        is_theirs = violation.promise == SAME_RESULT and (node in excused or (unsafe and node not in nodes))
        if not is_theirs and violation.promise not in told:
            told.add(violation.promise)
            yield _found("", "promise broken", f"{violation.promise}: {violation.evidence} ({where})")


def _downstream(nodes: set[str], facts: Mapping[str, NodeFacts]) -> set[str]:
    """These nodes and all whose outputs depend on theirs."""
    found, grew = set(nodes), True
    while grew:
        more = {name for name, node in facts.items() if name not in found and not found.isdisjoint(node.needs)}
        found |= more
        grew = bool(more)
    return found
