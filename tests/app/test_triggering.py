"""Triggers at work over a real journal: nothing that happened is lost, nothing fires twice, whoever dies whenever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import pipeline, stage
from orchestrator.app.declared import Triggered
from orchestrator.app.launching import START_S
from orchestrator.app.reading import reading_alone
from orchestrator.app.triggering import GONE_AFTER_S, reader_name
from orchestrator.app.versions import Versions
from orchestrator.errors import ConfigError, RunError
from orchestrator.testing import check_trigger_keys
from orchestrator.testing.inprocess import InProcess
from orchestrator.triggers import artifact, cron, webhook
from orchestrator.triggers.queue import Firing
from tests.app.trigger_place import EACH_MINUTE, Killed, Place, watched


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


@stage(publish="data:daily")
def publish(n: int) -> list[int]:
    return [n]


@pipeline
def publishing(n: int) -> list[int]:
    return publish(n)


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
