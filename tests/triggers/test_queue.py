"""Firings take their turn in order, never more at once than a pipeline allows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.triggers.queue import BY_HAND, GIVEN_UP_AFTER_S, KEPT, Firing, failed, forgotten, startable


def firing(number: int, pipeline: str = "a", **more: object) -> Firing:
    return Firing(f"k{number}", f"{pipeline}.cron", pipeline, 0.0, 0.0, "", **more)  # type: ignore[arg-type]


@given(
    arrivals=st.lists(st.sampled_from("ab"), max_size=30),
    limits=st.fixed_dictionaries({"a": st.none() | st.integers(1, 3), "b": st.none() | st.integers(1, 3)}),
    data=st.data(),
)
def test_no_pipeline_has_more_runs_than_it_allows_and_all_get_their_turn_in_order(
    arrivals: list[str], limits: dict[str, int | None], data: st.DataObject
) -> None:
    waiting = [firing(number, name) for number, name in enumerate(arrivals)]
    began: list[Firing] = []
    for _ in range(4 * len(waiting) + 1):
        for one in startable(waiting, limits, 0.0):
            one.state = "begun"
            began.append(one)
        running = [one for one in waiting if one.state == "begun"]
        for name, limit in limits.items():
            assert limit is None or sum(one.pipeline == name for one in running) <= limit
        if not running:
            break
        data.draw(st.sampled_from(running)).state = "over"
    assert all(one.state == "over" for one in waiting)
    for name in limits:
        assert [one for one in began if one.pipeline == name] == [one for one in waiting if one.pipeline == name]


def test_what_is_being_started_counts_and_is_not_started_again() -> None:
    firings = [firing(1), firing(2), firing(3, "b")]
    assert startable(firings, {"a": 1, "b": 1}, 0.0, starting={"k1"}) == [firings[2]]
    assert startable(firings, {"b": None}, 0.0) == [firings[2]]  # what is not there begins nothing


def test_of_a_trigger_that_rests_only_what_was_asked_for_by_hand_begins() -> None:
    firings = [firing(1), firing(2, by=BY_HAND)]
    assert startable(firings, {"a": None}, 0.0, paused={"a.cron"}) == [firings[1]]


def test_what_fails_to_begin_waits_longer_and_longer_lets_others_pass_and_is_given_up() -> None:
    one, other = firing(1), firing(2)
    now, waits = 0.0, []
    while one.state == "waiting":
        failed(one, "no such module", now)
        waits.append(one.due_at - now)
        assert startable([one, other], {"a": 1}, now) == [other]
        now = one.due_at
    assert (one.state, one.problem, waits[:3], max(waits)) == ("given up", "no such module", [5.0, 10.0, 20.0], 300.0)
    assert now > GIVEN_UP_AFTER_S


def test_what_is_long_over_is_forgotten_and_nothing_else() -> None:
    over = [firing(number, state="over") for number in range(KEPT + 5)]
    kept = forgotten([firing(100), *over, firing(101, state="begun")])
    assert [one.key for one in kept] == ["k100", *(one.key for one in over[5:]), "k101"]
