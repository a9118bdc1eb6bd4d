"""Triggers at work over a real journal: nothing that happened is lost, nothing fires twice, whoever dies whenever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, stage
from orchestrator.app.asking import Asked, Asking
from orchestrator.app.declared import Triggered, Watched, trigger_id
from orchestrator.app.installation import Installation
from orchestrator.app.launching import START_S
from orchestrator.app.reading import Keeper, reading_alone
from orchestrator.app.triggering import GONE_AFTER_S, TriggersReader, moment, reader_name
from orchestrator.app.versions import Versions
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError, RunError
from orchestrator.graph import fact as f
from orchestrator.ports.journal import Append, Ownership, RunRow
from orchestrator.ports.triggers import Trigger
from orchestrator.testing import check_trigger_keys
from orchestrator.testing.clock import FakeClock
from orchestrator.testing.inprocess import InProcess
from orchestrator.triggers import artifact, cron, webhook
from orchestrator.triggers.queue import BY_HAND, Firing

BEGIN = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
EACH_MINUTE = cron("* * * * *", misfire="all")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Killing:
    """Ends the process at a write; 0 for never."""

    at: int = 0
    count: int = 0

    def point(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Killed


def watched(name: str, *triggers: Trigger, concurrency: int | None = None, problem: str = "") -> Triggered:
    found = tuple(Watched(trigger_id(name, one), one) for one in triggers)
    return Triggered(name, Path(f"{name}.yaml"), found, concurrency, (), problem)


class DyingKeeper(Keeper[None]):
    """Notes what it knows, unless it is killed right before or after that."""

    killing = Killing()

    def save(self) -> None:
        self.killing.point()
        super().save()
        self.killing.point()


@dataclass
class Place:
    """A home with a clock, a project, and what ``orc up`` does there; runs end when they are told to."""

    home: Path
    pipelines: list[Triggered] = field(default_factory=list)
    killing: Killing = field(default_factory=Killing)
    most_at_once: Counter[str] = field(default_factory=Counter)
    holds: dict[str, Ownership] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here = Installation(Settings.from_environment({"ORC_HOME": str(self.home)}))
        self.clock = self.here.clock = FakeClock(BEGIN)  # type: ignore[assignment]
        self.project = self.home.parent / "project"
        self.asking = Asking(self.here, self.project)
        self.fails: Callable[[Firing], Exception | None] = lambda firing: None
        self.up = self.start()

    def start(self) -> Keeper[None]:
        """As a new process does."""
        reader = TriggersReader(self.here, self.project, lambda: self.pipelines, self.begin, lambda work: work())
        noted = reader._asking.noted

        def note(asked: Asked) -> None:
            self.killing.point()
            noted(asked)
            self.killing.point()

        reader._asking.noted = note  # type: ignore[method-assign]
        keeper = DyingKeeper.__new__(DyingKeeper)
        keeper.killing = self.killing
        keeper.__init__(self.here, reader)  # type: ignore[misc]
        return keeper

    def begin(self, firing: Firing, pipeline: Triggered) -> str:
        self.killing.point()
        error = self.fails(firing)
        if error is not None:
            raise error
        count = len(self.here.journal.runs(limit=1000))
        row = RunRow(f"run-{count:03}", pipeline.name, "running", 1, 0, BEGIN + count, trigger_key=firing.key)
        created = f.RunCreated(pipeline.name, "0" * 64, "0" * 64, {})
        hold = self.here.journal.begin(row, [created], {}, "test:1")
        run = hold if isinstance(hold, str) else row.id
        self.begun.append(run)
        if not isinstance(hold, str):
            self.holds[run] = hold
        self.most_at_once[pipeline.name] = max(self.most_at_once[pipeline.name], len(self.running(pipeline.name)))
        self.killing.point()
        return run

    def rounds(self, count: int, step_s: float = 0.0) -> None:
        for _ in range(count):
            self.clock.advance(step_s)
            self.up.round()

    def runs(self, pipeline: str | None = None) -> list[RunRow]:
        return self.here.journal.runs(pipeline, limit=1000)[::-1]

    def running(self, pipeline: str) -> list[RunRow]:
        return self.here.journal.runs(pipeline, "running", limit=1000)

    def end(self, state: f.RunState = "succeeded") -> None:
        """End all runs."""
        for run, hold in self.holds.items():
            seq = self.here.journal.run(run).seq
            self.here.journal.append(Append(run, hold.epoch, seq, BEGIN, [f.RunFinished(state)], state=state))
            hold.release()
        self.holds.clear()

    def keys(self) -> list[str]:
        """What is told of the keys, without the triggers."""
        return [(row.trigger_key or "").partition("/")[2] for row in self.runs()]

    @property
    def firings(self) -> list[Firing]:
        firings: list[Firing] = self.up.reader.totals().firings
        return firings

    def ask(self, pipeline: Triggered, key: str, by: str = "webhook") -> None:
        trigger = pipeline.triggers[0].id
        self.asking.ask(Asked(f"{trigger}/{key}", trigger, pipeline.name, self.clock.now(), key, by, {}))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    def place(*pipelines: Triggered) -> Place:
        return Place(tmp_path / "home", list(pipelines))

    return place


def test_each_moment_makes_one_run_also_after_a_restart(make: Callable[..., Place]) -> None:
    place = make(watched("churn", EACH_MINUTE))
    place.rounds(1)
    assert place.keys() == []  # what was before it was first seen does not count
    place.rounds(4, 30.0)
    assert place.keys() == ["2027-01-15T08:01:00Z", "2027-01-15T08:02:00Z"]
    place.up = place.start()
    place.rounds(1)
    place.clock.advance(180.0)
    place.up = place.start()  # it was away for three minutes
    place.rounds(2)
    assert place.keys()[2:] == [f"2027-01-15T08:0{minute}:00Z" for minute in (3, 4, 5)]
    assert {row.tags.get("x") for row in place.runs()} == {None}


def test_what_was_missed_while_nobody_was_up_is_made_up_for_once_or_not_at_all(make: Callable[..., Place]) -> None:
    place = make(
        watched("latest", cron("0 * * * *")),
        watched("skip", cron("0 * * * *", misfire="skip")),
        watched("patient", cron("0 * * * *", misfire="skip", grace="3h")),
    )
    place.rounds(1)
    place.clock.advance(5 * 3600 + 600)
    place.up = place.start()
    place.rounds(2)
    counts = Counter(row.pipeline for row in place.runs())
    assert counts == {"latest": 1, "patient": 3}
    assert place.runs("latest")[0].trigger_key == f"{place.pipelines[0].triggers[0].id}/2027-01-15T13:00:00Z"


def scenario(place: Place, churn: Triggered) -> None:
    """Six half minutes with three deliveries; whoever is killed is succeeded by the next process."""
    for step in range(6):
        place.clock.advance(30.0)
        if step in (1, 2, 4):
            place.ask(churn, f"event {step}")
        if step % 2:
            place.end()
        survive(place)
    for _ in range(8):
        place.end()
        survive(place)


def survive(place: Place) -> None:
    """A round; whoever is killed in it is succeeded by another process."""
    try:
        place.up.round()
    except Killed:
        place.up = place.start()
        place.up.round()


@pytest.mark.slow
def test_killed_at_any_write_nothing_is_lost_and_nothing_fires_twice(tmp_path: Path) -> None:
    churn = watched("churn", EACH_MINUTE, concurrency=1)
    whole = Place(tmp_path / "whole" / "home", [churn])
    whole.rounds(1)
    began = whole.killing.count
    scenario(whole, churn)
    expected = whole.keys()
    minutes = [f"2027-01-15T08:0{minute}:00Z" for minute in (1, 2, 3)]
    assert sorted(expected) == sorted([*minutes, "event 1", "event 2", "event 4"])
    writes = whole.killing.count - began
    assert writes > 30
    for at in range(1, writes + 1):
        place = Place(tmp_path / str(at) / "home", [churn])
        place.rounds(1)
        place.killing.at = place.killing.count + at
        scenario(place, churn)
        assert place.keys() == expected, at  # each once, and in the order in which they came
        assert place.most_at_once["churn"] == 1, at
        assert check_trigger_keys((row.trigger_key, row.id) for row in place.runs()) == []
        assert place.asking.waiting() == []
        place.here.close()


def test_two_that_look_at_once_make_one_run_for_each_key(make: Callable[..., Place]) -> None:
    place = make(watched("churn", EACH_MINUTE))
    place.rounds(1)
    other = place.start()
    for _ in range(6):
        place.clock.advance(30.0)
        place.up.round()
        other.round()
    assert place.keys() == [f"2027-01-15T08:0{minute}:00Z" for minute in (1, 2, 3)]
    name = reader_name(place.project)
    with reading_alone(place.here, name) as first, reading_alone(place.here, name) as second:
        assert (first, second) == (True, False)  # and only one of them looks


def test_runs_wait_for_their_turn_also_over_a_restart(make: Callable[..., Place]) -> None:
    one_by_one = watched("churn", webhook("go"), concurrency=1)
    place = make(one_by_one, watched("free", EACH_MINUTE))
    place.rounds(1)
    for number in range(3):
        place.ask(one_by_one, f"e{number}")
        place.clock.advance(1.0)
    place.rounds(2)
    assert (place.keys(), [one.state for one in place.firings]) == (["e0"], ["begun", "waiting", "waiting"])
    place.up = place.start()
    place.rounds(2, 60.0)
    assert place.keys() == ["e0", "2027-01-15T08:01:00Z", "2027-01-15T08:02:00Z"]
    place.end("failed")
    place.rounds(2)
    assert place.keys()[3:] == ["e1"]
    assert [(one.state, one.ended) for one in place.firings if one.key.endswith("e0")] == [("over", "failed")]


def test_what_happens_in_a_pause_is_not_made_up_for(make: Callable[..., Place]) -> None:
    churn = watched("churn", EACH_MINUTE)
    place = make(churn)
    place.rounds(1)
    place.asking.pause(churn.triggers[0].id, "me")
    place.rounds(4, 30.0)
    place.ask(churn, "now", BY_HAND)
    place.rounds(2)
    assert place.keys() == ["now"]
    place.clock.advance(90.0)  # 08:03:30, nobody is up
    place.asking.resume(churn.triggers[0].id)
    place.clock.advance(60.0)
    place.up = place.start()
    place.rounds(2)
    assert place.keys() == ["now", "2027-01-15T08:04:00Z"]
    place.up = place.start()
    place.rounds(2)
    assert len(place.keys()) == 2


@stage(publish="data:daily")
def publish(n: int) -> list[int]:
    return [n]


@pipeline
def publishing(n: int) -> list[int]:
    return publish(n)


def test_what_was_missed_before_a_pause_waits_for_its_end(make: Callable[..., Place]) -> None:
    churn = watched("churn", EACH_MINUTE)
    place = make(churn)
    place.rounds(1)
    place.clock.advance(90.0)  # 08:01:30, nobody is up
    place.asking.pause(churn.triggers[0].id)
    place.clock.advance(60.0)
    place.up = place.start()
    place.rounds(2, 30.0)
    assert (place.keys(), [one.state for one in place.firings]) == ([], ["waiting"])
    place.asking.resume(churn.triggers[0].id)
    place.rounds(2, 45.0)
    assert place.keys() == ["2027-01-15T08:01:00Z", "2027-01-15T08:04:00Z", "2027-01-15T08:05:00Z"]


def test_a_pause_of_more_moments_than_a_look_takes_is_not_made_up_for(make: Callable[..., Place]) -> None:
    churn = watched("churn", EACH_MINUTE)
    place = make(churn)
    place.rounds(1)
    place.asking.pause(churn.triggers[0].id)
    place.clock.advance(180 * 60.0 + 30.0)  # nobody is up
    place.asking.resume(churn.triggers[0].id)
    place.clock.advance(60.0)
    place.up = place.start()
    place.rounds(5)
    assert place.keys() == ["2027-01-15T11:01:00Z"]


def test_more_than_a_look_takes_was_due_before_a_pause_and_waits(
    make: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("orchestrator.triggers.misfire.MOST", "orchestrator.app.triggering.MOST"):
        monkeypatch.setattr(name, 4)
    churn = watched("churn", EACH_MINUTE)
    place = make(churn)
    place.rounds(1)
    place.clock.advance(10 * 60.0)  # nobody is up
    place.asking.pause(churn.triggers[0].id)
    place.up = place.start()
    place.rounds(5, 60.0)
    assert (place.keys(), len(place.firings)) == ([], 4)
    place.asking.resume(churn.triggers[0].id)
    place.rounds(8)
    place.clock.advance(60.0)
    place.rounds(3)
    assert place.keys() == [*(at(60.0 * minute) for minute in range(1, 11)), at(60.0 * 16)]


def test_each_of_several_pauses_is_left_out(make: Callable[..., Place]) -> None:
    churn = watched("churn", EACH_MINUTE)
    place = make(churn)
    place.rounds(1)
    for _ in range(2):  # nobody is up: two minutes of work, three of rest
        place.clock.advance(150.0)
        place.asking.pause(churn.triggers[0].id)
        place.clock.advance(150.0)
        place.asking.resume(churn.triggers[0].id)
    place.clock.advance(90.0)
    place.asking.pause(churn.triggers[0].id)
    place.clock.advance(60.0)
    place.up = place.start()
    place.rounds(5)
    assert (place.keys(), len(place.firings)) == ([], 5)  # it rests now
    place.asking.resume(churn.triggers[0].id)
    place.up = place.start()
    place.rounds(3)
    assert place.keys() == [at(60.0 * minute) for minute in (1, 2, 6, 7, 11)]


def at(seconds: float) -> str:
    """A moment so long after the beginning, as in keys."""
    return moment(BEGIN + seconds)


def test_versions_and_tags_fire_who_waits_for_them(make: Callable[..., Place]) -> None:
    place = make(watched("after", artifact("daily")), watched("tagged", artifact("data:daily@good")))
    process = InProcess(installation=place.here)
    place.rounds(2)
    for n in range(3):
        process.run(publishing, n=n)
        place.rounds(int(n != 1))  # two versions at once are one firing
    place.rounds(2)
    assert [row.trigger_key for row in place.runs("after")] == [
        f"{place.pipelines[0].triggers[0].id}/v{n}" for n in (1, 3)
    ]
    Versions(place.here).tag("data:daily@v2", "good")
    place.up = place.start()
    place.rounds(2)
    Versions(place.here).tag("data:daily@v3", "good")
    Versions(place.here).tag("data:daily@v3", "good")
    place.rounds(2)
    assert [(row.trigger_key or "")[-2:] for row in place.runs("tagged")] == ["v2", "v3"]
    assert [one.what for one in place.firings][-1] == "data:daily@v3"


def test_what_cannot_begin_is_tried_again_and_said(make: Callable[..., Place]) -> None:
    churn = watched("churn", webhook("go"), concurrency=1)
    place = make(churn)
    place.rounds(1)
    place.fails = lambda firing: ConfigError("params.n: no number") if firing.key.endswith("bad") else None
    place.ask(churn, "bad")
    place.clock.advance(1.0)
    place.ask(churn, "good")
    place.rounds(3)
    assert (place.keys(), place.firings[0].tries) == (["good"], 1)
    assert "params.n: no number" in place.firings[0].problem
    place.end()
    place.rounds(400, 15.0)
    assert (place.firings[0].state, len(place.keys())) == ("given up", 1)
    place.fails = lambda firing: None


def test_a_run_that_began_although_nobody_heard_of_it_is_found(make: Callable[..., Place]) -> None:
    churn = watched("churn", webhook("go"), concurrency=1)
    place = make(churn)
    place.rounds(1)
    began = place.begin

    def silent(firing: Firing, of: Triggered) -> str:
        began(firing, of)
        raise RunError("there was no answer within 60 s")

    place.up.reader._begin = silent  # type: ignore[attr-defined]
    place.ask(churn, "one")
    place.clock.advance(1.0)
    place.ask(churn, "two")
    place.rounds(4)
    assert (place.keys(), [one.state for one in place.firings]) == (["one"], ["begun", "waiting"])


def test_who_takes_long_to_begin_counts_as_begun_and_others_pass(make: Callable[..., Place]) -> None:
    slow, one_by_one, other = (
        watched("slow", webhook("slow")), watched("one", webhook("one"), concurrency=1), watched("other", webhook("x"))
    )  # fmt: skip
    place = make(slow, one_by_one, other)
    place.rounds(1)
    works: list[Callable[[], None]] = []
    place.up.reader._beside = works.append  # type: ignore[attr-defined]
    for key, of in enumerate((slow, slow, slow, one_by_one, one_by_one, other)):
        place.ask(of, f"e{key}")
        place.clock.advance(0.1)
    place.rounds(3)
    assert starting(place) == ["e0", "e1", "e2", "e3"]
    place.rounds(2, START_S)
    assert starting(place) == ["e0", "e1", "e2", "e3", "e5"]
    for work in works:
        work()
    place.rounds(2)
    assert place.keys() == ["e0", "e1", "e2", "e3", "e5"]
    assert place.most_at_once["one"] == 1


def starting(place: Place) -> list[str]:
    return [key.rpartition("/")[2] for key in place.up.reader._starting]  # type: ignore[attr-defined]


def test_a_run_that_nobody_drives_is_begun_again(make: Callable[..., Place]) -> None:
    churn = watched("churn", webhook("go"), concurrency=1)
    place = make(churn)
    place.rounds(1)
    began = place.begin

    def dying(firing: Firing, of: Triggered) -> str:
        run = began(firing, of)
        place.holds.pop(run).release()  # whoever made the run is gone before it drives it
        raise RunError("the process that was to do it ended without an answer")

    place.up.reader._begin = dying  # type: ignore[attr-defined]
    place.ask(churn, "one")
    place.rounds(2)
    place.up.reader._begin = began  # type: ignore[attr-defined]
    place.rounds(3, 5.0)
    assert (place.keys(), place.begun, place.firings[0].state) == (["one"], ["run-000"] * 2, "begun")


def test_what_cannot_be_read_for_a_while_forgets_nothing(make: Callable[..., Place]) -> None:
    nightly = watched("churn", cron("0 2 * * *"))
    place = make(nightly)
    place.rounds(1)
    known: dict[str, Any] = dict(place.up.reader.totals().places)
    place.pipelines = [watched("churn", problem="churn.yaml:3: unknown key 'onn'")]
    place.rounds(3, 10.0)
    assert place.up.reader.totals().places == known
    place.pipelines = []
    place.rounds(2, GONE_AFTER_S)
    assert place.up.reader.totals().places == known
    place.rounds(2, 10.0)
    assert place.up.reader.totals().places == {}


def test_a_pipeline_that_is_away_for_a_look_loses_nothing(make: Callable[..., Place]) -> None:
    churn, hourly = watched("churn", webhook("go"), concurrency=1), watched("hourly", cron("0 * * * *", misfire="all"))
    place = make(churn, hourly)
    place.rounds(1)
    for name in ("one", "two"):
        place.ask(churn, name)
        place.clock.advance(1.0)
    place.rounds(2)
    place.clock.advance(5 * 3600.0)
    place.up, place.pipelines = place.start(), []
    place.rounds(2, 6.0)
    assert [one.state for one in place.firings] == ["begun", "waiting"]
    place.pipelines = [churn, hourly]
    place.rounds(2, 6.0)
    assert len(place.runs("hourly")) == 5
    place.end()
    place.rounds(2)
    assert [row.trigger_key for row in place.runs("churn")] == [f"{churn.triggers[0].id}/{n}" for n in ("one", "two")]


def test_firings_of_a_pipeline_that_is_gone_are_given_up(make: Callable[..., Place]) -> None:
    churn = watched("churn", webhook("go"), concurrency=1)
    place = make(churn)
    place.rounds(1)
    place.ask(churn, "one")
    place.ask(churn, "two")
    place.rounds(2)
    place.pipelines = []
    place.rounds(1, 10.0)
    place.rounds(1, GONE_AFTER_S)
    assert [one.state for one in place.firings] == ["begun", "waiting"]
    place.rounds(1, 10.0)
    assert [one.state for one in place.firings] == ["begun", "given up"]
