"""Every promise can be found broken: histories that keep all of them, and the same histories doctored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.app.installation import Installation
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, RunRow
from orchestrator.testing import (
    PROMISES,
    Acknowledged,
    AcknowledgementFile,
    InProcess,
    Started,
    Violation,
    check_facts,
    check_leaks,
    check_payloads,
    check_progress,
    check_results,
    check_run,
    check_trigger_keys,
    fact_digest,
    read_acknowledgements,
    read_ledger,
)
from orchestrator.testing import checker as c
from tests.app import flows

RUN = "run-1"


@dataclass
class History:
    """A run as its journal, its steps and its clients tell it."""

    facts: list[f.Recorded] = field(default_factory=list)
    ledger: list[Started] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)

    def commit(self, epoch: int, at: float, *facts: f.Fact) -> None:
        """One transaction, of which the client is told."""
        self.facts += [f.Recorded(len(self.facts) + n, at, fact) for n, fact in enumerate(facts, 1)]
        self.acknowledged.append(Acknowledged(RUN, epoch, at, tuple(fact_digest(fact) for fact in facts)))

    def check(self) -> list[Violation]:
        """What the checker finds."""
        return check_facts(self.facts, self.ledger, acknowledged=self.acknowledged)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Runs of some nodes under one or more drivers, which were killed: a step that began is begun again."""
    history, at, epoch = History(), 100.0, 1
    created = f.RunCreated("p", "g", "c", {})
    history.facts.append(f.Recorded(1, at, created))
    widths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    history.commit(epoch, at + 0.5, f.DriverStarted(epoch, "d", "h", 1, "local"))
    for number, width in enumerate(widths):
        node = f"n{number}"
        for _ in range(draw(st.integers(0, 2))):  # attempts that a kill ended
            at += 1
            history.commit(epoch, at, f.StepsStarted(node, 0, width, f"b{at}", "w"))
            history.ledger.append(Started(RUN, f"{node}[0]", 1, f"key-{node}", f"payload-{node}", 1, at, epoch))
            epoch += 1
            at += 1
            history.commit(epoch, at, f.DriverStarted(epoch, "d", "h", epoch, "local"))
        at += 1
        history.commit(epoch, at, f.StepsStarted(node, 0, width, f"b{at}", "w"))
        for index in range(width):
            history.ledger.append(
                Started(RUN, f"{node}[{index}]", 1, f"key-{node}-{index}", f"payload-{node}", 1, at + 0.1, epoch)
            )
        at += 1
        history.commit(epoch, at, f.StepsCompleted(node, 0, width, "chunk"))
    history.commit(epoch, at + 1, f.RunFinished("succeeded"))
    return history


Doctor = Callable[[History, int], None]


def lose_a_fact(history: History, place: int) -> None:
    del history.facts[1 + place % (len(history.facts) - 2)]


def lose_an_acknowledged_end(history: History, place: int) -> None:
    del history.facts[-1]


def change_an_acknowledged_fact(history: History, place: int) -> None:
    place = 1 + place % (len(history.facts) - 1)
    history.facts[place] = replace(history.facts[place], fact=f.WorkerLost("another", "fact"))


def repeat_an_outcome(history: History, place: int) -> None:
    done = [r for r in history.facts if isinstance(r.fact, f.StepsCompleted)]
    history.commit(99, 10_000.0, done[place % len(done)].fact)


def start_after_the_outcome(history: History, place: int) -> None:
    line = history.ledger[place % len(history.ledger)]
    history.ledger.append(line._replace(at=10_000.0))


def record_a_start_after_the_outcome(history: History, place: int) -> None:
    node = history.ledger[place % len(history.ledger)].step.partition("[")[0]
    history.commit(99, 10_000.0, f.StepsStarted(node, 0, 1, "late", "w"))


def accept_an_old_epoch(history: History, place: int) -> None:
    epoch = max(line.epoch for line in history.acknowledged)
    history.commit(epoch + 1, 10_000.0, f.DriverStarted(epoch + 1, "d", "h", 1, "local"))
    history.commit(epoch, 10_001.0, f.WorkerLost("w", "said by a driver that was frozen"))


def repeat_an_epoch(history: History, place: int) -> None:
    history.commit(1, 10_000.0, f.DriverStarted(1, "d", "h", 1, "local"))


def send_something_else(history: History, place: int) -> None:
    line = history.ledger[place % len(history.ledger)]
    history.ledger.insert(0, line._replace(payload="another"))


DOCTORED: list[tuple[Doctor, str]] = [
    (lose_a_fact, c.FACTS_COMPLETE),
    (lose_an_acknowledged_end, c.FACTS_COMPLETE),
    (change_an_acknowledged_fact, c.FACTS_COMPLETE),
    (repeat_an_outcome, c.ONE_OUTCOME),
    (start_after_the_outcome, c.NO_START_AFTER_OUTCOME),
    (record_a_start_after_the_outcome, c.NO_START_AFTER_OUTCOME),
    (accept_an_old_epoch, c.NEWEST_EPOCH),
    (repeat_an_epoch, c.NEWEST_EPOCH),
    (send_something_else, c.ONE_PAYLOAD_PER_KEY),
]


@given(histories())
def test_a_history_that_keeps_every_promise_is_accepted(history: History) -> None:
    assert history.check() == []


@pytest.mark.parametrize(("doctor", "promise"), DOCTORED, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=40)
@given(history=histories(), place=st.integers(0, 1000))
def test_a_doctored_history_is_found(doctor: Doctor, promise: str, history: History, place: int) -> None:
    doctor(history, place)
    assert promise in {violation.promise for violation in history.check()}


def test_only_steps_that_failed_for_good_have_their_outcome() -> None:
    failure = f.Failure(("builtins:ValueError",), "no")
    history = History()
    history.commit(1, 1.0, f.StepFailed("n", 0, failure, "fallback"), f.StepsCompleted("n", 0, 1, "c", degraded=True))
    assert history.check() == []
    history.commit(1, 2.0, f.StepFailed("n", 0, failure, "fail"))
    assert [violation.promise for violation in history.check()] == [c.ONE_OUTCOME]


def test_outcomes_of_several_nodes_and_of_batches_count() -> None:
    history = History()
    history.commit(1, 1.0, f.NodesCompleted(("a", "b"), "c"), f.BatchesProduced("s", 0, 2, "c"))
    history.commit(1, 2.0, f.StepsSkipped("b", 0, 1, "branch"), f.BatchesProduced("s", 1, 3, "c"))
    assert [violation.evidence for violation in history.check()] == ["b[0] has 2", "batch 1 of s has 2"]


# ---- what takes more than the facts of a run


def recorded(*facts: tuple[float, f.Fact]) -> list[f.Recorded]:
    return [f.Recorded(seq, at, fact) for seq, (at, fact) in enumerate(facts, 1)]


@pytest.mark.parametrize(
    ("state", "facts", "broken"),
    [
        ("succeeded", [], False),
        ("running", [(110.0, f.WorkerLost("w", "")), (125.0, f.WorkerLost("w", ""))], False),
        ("running", [(110.0, f.WorkerLost("w", ""))], True),
        ("running", [(50.0, f.WorkerLost("w", ""))], True),
        ("waiting", [(101.0, f.ApprovalRequested("a", "?"))], False),
        ("waiting", [(101.0, f.ApprovalRequested("a", "?")), (102.0, f.StepsCompleted("a", 0, 1, "c"))], True),
    ],
)
def test_a_run_that_stands_still_is_found(state: Any, facts: list[tuple[float, f.Fact]], broken: bool) -> None:
    found = check_progress(recorded(*facts), state, 100.0, 140.0, lease_s=10.0)
    assert [violation.promise for violation in found] == [c.PROGRESS] * broken


@given(st.dictionaries(st.text(max_size=3), st.text(min_size=1, max_size=3), min_size=1), st.data())
def test_another_result_is_found(outcomes: dict[str, str], data: st.DataObject) -> None:
    assert check_results(outcomes, outcomes) == []
    step = data.draw(st.sampled_from(sorted(outcomes)))
    for found in ({**outcomes, step: "another"}, {k: v for k, v in outcomes.items() if k != step}):
        assert [violation.promise for violation in check_results(outcomes, found)] == [c.SAME_RESULT]
    assert check_results({k: v for k, v in outcomes.items() if k != step}, outcomes)


def test_what_is_left_behind_is_found() -> None:
    before = {"process": ["1", "2"], "lease": []}
    assert check_leaks(before, {"process": ["1"], "lease": []}) == []
    found = check_leaks(before, {"process": ["1", "3"], "lease": ["run"], "temporary file": ["x"]})
    assert [violation.evidence for violation in found] == [
        "process 3 is left",
        "lease run is left",
        "temporary file x is left",
    ]
    assert {violation.promise for violation in found} == {c.NOTHING_LEAKED}


@given(st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.sampled_from("xyz"))))
def test_two_runs_of_one_trigger_key_are_found(rows: list[tuple[str | None, str]]) -> None:
    twice = {key for key, run in rows for other, another in rows if key is not None and key == other and run != another}
    assert len(check_trigger_keys(rows)) == len(twice)
    assert all(violation.promise == c.ONE_RUN_PER_KEY for violation in check_trigger_keys(rows))


@given(st.lists(st.tuples(st.sampled_from("kl"), st.sampled_from("pq"))))
def test_two_payloads_of_one_key_are_found(sent: list[tuple[str, str]]) -> None:
    twice = {key for key, payload in sent for other, another in sent if key == other and payload != another}
    assert len(check_payloads(sent)) == len(twice)


def test_there_are_nine_promises() -> None:
    assert len(set(PROMISES)) == 9


# ---- a real run


def test_a_real_run_agrees_with_what_its_client_and_its_steps_wrote(tmp_path: Path) -> None:
    told = tmp_path / "acknowledged"
    process = InProcess(tmp_path / "home", on_facts=AcknowledgementFile(told))
    run = process.run(flows.everything, ledger=str(tmp_path / "ledger"))
    acknowledged, ledger = read_acknowledgements(told), read_ledger(tmp_path / "ledger")
    assert sum(len(line.facts) for line in acknowledged) == len(list(run.events())) - 1  # all but its creation
    assert {line.epoch for line in (*acknowledged, *ledger)} == {1}
    journal = process.installation.journal
    assert check_run(journal, run.id, ledger, acknowledged=acknowledged) == []
    lost = Acknowledged("", 1, acknowledged[0].at, ("0" * 24,))
    assert [v.promise for v in check_run(journal, run.id, acknowledged=[lost])] == [c.FACTS_COMPLETE]


def test_a_line_that_was_not_completed_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    process = InProcess(tmp_path / "home")
    process.run(flows.retried, ledger=str(path))
    assert len(read_ledger(path)) == 3
    path.write_text(path.read_text()[:-5])
    assert len(read_ledger(path)) == 2


def test_an_unreadable_journal_is_a_violation(tmp_path: Path) -> None:
    here = Installation(InProcess(tmp_path).installation.settings)
    here.journal.create(RunRow(RUN, "p", "queued", 1, 0, 1.0), [f.RunCreated("p", "g", "c", {})], {})
    ownership = here.journal.own(RUN, "d")
    here.journal.append(Append(RUN, ownership.epoch, 1, 2.0, [f.DriverStarted(1, "d", "h", 1, "local")] * 2))
    assert check_run(here.journal, RUN)[0].promise == c.NEWEST_EPOCH
    import pysqlite3.dbapi2 as sqlite

    with sqlite.connect(tmp_path / "journal.db") as connection:
        connection.execute("DELETE FROM fact WHERE seq = 2")
    assert [violation.promise for violation in check_run(here.journal, RUN)] == [c.FACTS_COMPLETE]
    ownership.release()
    here.close()
