"""Workers in Ray actors: frames, deaths, places and what is left behind."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from orchestrator.backends.bundles import ray_channel
from orchestrator.backends.bundles.ray_survey import Survey
from orchestrator.backends.bundles.transport import Death, WorkerNeeds
from orchestrator.backends.supply import NodeSupply
from orchestrator.graph.policy import Resources
from tests.backends.ray_fixtures import POOL, Heard, await_gone

pytestmark = pytest.mark.ray


def heavy(**resources: object) -> WorkerNeeds:
    return WorkerNeeds("heavy", resources=Resources(**resources))  # type: ignore[arg-type]


def test_frames_of_all_sizes_come_back_in_order(heard: Heard) -> None:
    channel = heard.transport.start("w", POOL, heard.sink)
    sizes = [1, 100, 70_000, 3_000_000, 2] * 20
    for number, size in enumerate(sizes):  # the worker is still starting
        channel.send(number.to_bytes(2, "big") * size)
    heard.next("w")
    for number, size in enumerate(sizes):
        assert heard.next("w") == number.to_bytes(2, "big") * size


def test_steps_get_the_main_thread(heard: Heard) -> None:
    _, hello = heard.start("w")
    assert hello["main"] == "True"


@pytest.mark.parametrize("how", ["exit", "signal", "kill", "raise"])
def test_death_is_the_last_thing_heard_and_frees_the_slot(heard: Heard, how: str) -> None:
    channels = [heard.start(f"w{number}") for number in range(2)]
    assert not heard.transport.fits(POOL)
    channel, hello = channels[0]
    channel.send(b"before")
    if how == "signal":
        assert heard.next("w0") == b"before"
        os.kill(int(hello["pid"]), signal.SIGKILL)
    elif how == "kill":
        assert heard.next("w0") == b"before"
        channel.kill()
    else:
        channel.send(how.encode())
        assert heard.next("w0") == b"before"
    death = heard.next("w0")
    assert isinstance(death, Death)
    assert not death.never
    assert death.reason
    if how == "raise":
        assert "the worker is broken" in death.reason
    assert not channel.alive
    channel.send(b"nobody listens")
    channel.kill()
    await_gone(int(hello["pid"]))
    heard.await_room()
    channels[1][0].send(b"still here")
    assert heard.next("w1") == b"still here"
    heard.start("w2")


def test_a_worker_that_holds_the_gil_is_killed_with_its_children(heard: Heard) -> None:
    channel, hello = heard.start("h", WorkerNeeds("host"))
    channel.send(b"children")
    said = heard.next("h")
    assert isinstance(said, bytes)
    channel.send(b"spin")
    time.sleep(0.3)
    channel.kill()
    heard.death("h", 5)
    await_gone(int(hello["pid"]), *map(int, said.split()))


def test_a_worker_killed_while_it_starts_dies(heard: Heard) -> None:
    channel = heard.transport.start("w", POOL, heard.sink)
    channel.kill()
    heard.death("w")


def test_a_worker_told_to_stop_ends_by_itself(heard: Heard) -> None:
    channel, hello = heard.start("w")
    channel.send(b"last")
    channel.send(b"stop")
    channel.close()
    assert heard.next("w") == b"last"
    assert heard.death("w", 3).reason == "closed"
    await_gone(int(hello["pid"]))


def test_a_worker_that_does_not_stop_is_killed(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_channel, "STOP_S", 0.2)
    channel, hello = heard.start("w")
    channel.close()
    heard.death("w", 5)
    await_gone(int(hello["pid"]))


def test_ended_pool_workers_make_room_for_a_heavy_step(heard: Heard) -> None:
    names = ["w0", "w1"]
    channels = [heard.start(name)[0] for name in names]
    both = heavy(num_cpus=2)
    assert not heard.transport.fits(both)
    assert heard.transport.fits(both, without=names)
    for channel in channels:
        channel.kill()
    for name in names:
        heard.death(name)
    assert heard.transport.fits(both)
    heard.start("big", both)
    assert not heard.transport.fits(POOL)


def test_fractions_of_gpus_are_shared_and_visible(heard: Heard) -> None:
    quarter = heavy(num_cpus=0, num_gpus=0.5)
    gpus = [heard.start(f"g{number}", quarter)[1]["gpus"] for number in range(2)]
    assert gpus[0] == gpus[1]
    assert len(gpus[0]) == 1
    two = heard.start("two", heavy(num_cpus=0, num_gpus=2))[1]["gpus"].split(",")
    assert len(two) == 2
    assert gpus[0] not in two
    assert not heard.transport.fits(heavy(num_cpus=0, num_gpus=2))


def test_memory_labels_and_custom_resources_are_reserved(heard: Heard) -> None:
    needs = heavy(num_cpus=1, memory=2**28, resources={"licence": 1}, label_selector={"zone": "a"})
    heard.start("w", needs)
    assert not heard.transport.fits(needs)
    assert heard.transport.fits(POOL)


def test_a_runtime_environment_reaches_the_step(heard: Heard) -> None:
    _, hello = heard.start("w", heavy(num_cpus=0, runtime_env={"env_vars": {"COLOUR": "green"}}))
    assert hello["colour"] == "green"


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (heavy(num_gpus=5), ["num_gpus=5", "4 GPU"]),
        (heavy(num_cpus=3), ["num_cpus=3", "2 CPU"]),
        (heavy(num_gpus=1.5), ["num_gpus=1.5"]),
        (heavy(resources={"tpu": 1}), ["tpu=1", "0 tpu"]),
        (heavy(label_selector={"zone": "b"}), ["zone=b", "zone=a"]),
        (heavy(accelerator_type="H100"), ["H100"]),
        (heavy(memory=2**60), ["memory="]),
    ],
)
def test_what_can_never_be_placed_is_refused(heard: Heard, needs: WorkerNeeds, words: list[str]) -> None:
    refusal = heard.transport.refusal(needs)
    assert refusal is not None
    for word in words:
        assert word in refusal


def test_a_worker_that_waits_for_what_went_away_is_refused(heard: Heard) -> None:
    needs = heavy(num_cpus=0, resources={"licence": 1})
    heard.start("holder", needs)
    heard.transport.start("waiting", needs, heard.sink)
    link = heard.transport._connect()
    heard.transport._apply(link.ledger, Survey(time.monotonic(), [], [NodeSupply("left", {"CPU": 1.0})], {}))
    death = heard.death("waiting")
    assert death.never
    assert "licence=1" in death.reason


def test_what_can_be_placed_is_not_refused(heard: Heard) -> None:
    for needs in (POOL, WorkerNeeds("host"), heavy(num_cpus=2, num_gpus=0.25), WorkerNeeds("heavy", uses=("data",))):
        assert heard.transport.refusal(needs) is None


def test_a_delegating_step_holds_one_cpu_for_its_own_workers(heard: Heard) -> None:
    heard.start("d", WorkerNeeds("heavy", uses=("data",)))
    heard.start("w")
    assert not heard.transport.fits(POOL)
    import ray

    deadline = time.monotonic() + 300
    while ray.available_resources().get("CPU") != 1.0:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.05)


def test_what_others_hold_is_not_promised(heard: Heard) -> None:
    import ray

    assert heard.transport.refusal(POOL) is None
    holder: Any = ray.remote(num_cpus=2)(Holder).remote()
    ray.get(holder.ready.remote())
    deadline = time.monotonic() + 300
    while heard.transport.fits(POOL):
        assert time.monotonic() < deadline
        heard.transport.pump(0.1)
    ray.kill(holder)
    while not heard.transport.fits(POOL):
        assert time.monotonic() < deadline + 10
        heard.transport.pump(0.1)


class Holder:
    """Somebody else's actor."""

    def ready(self) -> bool:
        return True


def test_closing_the_transport_leaves_no_worker(heard: Heard) -> None:
    pids = [int(heard.start(f"w{number}", needs)[1]["pid"]) for number, needs in enumerate([POOL, WorkerNeeds("host")])]
    heard.transport.close()
    await_gone(*pids)
    assert all(isinstance(said[-1], Death) for said in heard.said.values())


def test_wake_ends_a_pump(heard: Heard) -> None:
    heard.start("w")
    heard.transport.wake()
    before = time.monotonic()
    heard.transport.pump(20.0)
    assert time.monotonic() - before < 10
