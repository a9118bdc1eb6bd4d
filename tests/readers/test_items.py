"""When, where and how often steps ran, from facts alone."""

from __future__ import annotations

from orchestrator.graph import fact as f
from orchestrator.readers.items import Items

FAILURE = f.Failure(("builtins:OSError",), "not yet")


def microseconds(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def told(*facts: f.Fact) -> Items:
    items = Items()
    for at, fact in enumerate(facts):
        items.add(fact, float(at))
    return items


def test_a_page_of_a_map() -> None:
    items = told(
        f.DriverStarted(1, "d", "h", 1, "local"),
        f.StepsStarted("m", 0, 3, "b1", "w1"),
        f.StepsStarted("m", 3, 6, "b2", "w2"),
        f.StepsCompleted("m", 0, 2, "c", elapsed_us=microseconds(1_000_000, 2_000_000)),
    ).of("m")
    page = items.page([1, 2, 3])
    assert [(one.started_at, one.elapsed_s, one.worker, one.running) for one in page] == [
        (1.0, 2.0, "w1", False), (1.0, None, "w1", True), (2.0, None, "w2", True)
    ]  # fmt: skip


def test_what_a_driver_before_began_is_not_running() -> None:
    items = told(f.StepsStarted("m", 0, 2, "b", "w"), f.DriverStarted(2, "d", "h", 1, "local")).of("m")
    assert [one.running for one in items.page(range(2))] == [False, False]


def test_attempts_of_an_item_with_their_ends() -> None:
    items = told(
        f.StepsStarted("m", 0, 2, "b1", "w1"),
        f.AttemptFailed("m", 1, FAILURE, 9.0),
        f.StepsStarted("m", 1, 2, "b2", "w2"),
        f.StepsCompleted("m", 1, 2, "c"),
    ).of("m")
    first, second = items.attempts(1)
    assert (first.worker, first.ended_at, first.failure, first.retry_at) == ("w1", 1.0, FAILURE, 9.0)
    assert (second.worker, second.ended_at, second.failure) == ("w2", 3.0, None)
    assert items.page([1])[0][3:] == (False, "", 2)
    assert [(one.worker, one.ended_at) for one in items.attempts(0)] == [("w1", None)]


def test_steps_of_several_nodes_in_one_bundle() -> None:
    items = told(
        f.BundleStarted((("a", 0, 1), ("b", 0, 1)), "bundle", "w"),
        f.NodesCompleted(("a", "b"), "c", elapsed_us=microseconds(5, 7)),
    )
    assert [items.of(node).page([0])[0].elapsed_s for node in "ab"] == [5e-6, 7e-6]


def test_other_code_renames_and_drops() -> None:
    items = told(
        f.StepsStarted("old", 0, 1, "b", "w"),
        f.StepsStarted("gone", 0, 1, "b", "w"),
        f.StepsStarted("call", 0, 1, "b", "w"),
        f.CodeChanged("g", "c", {}, {"new": "old"}, ("gone",)),
    )
    assert sorted(items.nodes) == ["call", "new"]


def test_the_cache_says_why() -> None:
    items = told(f.CacheMissed("a", 0, 1, "other code"), f.StepsCompleted("b", 0, 1, "c", cached="run-1"))
    assert (items.of("a").reason, items.of("b").reason) == (
        "not in the cache: other code", "reused from run run-1: same code and inputs"
    )  # fmt: skip


def test_what_bodies_took_and_the_share_of_one() -> None:
    items = told(
        f.StepsCompleted(
            "m", 0, 2, "c", elapsed_us=microseconds(1_000_000, 3_000_000), cpu_us=2_000_000, peak_bytes=50
        ),
        f.StepsCompleted("m", 2, 3, "c", elapsed_us=microseconds(500_000), cpu_us=500_000, peak_bytes=70),
        f.StepsCompleted("m", 3, 4, "c", cached="another"),
    ).of("m")
    assert items.usage(None) == (4.5, 2.5, 70)
    assert items.usage(1) == (3.0, 1.5, 50)
    assert items.usage(3) is None


def test_the_first_miss_is_the_reason_of_a_map() -> None:
    items = told(
        f.StepsCompleted("m", 0, 2, "c", cached="run-1"),
        f.CacheMissed("m", 2, 4, "argument x changed"),
        f.CacheMissed("m", 3, 4, "asked again"),
        f.StepsCompleted("m", 3, 4, "c", cached="run-2"),
    )
    assert items.of("m").reason == "not in the cache: argument x changed"
