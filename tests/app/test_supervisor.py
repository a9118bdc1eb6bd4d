"""When another driver is started, when a run is given up, and who learns of it; no cluster, no waiting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.patience import LONGEST_WAIT_S, MOST_DEATHS, SOON_S, Ended, Patience
from orchestrator.app.submit import SubmittedRun
from orchestrator.app.supervisor import Watch, ended_as
from orchestrator.backends.jobs import JobClient
from orchestrator.errors import RunError
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, RunRow

DIED = Ended("signal SIGKILL")
COMPLETED = f.StepsCompleted("a", 0, 1, "0" * 64)


def driver(epoch: int) -> f.DriverStarted:
    return f.DriverStarted(epoch, "node:1", "node", 1, "ray")


def learned(*facts: tuple[float, f.Fact]) -> Patience:
    patience = Patience()
    for seq, (at, fact) in enumerate(facts, 1):
        patience.learn(f.Recorded(seq, at, fact))
    return patience


def test_drivers_that_get_on_may_die_without_limit_and_are_replaced_at_once() -> None:
    patience = Patience()
    for epoch in range(100):
        patience.learn(f.Recorded(0, float(epoch), driver(epoch)))
        patience.learn(f.Recorded(0, float(epoch), COMPLETED))
        decision = patience.after(DIED, started=True)
        assert decision.give_up == ""
        assert decision.wait_s <= 1.0


def test_without_progress_the_waits_grow_to_a_limit_and_then_it_gives_up() -> None:
    patience, waits = Patience(), []
    for epoch in range(1, MOST_DEATHS + 1):
        patience.learn(f.Recorded(0, float(epoch), driver(epoch)))
        patience.learn(f.Recorded(0, float(epoch), f.StepsStarted("a", 0, 1, "b", "w")))
        waits.append(patience.after(DIED, started=True))
    assert [decision.give_up for decision in waits[:-1]] == [""] * (MOST_DEATHS - 1)
    assert "SIGKILL" in waits[-1].give_up
    delays = [decision.wait_s for decision in waits[:-1]]
    assert delays == sorted(delays)
    assert max(delays) <= LONGEST_WAIT_S


def test_drivers_that_die_before_they_take_over_count_too() -> None:
    patience = learned((0.0, driver(1)))
    decisions = [patience.after(DIED, started=False) for _ in range(MOST_DEATHS - 1)]
    assert [bool(decision.give_up) for decision in decisions] == [False] * (MOST_DEATHS - 2) + [True]


def test_a_supervisor_that_died_with_its_driver_counts_on() -> None:
    patience = learned(*((float(epoch), driver(epoch)) for epoch in range(1, MOST_DEATHS + 1)))
    assert patience.after(DIED, started=True).give_up


def test_drivers_that_lived_long_are_no_series() -> None:
    patience = learned(*((epoch * SOON_S, driver(epoch)) for epoch in range(1, 50)))
    assert not patience.after(DIED, started=True).give_up


def test_what_will_pass_is_waited_for_without_end_and_what_will_not_ends_it_at_once() -> None:
    patience = Patience()
    away = Ended("the store is away", error="the store is away", passing=True)
    assert all(not patience.after(away, started=False).give_up for _ in range(10 * MOST_DEATHS))
    corrupt = Ended("corrupt", error="the journal has a gap", hopeless=True)
    assert patience.after(corrupt, started=True).give_up == "the journal has a gap"


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (0, "", Ended("ended in order", done=True)),
        (-9, "", Ended("signal SIGKILL")),
        (3, "Traceback …", Ended("exit code 3")),
        (1, '{"error": "away", "passing": true}', Ended("away", error="away", passing=True)),
        (1, '{"error": "gap", "passing": false}', Ended("gap", error="gap", hopeless=True)),
    ],
)
def test_what_the_end_of_a_process_means(code: int, said: str, expected: Ended) -> None:
    assert ended_as(code, said) == expected


class Instantly(threading.Event):
    """An event for which nobody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return self.is_set()


class Drivers:
    """Drivers of a run in a real journal, each of which writes some facts and then dies."""

    def __init__(self, lives: Sequence[Sequence[f.Fact]]) -> None:
        self.here = Installation()
        self.here.journal.create(RunRow("r", "p", "queued", 1, 0, 1.0), [f.RunCreated("p", "", "", {})], {})
        self.lives = list(lives)
        self.stopping = Instantly()

    def drive(self) -> Ended:
        """One life."""
        owned = self.here.journal.own("r", "test")
        row = self.here.journal.run("r")
        facts = [driver(owned.epoch), *self.lives.pop(0)]
        over = next((fact.state for fact in facts if isinstance(fact, f.RunFinished)), None)
        self.here.journal.append(Append("r", owned.epoch, row.seq, 2.0, facts, state=over))
        owned.release()
        return Ended("ended in order", done=True) if over else DIED

    def watch(self) -> None:
        """Supervise them to the end."""
        Watch(self.here, "r", self.drive, self.stopping).until_ended()


def test_a_run_gets_drivers_until_it_has_ended() -> None:
    drivers = Drivers([[], [COMPLETED], [], [f.RunFinished("succeeded")], []])
    drivers.watch()
    assert len(drivers.lives) == 1
    assert drivers.here.journal.run("r").state == "succeeded"


def test_a_run_that_is_given_up_says_so_to_whoever_waits_and_can_be_sent_again() -> None:
    drivers = Drivers([[] for _ in range(2 * MOST_DEATHS)])
    drivers.watch()
    assert len(drivers.lives) == MOST_DEATHS
    *_, last = drivers.here.journal.facts("r")
    assert isinstance(last.fact, f.SupervisionEnded)
    run = SubmittedRun(drivers.here, "r", cast(JobClient, object()), "run-r-1")
    with pytest.raises(RunError, match=r"10 drivers in a row .* orc resume r"):
        run.wait()
    drivers.lives[:] = [[COMPLETED], [f.RunFinished("succeeded")]]
    drivers.watch()
    assert run.wait().state == "succeeded"


def test_no_driver_is_started_after_stop() -> None:
    drivers = Drivers([[], []])
    drivers.stopping.set()
    drivers.watch()
    assert len(drivers.lives) == 2


def test_nobody_asks_the_cluster_about_a_run_that_has_a_driver() -> None:
    drivers = Drivers([])
    owned = drivers.here.journal.own("r", "somebody")
    run = SubmittedRun(drivers.here, "r", cast(JobClient, object()), "run-r-1")
    with pytest.raises(TimeoutError, match="it goes on"):
        run.wait(0)
    owned.release()
