"""Alerts as a fold: what raises them, that they are told once, and when they are over."""

from __future__ import annotations

from orchestrator.graph import fact as f
from orchestrator.graph.policy import Resources
from orchestrator.graph.quality import CheckOutcome
from orchestrator.ports.alerts import Notice, Rule
from orchestrator.ports.prices import Prices
from orchestrator.readers.alerts import Alerts, Memory, Watched

OOPS = f.Failure(("builtins:ValueError",), "oops")


class World:
    """Runs of one pipeline on a clock of their own."""

    def __init__(self, *rules: Rule) -> None:
        self.memory = Memory()
        self.alerts = Alerts(rules, Prices(cpu=3600.0, memory=0.0), self.memory)
        self.now = 1_000_000.0
        self.told: list[Notice] = []
        self.runs: dict[str, Watched] = {}

    def fact(self, run: str, fact: f.Fact) -> None:
        watched = self.runs.setdefault(run, Watched(run, "churn", {"team": "a"}, {"train": Resources(num_cpus=2.0)}))
        self.told += [notice for _, notice in self.alerts.take(watched, fact, self.now)]

    def start(self, run: str) -> None:
        self.fact(run, f.RunCreated("churn", "", "", {}))

    def end(self, run: str, state: f.RunState, reason: str = "") -> None:
        self.fact(run, f.RunFinished(state, reason))
        del self.runs[run]

    def tick(self, *undriven: str) -> None:
        self.told += [notice for _, notice in self.alerts.tick(self.now, list(self.runs.values()), undriven)]

    def states(self) -> list[tuple[str, str]]:
        return [(notice.kind, notice.state) for notice in self.told]


def test_a_failure_is_told_once_counted_and_over_with_the_next_success() -> None:
    world = World(Rule("fail", "fail", repeat_s=3600.0))
    for number in range(3):
        world.start(f"r{number}")
        world.end(f"r{number}", "failed", "step train failed: ValueError: oops")
        world.now += 60
    assert world.states() == [("fail", "raised")]
    assert world.memory.alerts[0].count == 3
    world.now += 3600
    world.start("r3")
    world.end("r3", "failed")
    assert world.states()[1:] == [("fail", "again")]
    assert world.told[-1].count == 4
    world.start("r4")
    world.end("r4", "succeeded")
    world.start("r5")
    world.end("r5", "succeeded")
    assert world.states()[2:] == [("fail", "resolved")]
    world.start("r6")
    world.end("r6", "failed")
    assert world.states()[3:] == [("fail", "raised")]
    assert len({notice.id for notice in world.told}) == len(world.told)


def test_rules_are_for_pipelines_and_tags() -> None:
    for rule, raised in (
        (Rule("a", "fail", ("chu*",)), True),
        (Rule("a", "fail", ("flights",)), False),
        (Rule("a", "fail", tags={"team": "a"}), True),
        (Rule("a", "fail", tags={"team": ""}), True),
        (Rule("a", "fail", tags={"team": "b"}), False),
        (Rule("a", "fail", tags={"owner": ""}), False),
    ):
        world = World(rule)
        world.start("r")
        world.end("r", "failed")
        assert bool(world.told) is raised, rule


def test_late_is_against_its_own_history() -> None:
    world = World(Rule("late", "late", factor=2.0, least=5))
    for number in range(4):
        world.start(f"r{number}")
        world.now += 100
        world.end(f"r{number}", "succeeded")
    world.start("slow")
    world.now += 10_000
    world.tick()
    assert world.told == []  # four runs are no history
    world.end("slow", "succeeded")
    for number in range(40):
        world.start(f"s{number}")
        world.now += 100
        world.end(f"s{number}", "succeeded")
    world.start("late")
    world.now += 190
    world.tick()
    assert world.told == []
    world.now += 20
    world.tick()
    world.tick()
    assert world.states() == [("late", "raised")]
    assert "at most 100 s" in world.told[0].text
    world.end("late", "succeeded")
    assert world.states() == [("late", "raised"), ("late", "resolved")]


def test_stuck_is_no_fact_for_long_unless_a_person_is_waited_for() -> None:
    world = World(Rule("stuck", "stuck", after_s=600.0))
    world.start("r")
    world.fact("r", f.ApprovalRequested("approve", "Ship it?"))
    world.now += 10_000
    world.tick()
    assert world.told == []
    world.fact("r", f.StepsCompleted("approve", 0, 1, "c"))
    world.now += 500
    world.tick()
    assert world.told == []
    world.now += 200
    world.tick("r")
    world.tick("r")
    assert world.states() == [("stuck", "raised")]
    assert "nobody drives it" in world.told[0].text


def test_degraded_and_bad_data_say_why() -> None:
    world = World(Rule("degraded", "degraded"), Rule("quality", "quality"))
    world.start("r")
    outcome = CheckOutcome("unique(id)", "warn", False, 10, 3, "3 of 10 rows fail")
    world.fact("r", f.ChecksReported("load", 0, (outcome,)))
    world.fact("r", f.StepFailed("enrich", 3, OOPS, "drop"))
    world.end("r", "degraded")
    assert world.states() == [("quality", "raised"), ("degraded", "raised")]
    assert world.told[0].text == "load: unique(id): 3 of 10 rows fail"
    assert world.told[1].text == "enrich[3]: ValueError: oops"


def test_drift_is_told_apart_from_bad_data_and_over_when_the_same_step_finds_none() -> None:
    world = World(Rule("quality", "quality"), Rule("drift", "drift"))

    def checked(run: str, node: str, drifted: bool, index: int = 0) -> None:
        message = "July: 1 of 3 columns drifted: delay (PSI 0.26)" if drifted else ""
        found = CheckOutcome("no drift", "warn", not drifted, 3, int(drifted), message, kind="drift")
        world.fact(run, f.ChecksReported(node, index, (CheckOutcome("row_count", "block", True), found)))

    world.start("r")
    checked("r", "inputs", True)
    checked("r", "answers", False)
    checked("r", "inputs", False, index=1)  # another item of the map
    assert world.states() == [("drift", "raised")]
    assert world.told[0].text == "inputs: no drift: July: 1 of 3 columns drifted: delay (PSI 0.26)"
    world.end("r", "succeeded")
    world.start("s")
    checked("s", "answers", False)
    checked("s", "inputs", True)
    assert [(one.run, one.count) for one in world.memory.alerts] == [("s", 2)]
    world.end("s", "succeeded")
    assert world.states()[1:] == []  # a run that succeeds says nothing about drift
    world.start("t")
    checked("t", "inputs", False)
    assert world.states()[1:] == [("drift", "resolved")]


def test_budgets_count_what_was_reserved_and_are_told_when_they_are_passed() -> None:
    world = World(Rule("per run", "budget", limit=5.0), Rule("per day", "budget", limit=9.0, per="day"))
    for number in range(3):
        world.start(f"r{number}")
        for index in range(2):  # one second on two CPUs, at one a CPU second
            second = (1_000_000).to_bytes(4, "little")
            world.fact(f"r{number}", f.StepsCompleted("train", index, index + 1, "c", elapsed_us=second))
        world.end(f"r{number}", "succeeded")
    assert [(notice.kind, notice.run) for notice in world.told] == [("budget", "r2")]
    assert "has cost 10.00 USD, over its budget of 9" in world.told[0].text
    world.start("big")
    ten = (10_000_000).to_bytes(4, "little")
    world.fact("big", f.StepsCompleted("train", 0, 1, "c", elapsed_us=ten))
    assert "the run big has cost 20.00 USD" in world.told[1].text
