"""What must hold of every run, checked from its journal and the steps' own ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestrator.errors import OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Journal
from orchestrator.testing.ledger import Started


class Violation(NamedTuple):
    """A promise that was broken, with the evidence."""

    promise: str
    evidence: str


def check_run(journal: Journal, run: str, ledger: Sequence[Started] = (), acknowledged_seq: int = 0) -> list[Violation]:
    """Violations of the durability promises; empty if all hold.

    Args:
        ledger: Lines that steps of the run wrote.
        acknowledged_seq: Highest sequence number that somebody was told is durable.
    """
    try:
        facts = list(journal.facts(run))
    except OrchestratorError as error:
        return [Violation("the journal of a run is gap-free and readable", str(error))]
    mine = [line for line in ledger if line.run == run]
    return [
        *_complete(facts, acknowledged_seq),
        *_one_outcome(facts),
        *_epochs_rise(facts),
        *_no_start_after_outcome(facts, mine),
        *_one_payload_a_key(mine),
    ]


def _complete(facts: Sequence[f.Recorded], acknowledged_seq: int) -> Iterable[Violation]:
    for expected, recorded in enumerate(facts, 1):
        if recorded.seq != expected:
            yield Violation("facts are gap-free", f"fact {expected} is missing, {recorded.seq} follows")
            return
    if len(facts) < acknowledged_seq:
        yield Violation("acknowledged facts are there", f"{acknowledged_seq} were acknowledged, {len(facts)} are there")


def _outcomes(facts: Iterable[f.Recorded]) -> Iterable[tuple[tuple[str, int], float]]:
    for recorded in facts:
        for fact in f.apart(recorded.fact):
            if isinstance(fact, f.StepsCompleted | f.StepsSkipped):
                for index in range(fact.start, fact.stop):
                    yield (fact.node, index), recorded.at
            elif isinstance(fact, f.StepFailed) and fact.action in ("fail", "drop"):
                yield (fact.node, fact.index), recorded.at


def _one_outcome(facts: Sequence[f.Recorded]) -> Iterable[Violation]:
    for (node, index), count in Counter(step for step, _ in _outcomes(_since_dropped(facts))).items():
        if count > 1:
            yield Violation("at most one outcome per step", f"{node}[{index}] has {count}")


def _since_dropped(facts: Sequence[f.Recorded]) -> Iterable[f.Recorded]:
    """Facts without what changed code took back: outcomes of a node before it was last dropped."""
    changes = [(recorded.seq, recorded.fact) for recorded in facts if isinstance(recorded.fact, f.CodeChanged)]
    for recorded in facts:
        later = [fact for seq, fact in changes if seq > recorded.seq]
        apart = [fact for fact in f.apart(recorded.fact)
                 if all(getattr(fact, "node", "") in _unmoved(change) for change in later)]  # fmt: skip
        yield from (f.Recorded(recorded.seq, recorded.at, fact) for fact in apart)


def _unmoved(change: f.CodeChanged) -> set[str]:
    """Nodes that have kept their outcomes under their own id."""
    return {node for node, was in change.kept.items() if node == was}


def _epochs_rise(facts: Iterable[f.Recorded]) -> Iterable[Violation]:
    epoch = 0
    for recorded in facts:
        if isinstance(recorded.fact, f.DriverStarted):
            if recorded.fact.epoch <= epoch:
                yield Violation("epochs rise", f"epoch {recorded.fact.epoch} follows {epoch} at fact {recorded.seq}")
            epoch = recorded.fact.epoch


def _no_start_after_outcome(facts: Iterable[f.Recorded], ledger: Iterable[Started]) -> Iterable[Violation]:
    settled_at = {f"{node}[{index}]": at for (node, index), at in _outcomes(facts)}
    for line in ledger:
        at = settled_at.get(line.step)
        if at is not None and line.at > at:
            yield Violation(
                "no step starts after its outcome", f"{line.step} began {line.at - at:.3f} s after it was recorded"
            )


def _one_payload_a_key(ledger: Iterable[Started]) -> Iterable[Violation]:
    payloads: defaultdict[str, set[str]] = defaultdict(set)
    for line in ledger:
        if line.key:
            payloads[line.key].add(line.payload)
    for key, seen in payloads.items():
        if len(seen) > 1:
            yield Violation("one idempotency key never carries two payloads", f"{key} carried {sorted(seen)}")
