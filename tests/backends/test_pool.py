"""The pool's decisions, over a transport whose workers are played by the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.backends.bundles import member as member_module
from orchestrator.backends.bundles import pool as pool_module
from orchestrator.backends.bundles.member import (
    GROWTH_BYTES,
    GROWTH_STEP_BYTES,
    GROWTH_TIMES,
    SILENT_S,
    Member,
)
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.transport import START_S, Death, Sink, WorkerNeeds
from orchestrator.graph.policy import Resources
from orchestrator.ports import frames
from orchestrator.ports.executor import Accepted, Bundle, ExecutorEvent, FromBundle, Joined, Lost, Refused, RunCode
from orchestrator.ports.frames import Segment


@dataclass
class Player:
    """A worker as the test plays it."""

    name: str
    needs: WorkerNeeds
    sink: Sink
    heard: list[frames.ToWorker] = field(default_factory=list)
    alive: bool = True
    start_s: float = START_S
    apart: bool = False
    has_slot: bool = True

    def park(self) -> bool:
        if self.apart:
            self.has_slot = False
        return self.apart

    def unpark(self) -> None:
        """The test gives the slot."""

    def send(self, data: bytes) -> None:
        self.heard.append(frames.decode_to_worker(data))

    def say(self, *said: frames.FromWorker) -> None:
        for frame in said:
            self.sink(self.name, frames.encode(frame))

    def hello(self) -> None:
        self.say(frames.Hello(1, "here", "", {}))

    def finish(self, bundle: str) -> None:
        self.say(frames.Outcomes(bundle, "", None, finished=True))

    def die(self, reason: str = "it fell", never: bool = False) -> None:
        self.alive = False
        self.sink(self.name, Death(reason, never))

    def kill(self) -> None:
        self.die("killed")

    def close(self) -> None:
        self.die("closed")

    @property
    def bundles(self) -> list[str]:
        return [frame.bundle for frame in self.heard if isinstance(frame, frames.Run)]


class Stage:
    """A transport whose workers are players."""

    name = "played"

    def __init__(self, slots: int, greeting: bool = True) -> None:
        self.slots = slots
        self.greeting = greeting
        self.players: list[Player] = []

    def refusal(self, needs: WorkerNeeds) -> str | None:
        return "too large" if needs.resources.num_cpus > self.slots else None

    def fits(self, needs: WorkerNeeds, without: Collection[str] = ()) -> bool:
        holding = [p for p in self.living if p.needs.kind != "host" and p.has_slot and p.name not in without]
        held = [player.needs.resources.num_cpus for player in holding]
        return sum(held) + needs.resources.num_cpus <= self.slots

    def start(self, name: str, needs: WorkerNeeds, sink: Sink) -> Player:
        self.players.append(Player(name, needs, sink))
        if self.greeting:
            self.players[-1].hello()
        return self.players[-1]

    def pump(self, timeout_s: float) -> None:
        return

    def wake(self) -> None:
        return

    def rest(self) -> None:
        return

    def resume(self) -> None:
        return

    def close(self) -> None:
        return

    @property
    def living(self) -> list[Player]:
        return [player for player in self.players if player.alive]


@dataclass
class Show:
    stage: Stage
    pool: Pool
    count: int = 0
    events: list[ExecutorEvent] = field(default_factory=list)

    def submit(self, run: str = "run", **options: object) -> str:
        self.count += 1
        bundle = Bundle(f"b{self.count}", run, 1, 0, [Segment("node", 0, 1, [])], **options)  # type: ignore[arg-type]
        self.pool.submit(bundle)
        self.events += self.pool.poll(0)
        return bundle.id

    def poll(self) -> list[ExecutorEvent]:
        """What has happened since the last call, greetings left out."""
        seen, self.events = [*self.events, *self.pool.poll(0)], []
        return [event for event in seen if not isinstance(event, Joined)]


@pytest.fixture
def show() -> Callable[[int], Show]:
    def make(slots: int) -> Show:
        stage = Stage(slots)
        pool = Pool(stage)
        for run in ("run", "other"):
            pool.open(RunCode(run, f"capsule of {run}", lambda node: b"{}", lambda digest: None))
        return Show(stage, pool)

    return make


def test_light_bundles_fill_workers_two_deep_and_no_deeper(show: Callable[[int], Show]) -> None:
    play = show(2)
    assert play.pool.room() == 4
    bundles = [play.submit() for _ in range(5)]
    assert [player.bundles for player in play.stage.players] == [["b1", "b3"], ["b2", "b4"]]
    assert play.pool.room() == 0
    play.stage.players[1].finish("b2")
    events = play.poll()
    assert [event.bundle for event in events if isinstance(event, Accepted)] == bundles
    assert play.stage.players[1].bundles == ["b2", "b4", "b5"]


def test_a_node_is_defined_once_a_worker(show: Callable[[int], Show]) -> None:
    play = show(1)
    play.submit()
    play.submit()
    kinds = [type(frame).__name__ for frame in play.stage.players[0].heard]
    assert kinds == ["Define", "Run", "Run"]


def test_a_dead_worker_is_reported_with_its_bundles_only(show: Callable[[int], Show]) -> None:
    play = show(2)
    for _ in range(3):
        play.submit()
    first = play.stage.players[0]
    first.finish("b1")
    first.die("out of memory")
    events = play.poll()
    assert [event for event in events if isinstance(event, Lost)] == [Lost(first.name, "out of memory", ("b3",))]
    assert any(isinstance(event, FromBundle) and event.frame.bundle == "b1" for event in events)  # type: ignore[union-attr]


def test_a_worker_that_can_never_be_placed_refuses_its_bundles(show: Callable[[int], Show]) -> None:
    play = show(2)
    play.submit(heavy=Resources(), alone=True)
    play.stage.players[0].die("no node has a GPU", never=True)
    assert Refused("b1", "no node has a GPU") in play.poll()


def test_a_heavy_bundle_that_is_too_large_is_refused_at_once(show: Callable[[int], Show]) -> None:
    play = show(2)
    play.submit(heavy=Resources(num_cpus=3))
    assert play.poll() == [Refused("b1", "too large")]


def test_pool_workers_make_way_for_a_heavy_bundle(show: Callable[[int], Show]) -> None:
    play = show(2)
    play.submit()
    play.submit()
    heavy = play.submit(heavy=Resources(num_cpus=2))
    assert play.pool.room() == 0
    assert heavy == "b3"
    assert play.submit() == "b4"
    for player, bundle in zip(play.stage.players[:2], ("b1", "b2"), strict=True):
        player.finish(bundle)
    play.poll()
    assert all(isinstance(player.heard[-1], frames.Stop) for player in play.stage.players[:2])
    play.poll()
    assert play.stage.players[2].bundles == [heavy]
    assert play.stage.players[2].needs.kind == "heavy"
    play.stage.players[2].finish(heavy)
    play.poll()
    assert not play.stage.players[2].alive
    play.poll()
    assert play.stage.players[3].bundles == ["b4"]


def test_a_heavy_worker_that_holds_nothing_takes_the_next_bundle(show: Callable[[int], Show]) -> None:
    play = show(1)
    serving: dict[str, Any] = {"heavy": Resources(num_cpus=0), "uses": ("serving",)}
    first, beside = play.submit(**serving), play.submit(**serving)
    assert [player.bundles for player in play.stage.players] == [[first], [beside]]  # one after the other in each
    play.stage.players[0].finish(first)
    play.poll()
    following = play.submit(**serving)
    assert play.stage.players[0].bundles == [first, following]
    others = [
        play.submit(run="other", **serving),
        play.submit(heavy=Resources(num_cpus=0)),
        play.submit(isolated=True, **serving),
    ]
    assert [player.bundles for player in play.stage.players[2:]] == [[bundle] for bundle in others]
    for player, bundle in zip(play.stage.players, (following, beside, *others), strict=True):
        player.finish(bundle)
    play.poll()
    assert [player.alive for player in play.stage.players] == [True, True, True, True, False]


def test_what_other_parts_of_the_engine_start_ends_with_its_heavy_worker(show: Callable[[int], Show]) -> None:
    play = show(1)
    tuning = play.submit(heavy=Resources(num_cpus=0), uses=("tune",))
    play.stage.players[0].finish(tuning)
    play.poll()
    assert not play.stage.players[0].alive


def test_a_lasting_worker_that_was_killed_or_has_grown_takes_nothing_more(show: Callable[[int], Show]) -> None:
    play = show(1)
    serving: dict[str, Any] = {"heavy": Resources(num_cpus=0), "uses": ("serving",)}
    killed = play.submit(**serving)
    player = play.stage.players[0]
    (member,) = play.pool._members.values()
    member.killed_because = "it has not answered"
    player.finish(killed)  # on its way when it was killed
    play.poll()
    beside = play.submit(**serving)
    assert [player.bundles for player in play.stage.players] == [[killed], [beside]]
    for times in range(GROWTH_TIMES + 1):
        play.stage.players[1].say(frames.Alive(10**8 + times * GROWTH_BYTES))
    play.stage.players[1].finish(beside)
    play.pool._watched_at = time.monotonic() + 60  # nobody looks at memory before the next bundle comes
    play.poll()
    last = play.submit(**serving)
    assert play.stage.players[2].bundles == [last]


def test_a_bundle_that_must_be_alone_gets_an_empty_worker_and_keeps_it(show: Callable[[int], Show]) -> None:
    play = show(1)
    play.submit()
    alone = play.submit(alone=True)
    play.submit()
    player = play.stage.players[0]
    assert player.bundles == ["b1"]
    player.finish("b1")
    play.poll()
    assert player.bundles == ["b1", alone]
    player.finish(alone)
    play.poll()
    assert player.bundles == ["b1", alone, "b3"]


def test_hosts_take_no_slot_and_share_bodies_when_there_are_enough(show: Callable[[int], Show]) -> None:
    play = show(2)
    for _ in range(5):
        play.submit(host=True)
    assert [player.needs.kind for player in play.stage.players] == ["host", "host"]
    assert sorted(len(player.bundles) for player in play.stage.players) == [2, 3]
    assert play.pool.room() == 4


def test_a_worker_that_starts_slowly_is_not_idle_until_it_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WATCH_S", -1.0)
    pool = Pool(Stage(1, greeting=False), idle_s=0.0)
    pool.open(RunCode("run", "", lambda node: b"{}", lambda digest: None))
    pool._start(WorkerNeeds("pool"))
    (member,) = pool._members.values()
    pool.poll(0)
    assert not member.closing
    member.channel.hello()  # type: ignore[attr-defined]
    pool.poll(0)
    pool.poll(0)
    assert member.closing


def test_an_idle_worker_of_other_code_makes_room(show: Callable[[int], Show]) -> None:
    play = show(1)
    play.submit()
    play.stage.players[0].finish("b1")
    play.poll()
    other = play.submit(run="other")
    play.poll()
    assert not play.stage.players[0].alive
    assert play.stage.players[1].bundles == [other]


def test_cancelling_what_waits_inside_ends_it(show: Callable[[int], Show]) -> None:
    play = show(1)
    for _ in range(3):
        play.submit()
    play.poll()
    play.pool.cancel("b3")
    back, end = play.poll()
    assert isinstance(back, FromBundle)
    assert back.frame == frames.Released("b3", [("node", 0, 1)])
    assert isinstance(end, FromBundle)
    assert isinstance(end.frame, frames.Outcomes)
    assert (end.frame.bundle, end.frame.finished) == ("b3", True)


def test_read_frames_are_acknowledged(show: Callable[[int], Show]) -> None:
    play = show(1)
    play.submit()
    player = play.stage.players[0]
    for _ in range(member_module.ACKNOWLEDGE_FRAMES):
        player.say(frames.Outcomes("b1", "", None))
    play.poll()
    assert player.heard[-1] == frames.Acknowledge(member_module.ACKNOWLEDGE_FRAMES)


def test_workers_hear_before_their_first_bundle_and_again_for_how_long_they_may_start_steps() -> None:
    stage = Stage(1)
    pool = Pool(stage, leave_s=0.2)
    pool.open(RunCode("run", "capsule", lambda node: b"", lambda digest: None))
    play = Show(stage, pool)
    play.submit()
    player = stage.players[0]
    assert [type(frame).__name__ for frame in player.heard] == ["Continue", "Run"]
    deadline = time.monotonic() + 300
    while len(player.heard) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
        play.poll()
    assert player.heard[2:4] == [frames.Continue(0.2)] * 2
    player.finish("b1")
    play.poll()
    said = len(player.heard)
    time.sleep(0.2)
    play.poll()
    assert len(player.heard) == said


def test_a_worker_that_talks_nonsense_is_killed(show: Callable[[int], Show]) -> None:
    play = show(1)
    play.submit()
    player = play.stage.players[0]
    player.sink(player.name, b"\xc1 nonsense")
    events = [*play.poll(), *play.poll()]
    assert any(isinstance(event, Lost) and event.bundles == ("b1",) for event in events)


# ---- one worker


@pytest.fixture
def member() -> Member:
    return Member(Player("one", WorkerNeeds("pool"), lambda name, said: None), WorkerNeeds("pool"))


def give(member: Member, timeout_s: float | None) -> None:
    code = RunCode("run", "", lambda node: b"{}", lambda digest: None)
    member.give(Bundle(f"b{timeout_s}", "run", 1, 0, [Segment("n", 0, 1, [])], timeout_s=timeout_s), code)


def test_silence_is_death_only_after_the_time_out_of_what_runs(member: Member) -> None:
    give(member, 10.0)
    give(member, 1.0)
    assert not member.is_overdue(member.heard_at + member.channel.start_s - 1)
    member.heard(frames.Hello(1, "", "", {}))
    assert not member.is_overdue(member.heard_at + 10.0 + SILENT_S - 0.1)
    assert member.is_overdue(member.heard_at + 10.0 + SILENT_S + 0.1)
    assert member.timed_out
    assert "time-out" in member.killed_because


def test_silence_of_a_step_without_time_out_is_no_death(member: Member) -> None:
    member.heard(frames.Hello(1, "", "", {}))
    give(member, None)
    assert not member.is_overdue(member.heard_at + 1e6)


def test_a_worker_that_never_starts_is_given_up(member: Member) -> None:
    assert member.is_overdue(member.heard_at + member.channel.start_s + 1)
    assert not member.timed_out


def test_a_worker_retires_when_its_memory_grows_again_and_again_but_not_for_growing_once(member: Member) -> None:
    member.heard(frames.Hello(1, "here", "", {}))
    start = 100 * 1024 * 1024
    for _ in range(50):
        member.heard(frames.Alive(start))
        start = 100 * 1024 * 1024 + 4 * GROWTH_BYTES
    assert not member.keeps_growing
    assert member.room() == 2
    for step in range(GROWTH_TIMES):
        member.heard(frames.Alive(start + (step + 1) * 2 * GROWTH_STEP_BYTES))
    assert member.keeps_growing
    assert member.room() == 0


# ---- slots that are lent, workers that are parked


def host(show: Callable[[int], Show], slots: int) -> tuple[Show, Player, str, Player]:
    """A pool with one idle worker and a host whose body asks for a slot."""
    stage = show(slots)
    light = stage.submit()
    (worker,) = stage.stage.players
    worker.finish(light)
    body = stage.submit(host=True)
    home = stage.stage.players[-1]
    home.say(frames.Borrow(body))
    stage.poll()
    return stage, worker, body, home


def test_a_body_gets_the_slot_of_an_idle_worker_and_that_one_gets_no_bundle(show: Callable[[int], Show]) -> None:
    stage, worker, body, home = host(show, 1)
    assert frames.Lend(body) in home.heard
    waiting = stage.submit()
    assert stage.pool.idle() == 0
    assert waiting not in worker.bundles
    assert frames.Recall(body) in home.heard
    home.say(frames.HandBack(body))
    stage.poll()
    assert waiting in worker.bundles


def test_the_planner_is_told_of_room_while_slots_are_lent(show: Callable[[int], Show]) -> None:
    stage, *_ = host(show, 1)
    assert stage.pool.room() > 0


def test_a_body_that_asks_while_all_slots_work_gets_one_when_one_is_idle(show: Callable[[int], Show]) -> None:
    stage = show(1)
    light = stage.submit()
    body = stage.submit(host=True)
    worker, home = stage.stage.players
    home.say(frames.Borrow(body))
    stage.poll()
    assert frames.Lend(body) not in home.heard
    worker.finish(light)
    stage.poll()
    assert frames.Lend(body) in home.heard


@pytest.mark.parametrize("end", ["finishes", "dies"])
def test_a_lent_slot_comes_back_when_its_body_ends(show: Callable[[int], Show], end: str) -> None:
    stage, worker, body, home = host(show, 1)
    if end == "finishes":
        home.finish(body)
    else:
        home.die()
    stage.poll()
    assert stage.submit() in worker.bundles


def test_a_heavy_bundle_gets_a_lent_slot_back(show: Callable[[int], Show]) -> None:
    stage, worker, body, home = host(show, 1)
    heavy = stage.submit(heavy=Resources(num_cpus=1, memory=1))
    assert frames.Recall(body) in home.heard
    home.say(frames.HandBack(body))
    stage.poll()
    stage.poll()
    assert not worker.alive
    assert heavy in stage.stage.players[-1].bundles


def test_an_idle_worker_whose_slot_is_apart_is_parked_and_comes_back(show: Callable[[int], Show]) -> None:
    stage = show(1)
    first = stage.submit()
    (worker,) = stage.stage.players
    worker.apart = True
    worker.finish(first)
    assert stage.pool.rest()
    assert worker.alive
    assert not worker.has_slot
    stage.pool.open(RunCode("next", "capsule of run", lambda nodes: b"", lambda digest: None))
    second = stage.submit("next")
    assert second not in worker.bundles
    worker.has_slot = True
    stage.poll()
    assert second in worker.bundles
    assert stage.stage.players == [worker]


def test_the_first_idle_worker_of_the_same_code_hears_of_a_run_before_its_first_bundle(
    show: Callable[[int], Show],
) -> None:
    stage = show(2)
    bundles = [stage.submit(), stage.submit()]
    first, second = stage.stage.players
    for player in (first, second):
        for bundle in {*bundles} & {*player.bundles}:
            player.finish(bundle)
    stage.poll()
    for capsule in ("capsule of run", "capsule of other"):
        stage.pool.open(RunCode(f"next, {capsule}", capsule, lambda nodes: b"", lambda digest: None, "graph"))
    told = frames.Define("next, capsule of run", "capsule of run", b"", "graph")
    assert [frame for frame in first.heard if isinstance(frame, frames.Define)][-1] == told
    assert not any(isinstance(frame, frames.Define) and frame.graph for frame in second.heard)
    stage.submit("next, capsule of run")
    assert [frame for frame in first.heard if frame == told] == [told], "once is enough"


def test_a_pool_does_not_rest_while_something_runs(show: Callable[[int], Show]) -> None:
    stage = show(1)
    stage.submit()
    assert not stage.pool.rest()


def test_a_parked_worker_of_other_code_is_not_used(show: Callable[[int], Show]) -> None:
    stage = show(1)
    first = stage.submit("run")
    (worker,) = stage.stage.players
    worker.apart = True
    worker.finish(first)
    assert stage.pool.rest()
    stage.pool.open(RunCode("other", "capsule of other", lambda nodes: b"", lambda digest: None))
    assert stage.submit("other") not in worker.bundles
