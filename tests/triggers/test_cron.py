"""Moments of clocks on the wall: each comes once, however often and late somebody looks, also where clocks change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import InvalidDuration, InvalidPipeline
from orchestrator.ports.triggers import World
from orchestrator.triggers import cron
from orchestrator.triggers.kinds.cron import Cron
from orchestrator.triggers.misfire import MOST

BERLIN = ZoneInfo("Europe/Berlin")
NOTHING: World = None  # type: ignore[assignment]
CHANGES = {
    "Europe/Berlin": ((2026, 3, 29), (2026, 10, 25)),
    "America/New_York": ((2026, 3, 8), (2026, 11, 1)),
    "Australia/Lord_Howe": ((2026, 4, 5), (2026, 10, 4)),  # by half an hour
    "UTC": ((2026, 3, 29),),
}


def at(*parts: int, tz: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime(*parts, tzinfo=tz, fold=fold).timestamp()  # type: ignore[misc,arg-type]


def fired(trigger: Cron, after: float, looks: Sequence[float]) -> list[float]:
    """All that is due when somebody looks at these moments."""
    found, place = [], after
    for now in looks:
        look = trigger.look(place, now, NOTHING)
        found += [one.at for one in look.occurrences]
        place = look.place
    return found


def shown(moments: Sequence[float]) -> list[str]:
    return [datetime.fromtimestamp(one, BERLIN).isoformat() for one in moments]


def test_half_past_two_comes_once_where_clocks_are_put_back_and_once_where_they_are_put_forward() -> None:
    nightly = cron("30 2 * * *", tz="Europe/Berlin", misfire="all")
    autumn = fired(nightly, at(2026, 10, 24, 12), [at(2026, 10, 26, 12)])
    assert shown(autumn) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    spring = fired(nightly, at(2026, 3, 28, 12), [at(2026, 3, 30, 12)])
    assert shown(spring) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    often = cron("*/30 * * * *", tz="Europe/Berlin", misfire="all")
    assert len(fired(often, at(2026, 10, 25), [at(2026, 10, 26)])) == 50
    assert len(fired(often, at(2026, 3, 29), [at(2026, 3, 30)])) == 46


@given(
    tz=st.sampled_from(sorted(CHANGES)),
    change=st.integers(0, 1),
    expression=st.sampled_from(
        ["30 2 * * *", "0 3 * * *", "*/20 * * * *", "15 1-3 * * *", "45 1 * * SUN", "0 */2 * * *", "30 2 25 10 *"]
    ),
    steps=st.lists(st.integers(1, 9 * 3600), min_size=1, max_size=25),
    before=st.integers(0, 20 * 3600),
)
def test_every_moment_is_due_once_however_somebody_looks(
    tz: str, change: int, expression: str, steps: list[int], before: int
) -> None:
    days = CHANGES[tz]
    begin = at(*days[change % len(days)], 12, tz=ZoneInfo(tz)) - 86400 + before
    trigger = cron(expression, tz=tz, misfire="all")
    looks = [begin]
    for step in steps:
        looks.append(looks[-1] + step)
    found = fired(trigger, begin, looks[1:])
    assert found == trigger.upcoming(begin, looks[-1], 10_000)
    assert all(one < other for one, other in pairwise(found))
    keys = [one.key for one in trigger.look(begin, looks[-1], NOTHING).occurrences]
    assert len(set(keys)) == len(keys)
    # what the clock shows fits the expression, unless that moment was left out where the clock was put forward
    for moment in found:
        local = datetime.fromtimestamp(moment, ZoneInfo(tz))
        if expression == "30 2 * * *" and (local.hour, local.minute) != (2, 30):
            left_out = local.replace(hour=2, minute=30)
            assert left_out.astimezone(UTC).astimezone(ZoneInfo(tz)).replace(fold=0) != left_out


@given(
    tz=st.sampled_from(sorted(CHANGES)),
    change=st.integers(0, 1),
    expression=st.sampled_from(
        ["30 2 * * *", "0 3 * * *", "*/20 * * * *", "15 1-3 * * *", "45 1 * * SUN", "0 */2 * * *", "30 2 25 10 *"]
    ),
    look_s=st.integers(0, 3 * 86400),
)
@example(tz="Australia/Lord_Howe", change=0, expression="0 */2 * * *", look_s=51 * 3600)
def test_the_newest_moment_is_the_last_of_all(tz: str, change: int, expression: str, look_s: int) -> None:
    days = CHANGES[tz]
    middle = at(*days[change % len(days)], tz=ZoneInfo(tz))
    begin, now = middle - 10 * 86400, middle - 2 * 86400 + look_s
    newest = fired(cron(expression, tz=tz), begin, [now])
    assert newest == cron(expression, tz=tz).upcoming(begin, now, 10_000)[-1:]


@given(
    tz=st.sampled_from(sorted(CHANGES)),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    change=st.integers(0, 1),
)
def test_a_fixed_time_comes_once_a_day(tz: str, hour: int, minute: int, change: int) -> None:
    zone = ZoneInfo(tz)
    first = datetime(*CHANGES[tz][change % len(CHANGES[tz])], tzinfo=zone) - timedelta(days=3)
    found = cron(f"{minute} {hour} * * *", tz=tz).upcoming(
        first.timestamp() - 1, (first + timedelta(days=6)).timestamp() - 1, 100
    )
    days = [datetime.fromtimestamp(one, zone).date() for one in found]
    assert days == [(first + timedelta(days=n)).date() for n in range(6)]


@given(down_s=st.integers(1, 40 * 86400), begin=st.integers(0, 86400))
def test_what_was_missed_is_made_up_for_as_the_policy_says(down_s: int, begin: int) -> None:
    since = at(2026, 10, 20) + begin
    now = since + down_s
    all_of_them = cron("0 * * * *", tz="Europe/Berlin").upcoming(since, now, 10_000)
    late = [one for one in all_of_them if one >= now - 60]

    def due(misfire: Any, grace: str = "1m") -> list[float]:
        return fired(cron("0 * * * *", tz="Europe/Berlin", misfire=misfire, grace=grace), since, [now, now + 0.5])

    assert due("latest") == all_of_them[-1:]
    assert due("skip") == late
    assert due("skip", "60d") == all_of_them[: 2 * MOST]
    assert due("all") == all_of_them[: 2 * MOST]  # a look takes so many; the next one goes on


def test_what_is_missed_in_years_takes_no_time() -> None:
    every_minute = cron("* * * * *", tz="Europe/Berlin")
    assert shown(fired(every_minute, at(2006, 1, 1), [at(2026, 1, 1, 0, 0, 30)])) == ["2026-01-01T00:00:00+01:00"]


def test_a_clock_that_is_put_back_fires_nothing_twice() -> None:
    trigger = cron("* * * * *", misfire="all")
    begin = at(2026, 1, 1)
    assert len(fired(trigger, begin, [begin + 180, begin + 60, begin + 120, begin + 240])) == 4


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cron("* * * *"), "five fields are"),
        (lambda: cron("61 * * * *"), "bad minute"),
        (lambda: cron("0 0 30 2 *"), "bad day-of-month"),
        (lambda: cron("0 2 * * *", tz="Mars/Olympus"), "there is no time zone 'Mars/Olympus'"),
        (lambda: cron("0 2 * * *", misfire="often"), "write latest, all, skip"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_schedule_is_refused_where_it_is_written(make: Any, said: str) -> None:
    with pytest.raises(InvalidPipeline, match=said) as refused:
        make()
    assert refused.value.details["file"] == __file__


def test_a_grace_that_is_no_duration_is_refused() -> None:
    with pytest.raises(InvalidDuration):
        cron("0 2 * * *", grace="soon")
