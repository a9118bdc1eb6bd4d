"""What every executor does with bundles of well-behaved steps."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Secret, fixed, when
from orchestrator.graph.context import current
from orchestrator.graph.fact import Failure
from orchestrator.ports.frames import Input, Segment, Span
from tests.backends import faulty
from tests.backends.conftest import Bench
from tests.backends.conversation import traced, whole


def test_a_map_gives_every_output_once(bench: Bench) -> None:
    graph = traced(lambda: faulty.add.map(list(range(600))))
    talk = bench.talk(graph)
    for start in range(0, 600, 200):
        talk.submit(Segment("add", start, start + 200, []))
    talk.finish()
    assert talk.items("add") == {i: i + 1 for i in range(600)}
    assert not talk.failed
    assert not talk.lost


def test_items_come_from_another_map_through_chunks_and_go_into_a_fan_in(bench: Bench) -> None:
    def body() -> Any:
        return faulty.total(faulty.add.map(faulty.add.map(list(range(40))), fixed(10)))

    talk = bench.talk(traced(body))
    first, second, last = (node.id for node in talk.traced.graph.nodes)
    talk.submit(Segment(first, 0, 40, []))
    talk.finish()
    spans = [talk.places[first, i] for i in range(40)]
    talk.submit(Segment(second, 0, 20, [Input(first, True, spans[:20])]))
    talk.submit(Segment(second, 20, 40, [Input(first, True, spans[20:])]))
    talk.finish()
    talk.submit(Segment(last, 0, 1, [talk.output(second, many=True)]))
    talk.finish()
    assert talk.value(last) == sum(i + 11 for i in range(40))


def test_a_chain_travels_in_one_bundle(bench: Bench) -> None:
    graph = traced(lambda: faulty.add(faulty.add(faulty.add(1))))
    talk = bench.talk(graph)
    a, b, c = (node.id for node in graph.graph.nodes)
    here = [Span(0, 1, "", 0)]
    after = [Segment(node, 0, 1, [Input(source, False, here)]) for source, node in ((a, b), (b, c))]
    talk.submit(Segment(a, 0, 1, []), *after)
    talk.finish()
    assert [talk.value(node) for node in (a, b, c)] == [2, 3, 4]


def test_what_depends_on_a_failed_step_of_its_bundle_is_given_back(bench: Bench) -> None:
    graph = traced(lambda: faulty.add(faulty.fail_on(1, 1)))
    talk = bench.talk(graph)
    a, b = (node.id for node in graph.graph.nodes)
    talk.submit(Segment(a, 0, 1, []), Segment(b, 0, 1, [Input(a, False, [Span(0, 1, "", 0)])]))
    talk.finish()
    assert talk.failed[a, 0].classes[0] == "builtins:ValueError"
    assert talk.released == [(b, 0, 1)]


def test_paths_into_records_and_lists(bench: Bench) -> None:
    def body() -> Any:
        made = faulty.pair(3)
        return faulty.add(made.left, made.right[1])

    talk = bench.talk(traced(body))
    made, last = (node.id for node in talk.traced.graph.nodes)
    talk.submit(Segment(made, 0, 1, []))
    talk.finish()
    talk.submit(Segment(last, 0, 1, [talk.output(made)]))
    talk.finish()
    assert talk.value(last) == 7
    assert talk.value(made) == faulty.Pair(3, [3, 4])


def test_a_map_over_the_list_of_one_step_with_its_width_known(bench: Bench) -> None:
    graph = traced(lambda: faulty.add.map(faulty.numbers(5000)))
    talk = bench.talk(graph)
    talk.submit(Segment("numbers", 0, 1, []))
    talk.finish()
    assert talk.lengths["numbers"] == 5000
    talk.submit(Segment("add", 4990, 5000, [talk.output("numbers")]))
    talk.finish()
    assert talk.items("add") == {i: i + 1 for i in range(4990, 5000)}


def test_an_item_of_a_map_by_index(bench: Bench) -> None:
    graph = traced(lambda: faulty.add(faulty.add.map([5, 6, 7])[1]))
    talk = bench.talk(graph)
    first, last = (node.id for node in graph.graph.nodes)
    talk.submit(Segment(first, 0, 3, []))
    talk.finish()
    talk.submit(Segment(last, 0, 1, [Input(first, True, [talk.places[first, 1]])]))
    talk.finish()
    assert talk.value(last) == 8


def test_a_dropped_item_leaves_the_others_in_order(bench: Bench) -> None:
    graph = traced(lambda: faulty.total(faulty.add.map([1, 2, 3])))
    talk = bench.talk(graph)
    talk.submit(Segment("add", 0, 1, []))
    talk.submit(Segment("add", 2, 3, []))
    talk.finish()
    talk.submit(Segment("total", 0, 1, [talk.output("add", many=True)]))
    talk.finish()
    assert talk.value("total") == 2 + 4


def test_a_broadcast_value_that_steps_change_is_fresh_for_each(bench: Bench) -> None:
    graph = traced(lambda: faulty.grow.map([1, 2, 3], xs=[1, 2]))
    talk = bench.talk(graph)
    talk.submit(whole(graph, 3))
    talk.finish()
    assert talk.items("grow") == {0: 3, 1: 3, 2: 3}


def test_an_element_that_a_step_changes_is_fresh_for_the_next_attempt(bench: Bench) -> None:
    graph = traced(lambda: faulty.grow(0, faulty.pair(1).right))
    talk = bench.talk(graph)
    made = talk.give(faulty.Pair(1, [1, 2]), "pair")
    for _ in range(2):
        talk.places.pop(("grow", 0), None)
        talk.submit(whole(graph, place=1, inputs=[made]))
        talk.finish()
        assert talk.value("grow") == 3


def test_positional_variadic_and_named_arguments(bench: Bench) -> None:
    graph = traced(lambda: [faulty.variadic(1, 2, 3, scale=10, extra=4), faulty.variadic.map([1, 2], [3, 4], extra=5)])
    talk = bench.talk(graph)
    single, mapped = (node.id for node in graph.graph.nodes)
    talk.submit(Segment(single, 0, 1, []), Segment(mapped, 0, 2, []))
    talk.finish()
    assert talk.value(single) == 100
    assert talk.items(mapped) == {0: 9, 1: 11}


def test_branches_and_packs_run_on_workers(bench: Bench) -> None:
    graph = traced(lambda: when(faulty.add(0), lambda: faulty.add(1), lambda: [1, 2]))
    talk = bench.talk(graph)
    add = graph.graph.nodes[0].id
    talk.submit(Segment(add, 0, 1, []))
    talk.finish()
    for node in graph.graph.nodes[1:]:
        if node.kind in ("branch", "pack"):
            talk.submit(Segment(node.id, 0, 1, [talk.output(add)] if node.kind == "branch" else []))
            talk.finish()
            if node.kind == "branch":
                assert talk.truths[node.id] is True
            else:
                assert talk.value(node.id) == [1, 2]


def test_a_large_output_is_an_artifact_and_comes_back(bench: Bench) -> None:
    graph = traced(lambda: faulty.total(faulty.numbers(100_000)))
    talk = bench.talk(graph)
    talk.submit(Segment("numbers", 0, 1, []))
    talk.finish()
    talk.submit(Segment("total", 0, 1, [talk.output("numbers")]))
    talk.finish()
    assert talk.value("total") == sum(range(100_000))


def test_a_chunk_is_asked_for_once_a_worker(bench: Bench) -> None:
    graph = traced(lambda: faulty.total(faulty.numbers(10)))
    bench.slots = 1
    talk = bench.talk(graph)
    given = talk.give(list(range(10)), "numbers")
    for _ in range(3):
        talk.places.pop(("total", 0), None)
        talk.submit(Segment("total", 0, 1, [given]))
        talk.finish()
    assert talk.value("total") == 45
    assert talk.asked == [given.spans[0].chunk]


def test_steps_know_who_they_are_and_report(bench: Bench) -> None:
    graph = traced(lambda: faulty.describe_step.map([10, 11]))
    talk = bench.talk(graph)
    talk.submit(Segment("describe_step", 0, 2, [], {1: 3}))
    talk.finish()
    first, second = talk.items("describe_step").values()
    assert first[:4] == ["run-1", "describe_step", 0, 1]
    assert second[:4] == ["run-1", "describe_step", 1, 3]
    assert first[4] != second[4]
    assert [(m.index, dict(m.metrics)) for m in talk.metrics] == [
        (0, {"loss": 0.5, "x": 10.0}),
        (1, {"loss": 0.5, "x": 11.0}),
    ]


def test_secrets_are_resolved_where_the_step_runs(bench: Bench) -> None:
    password = bench.root / "password"
    password.write_text("open sesame\n")
    graph = traced(lambda: faulty.reveal(Secret(f"file:{password}")))
    talk = bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    assert talk.failed["reveal", 0].message == "the password is ***"


def test_a_stream_delivers_its_batches_one_by_one(bench: Bench) -> None:
    graph = traced(lambda: faulty.count(5))
    talk = bench.talk(graph)
    talk.submit(whole(graph), host=True)
    talk.until(lambda: ("count", 0) in talk.batches)
    talk.finish()
    assert [talk.values.load(talk.cell(talk.batches["count", i])).value for i in range(5)] == [0, 1, 2, 3, 4]
    assert ("count", 0) in talk.places


def test_a_repeated_stream_sends_only_what_is_missing(bench: Bench) -> None:
    graph = traced(lambda: faulty.count(5))
    talk = bench.talk(graph)
    delivered = [talk.give(i, "count", i) for i in range(3)][-1]
    talk.places.clear()
    talk.submit(whole(graph, inputs=[Input("count", True, delivered.spans)]), host=True)
    talk.finish()
    assert sorted(index for _, index in talk.batches) == [3, 4]


def test_a_repeated_stream_that_comes_out_differently_fails(bench: Bench) -> None:
    graph = traced(lambda: faulty.drift(3))
    talk = bench.talk(graph)
    delivered = talk.give(0.0, "drift")
    talk.places.clear()
    talk.submit(whole(graph, inputs=[Input("drift", True, delivered.spans)]), host=True)
    talk.finish()
    assert talk.failed["drift", 0].classes[0] == "orchestrator.errors:ReplayMismatch"


def test_a_dynamic_body_calls_stages(bench: Bench) -> None:
    graph = traced(lambda: faulty.add_up(5))
    talk = bench.talk(graph, faulty.add)
    talk.host(whole(graph))
    talk.finish()
    assert talk.value("add_up") == 5
    assert [call.ordinal for call in talk.calls] == [0, 1, 2, 3, 4]
    assert len({call.key for call in talk.calls}) == 5


def test_dynamic_bodies_nest(bench: Bench) -> None:
    graph = traced(lambda: faulty.nested(3))
    talk = bench.talk(graph, faulty.add)
    talk.host(whole(graph))
    talk.finish()
    assert talk.value("nested") == 3


def test_a_dynamic_body_maps(bench: Bench) -> None:
    graph = traced(lambda: faulty.map_inside(4))
    talk = bench.talk(graph, faulty.add)
    talk.host(whole(graph))
    talk.finish()
    assert talk.value("map_inside") == [1, 2, 3, 4]


def test_a_dynamic_body_catches_the_failure_of_a_call_by_its_class(bench: Bench) -> None:
    graph = traced(lambda: faulty.catch_inside(4))
    talk = bench.talk(graph, faulty.fail_on)
    talk.host(whole(graph))
    talk.finish()
    assert talk.value("catch_inside") == "caught 4 is bad"


def test_a_call_from_another_thread_of_a_dynamic_body_is_refused(bench: Bench) -> None:
    graph = traced(lambda: faulty.call_from_thread(4))
    talk = bench.talk(graph, faulty.add)
    talk.host(whole(graph))
    talk.finish()
    assert "PlaceholderMisuse" in talk.value("call_from_thread")
    assert ".map(...)" in talk.value("call_from_thread")


def test_released_steps_come_back_and_the_rest_is_done(bench: Bench) -> None:
    graph = traced(lambda: faulty.sleep_s.map(list(range(20)), seconds=0.05))
    talk = bench.talk(graph)
    bundle = talk.submit(whole(graph, 20))
    talk.executor.release(bundle, 12)
    talk.finish()
    given_back = {index for _, start, stop in talk.released for index in range(start, stop)}
    assert given_back
    assert given_back == set(range(20 - len(given_back), 20))
    assert set(talk.items("sleep_s")) == set(range(20)) - given_back


def test_a_cancelled_bundle_that_has_not_started_is_given_back(bench: Bench) -> None:
    graph = traced(lambda: faulty.add.map(list(range(5))))
    talk = bench.talk(graph)
    bundle = talk.submit(whole(graph, 5))
    talk.executor.cancel(bundle)
    talk.finish()
    assert len(talk.items("add")) + sum(stop - start for _, start, stop in talk.released) == 5


def test_random_numbers_follow_from_run_and_step(bench: Bench) -> None:
    if bench.kind == "inline":
        pytest.skip("steps in process share the generators of the process")
    graph = traced(lambda: faulty.draw.map([0, 1]))
    drawn = []
    for order in ((0, 1), (1, 0)):
        talk = bench.talk(graph)
        for index in order:
            talk.submit(Segment("draw", index, index + 1, []))
            talk.finish()
        drawn.append(talk.items("draw"))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_failures_say_where_in_the_users_code(bench: Bench) -> None:
    graph = traced(lambda: faulty.fail_on(1, 1))
    talk = bench.talk(graph)
    talk.submit(whole(graph))
    talk.finish()
    failed = talk.failed["fail_on", 0]
    failure = Failure(tuple(failed.classes), failed.message, tuple(failed.frames))
    assert failure.name == "ValueError"
    assert failure.message == "1 is bad"
    assert failure.frames[-1].endswith("in fail_on")
    assert "tests/backends/faulty.py" in failure.frames[-1]


def test_nothing_is_left_to_do_when_idle(bench: Bench) -> None:
    graph = traced(lambda: faulty.add(1))
    talk = bench.talk(graph)
    assert talk.executor.room() > 0
    assert talk.executor.idle() == talk.executor.slots
    talk.submit(whole(graph))
    assert talk.executor.room() < 2 * talk.executor.slots
    talk.finish()
    assert talk.executor.idle() == talk.executor.slots


def test_no_step_is_current_after_its_bundle(bench: Bench) -> None:
    graph = traced(lambda: faulty.add.map(list(range(3))))
    talk = bench.talk(graph)
    talk.submit(whole(graph, 3))
    talk.finish()
    assert current() is None
