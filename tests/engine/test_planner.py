"""What travels together: never a heavy step behind a light one on a guess, never a trip for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Pipeline, pipeline, stage, step
from orchestrator.engine.machine import Machine
from orchestrator.engine.pace import Pace
from orchestrator.engine.planner import Planner, pace_key
from orchestrator.engine.state import RunFold
from orchestrator.graph import fact as f
from orchestrator.graph.json import seal
from orchestrator.graph.policy import Resources
from orchestrator.ports.executor import Bundle
from tests.engine.simulation import encode, encode_error


@stage
def one(x: int) -> int:
    return x + 1


@stage
def three(a: int, b: int, c: int) -> int:
    return a + b + c


@stage(num_gpus=0.25)
def heavy(x: int) -> int:
    return x


@stage(effects=True)
def send(x: int) -> int:
    return x


@stage
def table(x: int) -> Any:
    return x


@stage(scope="rows")
def by_rows(table: Any) -> Any:
    return table


class Bench:
    """A machine and a planner over a traced pipeline, with a pace for all its stages."""

    def __init__(self, traced: Pipeline[..., Any], slots: int = 2, step_us: int = 0) -> None:
        graph = seal(traced.graph(), encode)
        self.machine = Machine(RunFold("r", graph), encode_error)
        self.pace = Pace()
        self.names = 0
        if step_us:
            for node in graph.nodes:
                for _ in range(13):
                    self.pace.completed(pace_key(node), step_us.to_bytes(4, "little"))
        self.planner = Planner(self.machine, self.pace, lambda: slots, 0, self._name)
        self.take(self.machine.derive(0.0))

    def _name(self) -> str:
        self.names += 1
        return f"b{self.names}"

    def take(self, facts: Any) -> None:
        for fact in facts:
            self.machine.apply(fact, 0.0)

    def plan(self, room: int = 4, barriers: bool = True) -> list[list[tuple[str, int, int]]]:
        return [ranges(bundle) for bundle in self.planner.plan(room, barriers)]


def ranges(bundle: Bundle) -> list[tuple[str, int, int]]:
    return [(s.node, s.start, s.stop) for s in bundle.segments]


@pipeline
def wide() -> Any:
    return one.map(list(range(100)))


def test_steps_of_unknown_pace_travel_alone() -> None:
    assert Bench(wide).plan(room=3) == [[("one", 0, 1)], [("one", 1, 2)], [("one", 2, 3)]]


@pytest.mark.parametrize(("took_us", "expected"), [(500, [1, 2, 4, 8]), (5, [1, 4, 16, 40])])
def test_bundles_grow_while_they_come_back_quickly(took_us: int, expected: list[int]) -> None:
    bench = Bench(wide)
    sizes = []
    for _ in range(4):
        (bundle,) = bench.planner.plan(1, barriers=True)
        sizes.append(sum(s.stop - s.start for s in bundle.segments))
        took = took_us.to_bytes(4, "little") * sizes[-1]
        bench.pace.completed(pace_key(bench.machine.fold.nodes["one"].node), took)
    assert sizes == expected


def test_earlier_runs_say_how_large_the_first_bundle_may_be_and_nothing_else() -> None:
    first: dict[str, int] = {}
    key = pace_key(Bench(wide).machine.fold.nodes["one"].node)
    Pace(first).completed(key, (5).to_bytes(4, "little") * 100)
    pace = Pace(first)
    assert pace.share(key) == 1 / 4
    assert pace.step_s(key) is None
    for _ in range(5):
        pace.completed(key, (5).to_bytes(4, "little"))
    assert Pace(first).share(key) == 1 / 16
    pace.completed(key, (10_000).to_bytes(4, "little") * 64)
    assert Pace(first).share(key) == 1 / 5
    pace.completed(key, (1_000_000).to_bytes(4, "little") * 64)
    assert Pace(first).share(key) == 1


def test_work_below_a_trip_is_not_split() -> None:
    assert Bench(wide, step_us=5).plan() == [[("one", 0, 100)]]


def test_work_worth_a_trip_is_shared_between_slots_in_shrinking_parts() -> None:
    assert Bench(wide, step_us=400).plan(room=3) == [[("one", 0, 50)], [("one", 50, 75)], [("one", 75, 88)]]


def test_a_bundle_holds_about_fifty_milliseconds() -> None:
    (first, *_) = Bench(wide, step_us=10_000).plan(room=4)
    assert first == [("one", 0, 5)]


def test_a_chain_travels_together_even_when_nothing_is_known_of_it() -> None:
    @pipeline
    def chain() -> Any:
        x = one(0)
        for _ in range(9):
            x = one(x)
        return x

    (bundle,) = Bench(chain).plan()
    assert [node for node, _, _ in bundle] == ["one", *(f"one#{i}" for i in range(2, 11))]


def test_a_fan_out_of_unknown_pace_is_not_put_behind_one_another() -> None:
    @pipeline
    def fan() -> Any:
        x = one(0)
        return [one(x), one(x), one(x)]

    (bundle,) = Bench(fan).plan()
    assert bundle == [("one", 0, 1)]


def test_a_whole_layered_graph_of_tiny_steps_is_one_bundle() -> None:
    @pipeline
    def layers() -> Any:
        layer = [one(i) for i in range(10)]
        for _ in range(4):
            layer = [three(layer[i], layer[(7 * i + 3) % 10], layer[(3 * i + 5) % 10]) for i in range(10)]
        return layer

    (bundle,) = Bench(layers, step_us=3).plan()
    assert len(bundle) == 50
    place = {node: i for i, (node, _, _) in enumerate(bundle)}
    for node in layers.graph().nodes:
        for expr in node.args.values():
            if hasattr(expr, "node"):
                assert place[expr.node] < place[node.id]


def test_heavy_steps_travel_alone_with_their_needs() -> None:
    @pipeline
    def gpus() -> Any:
        return heavy.map([1, 2, 3])

    bundles = list(Bench(gpus).planner.plan(0, barriers=True))
    assert [ranges(b) for b in bundles] == [[("heavy", i, i + 1)] for i in range(3)]
    assert all(b.heavy is not None and b.heavy.num_gpus == 0.25 for b in bundles)


def test_effects_wait_for_the_commit_and_travel_alone() -> None:
    @pipeline
    def effects() -> Any:
        return [send(1), send(2)]

    bench = Bench(effects, step_us=1)
    assert bench.plan(barriers=False) == []
    assert sorted(bench.plan(barriers=True)) == [[("send", 0, 1)], [("send#2", 0, 1)]]


def test_a_step_with_effects_never_follows_in_the_bundle_of_its_input() -> None:
    @pipeline
    def effect_after() -> Any:
        return send(one(1))

    assert Bench(effect_after, step_us=1).plan() == [[("one", 0, 1)]]


def test_unstarted_steps_are_taken_back_for_an_idle_slot() -> None:
    bench = Bench(wide, slots=1, step_us=400)
    (bundle,) = bench.planner.plan(1, barriers=True)
    assert list(bench.planner.take_back(1)) == []
    bench.machine.flights[bundle.id].worker = "w"
    assert list(bench.planner.take_back(1)) == [(bundle.id, 50)]
    assert list(bench.planner.take_back(1)) == []


def test_an_item_that_must_run_alone_splits_the_range() -> None:
    bench = Bench(wide, step_us=5)
    bench.machine.frontier.fronts["one"].solo.add(3)
    bundles = list(bench.planner.plan(8, barriers=True))
    assert [ranges(b) for b in bundles] == [[("one", 0, 3)], [("one", 3, 4)], [("one", 4, 100)]]
    assert [b.alone for b in bundles] == [False, True, False]


def test_a_step_failed_fact_leaves_nothing_to_plan() -> None:
    bench = Bench(wide, step_us=5)
    bench.take([f.StepFailed("one", 0, f.Failure(("builtins:ValueError",), "x"))])
    bench.take(bench.machine.derive(0.0))
    assert bench.machine.ending
    assert bench.plan() == []


def read_my_key() -> str:
    return step().key


@stage
def keyed(x: int) -> str:
    return f"{x} {read_my_key()}"


def test_a_step_that_reads_its_key_waits_for_the_commit_like_one_with_effects() -> None:
    @pipeline
    def keys() -> Any:
        return keyed(one(1))

    bench = Bench(keys, step_us=1)
    assert keyed.spec.policy.reads_key
    assert not one.spec.policy.reads_key
    assert bench.plan() == [[("one", 0, 1)]]


def test_a_bundle_queued_behind_another_is_taken_back_whole() -> None:
    bench = Bench(wide, slots=2)
    first, second, third = bench.planner.plan(3, barriers=True)
    for bundle, worker in ((first, "a"), (second, "a"), (third, "b")):
        bench.machine.flights[bundle.id].worker = worker
    assert list(bench.planner.take_back(1)) == [(second.id, 1)]


def test_steps_that_were_skipped_while_they_were_ready_are_not_handed_out() -> None:
    bench = Bench(wide, step_us=5)
    bench.take([f.StepsSkipped("one", 0, 2, "cancelled"), f.StepsSkipped("one", 4, 6, "cancelled")])
    assert sorted(r for bundle in bench.plan(room=9) for r in bundle) == [("one", 2, 4), ("one", 6, 100)]
    assert bench.machine.frontier.fronts["one"].ready_count == 0


@pipeline
def divided() -> Any:
    return by_rows(one(by_rows(table(1))))


def test_what_divides_a_table_waits_for_its_size_and_goes_alone_if_that_is_large() -> None:
    bench = Bench(divided)
    assert bench.plan() == [[("table", 0, 1)]]  # nobody goes along: how large its output is, is not known
    bench.take([f.StepsCompleted("table", 0, 1, "c", 0)])
    (front,) = bench.machine.frontier.unweighed
    assert (front.kind, front.is_barrier) == ("light", False)
    front.large = True
    assert (front.kind, front.is_barrier) == ("heavy", True)
    assert bench.plan(barriers=False) == []
    (bundle,) = bench.planner.plan(4, True)
    assert (ranges(bundle), bundle.uses, bundle.heavy) == ([("by_rows", 0, 1)], ("data",), Resources())
