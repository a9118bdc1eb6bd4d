"""What must hold of every run, as nine promises that can each be found broken.

The evidence comes from outside the engine: lines that steps wrote (``Started``), lines that clients wrote when they
were told that facts are durable (``Acknowledged``), and the results of a run without faults. It is joined with the
journal as it stands now. ``check_run`` checks what one run shows by itself; the other functions what takes more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.errors import OrchestratorError
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Records
from orchestrator.testing.ledger import Acknowledged, Started, fact_digest

FACTS_COMPLETE = "facts of a run are gap-free and every acknowledged one is there"
ONE_OUTCOME = "at most one outcome per step"
NO_START_AFTER_OUTCOME = "no step starts after its outcome"
NEWEST_EPOCH = "no write is accepted below the newest epoch"
PROGRESS = "once faults stop, a run ends, waits or goes on within two lease periods"
SAME_RESULT = "results have the digests of a run without faults"
NOTHING_LEAKED = "no lease, worker, temporary file or process is left behind"
ONE_RUN_PER_KEY = "one trigger key, one run"
ONE_PAYLOAD_PER_KEY = "one idempotency key never carries two payloads"

PROMISES = (
    FACTS_COMPLETE, ONE_OUTCOME, NO_START_AFTER_OUTCOME, NEWEST_EPOCH, PROGRESS, SAME_RESULT, NOTHING_LEAKED,
    ONE_RUN_PER_KEY, ONE_PAYLOAD_PER_KEY,
)  # fmt: skip
"""Every promise, in the words that a violation names it by."""

LEASE_S = 10.0
"""How long a driver that died may keep others waiting where the store uses leases."""


class Violation(NamedTuple):
    """A promise that was broken, with the evidence."""

    promise: str
    evidence: str


def check_run(
    journal: Records,
    run: str,
    ledger: Iterable[Started] = (),
    acknowledged_seq: int = 0,
    acknowledged: Iterable[Acknowledged] = (),
) -> list[Violation]:
    """What a run's facts and the evidence about it show to be broken; empty if every promise holds.

    Args:
        ledger: Lines that steps of the run wrote.
        acknowledged_seq: Highest sequence number that somebody was told is durable.
        acknowledged: Lines that clients wrote, in order.
    """
    try:
        facts = list(journal.facts(run))
    except OrchestratorError as error:
        return [Violation(FACTS_COMPLETE, str(error))]
    mine = [line for line in ledger if line.run == run]
    told = [line for line in acknowledged if line.run in (run, "")]
    return check_facts(facts, mine, acknowledged_seq, told)


def check_facts(
    facts: Sequence[f.Recorded],
    ledger: Sequence[Started] = (),
    acknowledged_seq: int = 0,
    acknowledged: Sequence[Acknowledged] = (),
) -> list[Violation]:
    """As ``check_run``, for the facts of one run and the lines about it."""
    return [
        *_complete(facts, acknowledged_seq),
        *_acknowledged(facts, acknowledged),
        *_one_outcome(facts),
        *_no_start_after_outcome(facts, ledger),
        *_newest_epoch(facts, acknowledged),
        *check_payloads((line.key, line.payload) for line in ledger if line.key),
    ]


# ---- facts


def _complete(facts: Sequence[f.Recorded], acknowledged_seq: int) -> Iterable[Violation]:
    for expected, recorded in enumerate(facts, 1):
        if recorded.seq != expected:
            yield Violation(FACTS_COMPLETE, f"fact {expected} is missing, {recorded.seq} follows")
            return
    if len(facts) < acknowledged_seq:
        yield Violation(FACTS_COMPLETE, f"{acknowledged_seq} facts were acknowledged, {len(facts)} are there")


def _acknowledged(facts: Sequence[f.Recorded], acknowledged: Sequence[Acknowledged]) -> Iterable[Violation]:
    """Each group that a client was told of stands in the journal as it was told: whole, and in its order."""
    if not acknowledged:
        return
    places = _places(facts)
    for number, line in enumerate(acknowledged, 1):
        if line.facts and _place(line, places) is None:
            text = f"acknowledgement {number} (epoch {line.epoch}, {len(line.facts)} facts, at {line.at})"
            yield Violation(FACTS_COMPLETE, f"{text} is not in the journal")


def _places(facts: Sequence[f.Recorded]) -> dict[float, list[tuple[int, str]]]:
    """(place, digest) of the facts that were committed at a time."""
    found: defaultdict[float, list[tuple[int, str]]] = defaultdict(list)
    for place, recorded in enumerate(facts):
        found[recorded.at].append((place, fact_digest(recorded.fact)))
    return found


def _place(line: Acknowledged, places: Mapping[float, list[tuple[int, str]]]) -> int | None:
    """Where a group of facts begins in the journal; None if it is not there in one piece."""
    there = places.get(line.at, [])
    digests = [digest for _, digest in there]
    for start in range(len(there) - len(line.facts) + 1):
        if tuple(digests[start : start + len(line.facts)]) == line.facts:
            return there[start][0]
    return None


def _newest_epoch(facts: Sequence[f.Recorded], acknowledged: Sequence[Acknowledged]) -> Iterable[Violation]:
    epoch, since = 0, {}
    for place, recorded in enumerate(facts):
        if isinstance(recorded.fact, f.DriverStarted):
            if recorded.fact.epoch <= epoch:
                text = f"epoch {recorded.fact.epoch} follows {epoch} at fact {recorded.seq}"
                yield Violation(NEWEST_EPOCH, text)
            epoch = max(epoch, recorded.fact.epoch)
        since[place] = epoch
    places = _places(facts) if acknowledged else {}
    for line in acknowledged:
        place_of = _place(line, places) if line.facts else None
        if place_of is not None and line.epoch < since[place_of]:
            text = f"fact {facts[place_of].seq} of epoch {line.epoch} was accepted under epoch {since[place_of]}"
            yield Violation(NEWEST_EPOCH, text)


# ---- steps


def outcomes(facts: Iterable[f.Recorded]) -> Iterable[tuple[str, f.Recorded]]:
    """The address of each step that has its outcome, with the fact that says so; a stream's batches count too."""
    for recorded in facts:
        for fact in f.apart(recorded.fact):
            if isinstance(fact, f.StepsCompleted | f.StepsSkipped):
                for index in range(fact.start, fact.stop):
                    yield f"{fact.node}[{index}]", recorded
            elif isinstance(fact, f.StepFailed) and fact.action in ("fail", "drop"):
                yield f"{fact.node}[{fact.index}]", recorded
            elif isinstance(fact, f.BatchesProduced):
                for index in range(fact.start, fact.stop):
                    yield f"batch {index} of {fact.node}", recorded


def _one_outcome(facts: Sequence[f.Recorded]) -> Iterable[Violation]:
    for address, count in Counter(address for address, _ in outcomes(_since_dropped(facts))).items():
        if count > 1:
            yield Violation(ONE_OUTCOME, f"{address} has {count}")


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


def _no_start_after_outcome(facts: Sequence[f.Recorded], ledger: Iterable[Started]) -> Iterable[Violation]:
    settled: dict[str, f.Recorded] = {}
    for address, recorded in outcomes(_since_dropped(facts)):
        settled.setdefault(address, recorded)
    for recorded in facts:
        for fact in f.apart(recorded.fact):
            if isinstance(fact, f.StepsStarted):
                for index in range(fact.start, fact.stop):
                    outcome = settled.get(f"{fact.node}[{index}]")
                    if outcome is not None and outcome.seq < recorded.seq:
                        text = f"{fact.node}[{index}] ended with fact {outcome.seq} and started with {recorded.seq}"
                        yield Violation(NO_START_AFTER_OUTCOME, text)
    for line in ledger:
        outcome = settled.get(line.step)
        if outcome is not None and line.at > outcome.at:
            text = f"{line.step} began {line.at - outcome.at:.3f} s after it was recorded (epoch {line.epoch})"
            yield Violation(NO_START_AFTER_OUTCOME, text)


def check_payloads(sent: Iterable[tuple[str, str]]) -> list[Violation]:
    """Keys that carried more than one payload, from pairs of idempotency key and payload."""
    payloads: defaultdict[str, set[str]] = defaultdict(set)
    for key, payload in sent:
        payloads[key].add(payload)
    return [
        Violation(ONE_PAYLOAD_PER_KEY, f"{key} carried {sorted(seen)}")
        for key, seen in payloads.items() if len(seen) > 1
    ]  # fmt: skip


# ---- what takes more than the facts of one run


def check_progress(
    facts: Sequence[f.Recorded], state: f.RunState, faults_stopped_at: float, now: float, lease_s: float = LEASE_S
) -> list[Violation]:
    """Whether a run has ended, waits for somebody, or has gone on at least every two lease periods.

    Args:
        state: The run's state in the journal's index.
        faults_stopped_at, now: Wall-clock seconds.
    """
    if state in f.FINISHED:
        return []
    if state == "waiting" and _asks(facts):
        return []
    times = [faults_stopped_at, *(recorded.at for recorded in facts if recorded.at > faults_stopped_at), now]
    longest_s = max((b - a for a, b in pairwise(times)), default=0.0)
    if longest_s <= 2 * lease_s:
        return []
    return [Violation(PROGRESS, f"the run is {state} and nothing was recorded for {longest_s:.1f} s")]


def _asks(facts: Iterable[f.Recorded]) -> bool:
    """True if some step has asked for an answer and has none."""
    asked: set[str] = set()
    for recorded in facts:
        if isinstance(recorded.fact, f.ApprovalRequested):
            asked.add(f"{recorded.fact.node}[0]")
        asked.difference_update(address for address, _ in outcomes([recorded]))
    return bool(asked)


def check_results(reference: Mapping[str, str], found: Mapping[str, str]) -> list[Violation]:
    """Whether a run has the outcomes of one without faults: by step, the digest of its output or what became of it."""
    return [
        Violation(SAME_RESULT, f"{step} has {found.get(step, 'no outcome')}, without faults {reference.get(step)}")
        for step in sorted({*reference, *found})
        if reference.get(step) != found.get(step)
    ]


def check_leaks(before: Mapping[str, Iterable[str]], after: Mapping[str, Iterable[str]]) -> list[Violation]:
    """What is there now and was not before: names by kind, such as ``{"process": ["4711"], "lease": [run]}``."""
    return [
        Violation(NOTHING_LEAKED, f"{kind} {name} is left")
        for kind, names in after.items()
        for name in sorted(set(names) - set(before.get(kind, ())))
    ]


def check_trigger_keys(runs: Iterable[tuple[str | None, str]]) -> list[Violation]:
    """Trigger keys that made more than one run, from pairs of key (None without one) and run id."""
    made: defaultdict[str, set[str]] = defaultdict(set)
    for key, run in runs:
        if key is not None:
            made[key].add(run)
    return [Violation(ONE_RUN_PER_KEY, f"{key} made {sorted(ids)}") for key, ids in made.items() if len(ids) > 1]
