"""Pauses of triggers: what was due before one waits, what happens in one is not made up for, whoever is up when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.app.declared import Triggered
from orchestrator.triggers.queue import BY_HAND
from tests.app.trigger_place import EACH_MINUTE, Place, at, watched


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    def place(*pipelines: Triggered) -> Place:
        return Place(tmp_path / "home", list(pipelines))

    return place


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
