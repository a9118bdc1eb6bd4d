"""Local worker processes: they start, they say why if they cannot, and they do not outlive their driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator.backends.bundles.pipes import PipeTransport
from orchestrator.backends.bundles.pool import Pool
from orchestrator.backends.bundles.transport import Death, WorkerNeeds, WorkerSettings
from orchestrator.errors import WorkerStartFailed
from orchestrator.graph.policy import Resources
from orchestrator.ports.executor import Bundle, Lost, RunCode
from orchestrator.ports.frames import Segment
from tests.backends import faulty
from tests.backends.conftest import Bench
from tests.backends.conversation import traced
from tests.backends.test_executor_faults import wait_until_gone

DRIVER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.backends import faulty
from tests.backends.conftest import Bench
from tests.backends.conversation import traced, whole
bench = Bench("pipes", Path({directory!r}))
graph = traced(lambda: getattr(faulty, {name!r})({argument!r}))
talk = bench.talk(graph)
talk.submit(whole(graph))
while True:
    talk.executor.poll(0.1)
"""


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    return Bench("pipes", tmp_path).settings


@pytest.mark.parametrize("name", ["stubborn", "hold_gil"])
def test_workers_and_their_children_end_with_a_killed_driver(tmp_path: Path, name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    directory, child_file = tmp_path / "bench", tmp_path / "child"
    directory.mkdir()
    source = DRIVER.format(
        root=str(root), directory=str(directory), name=name, argument=str(child_file) if name == "stubborn" else 1
    )
    driver = subprocess.Popen([sys.executable, "-c", source])
    try:
        deadline = time.monotonic() + 300
        workers: list[int] = []
        while not (workers and (child_file.exists() or name != "stubborn")):
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.05)
            workers = _children(driver.pid)
        time.sleep(0.5)
        workers = _children(driver.pid)
    finally:
        driver.kill()
        driver.wait()
    for pid in [*workers, *([int(child_file.read_text())] if child_file.exists() else [])]:
        wait_until_gone(pid, limit_s=200)


def _children(parent: int) -> list[int]:
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, ppid in (line.split() for line in listing.splitlines()) if int(ppid) == parent]


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, settings: WorkerSettings) -> None:
    shutil.rmtree(tmp_path / "artifacts")
    (tmp_path / "artifacts").write_text("this is no directory")
    graph = traced(lambda: faulty.add(1))
    pool = Pool(PipeTransport(settings, 1))
    try:
        pool.open(RunCode("run", "0" * 64, lambda node: b"", lambda digest: None))
        bundle = Bundle("bundle", "run", 1, 0, [Segment(graph.graph.nodes[0].id, 0, 1, [])])
        pool.submit(bundle)
        with pytest.raises(WorkerStartFailed, match="artifacts"):
            _resubmit_for_ever(pool, bundle)
    finally:
        pool.close()


def _resubmit_for_ever(pool: Pool, bundle: Bundle) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for event in pool.poll(0.1):
            if isinstance(event, Lost):
                assert event.bundles == ("bundle",)
                pool.submit(bundle)


def test_a_death_that_is_told_before_the_socket_is_read_frees_the_socket(settings: WorkerSettings) -> None:
    transport = PipeTransport(settings, 2)
    heard: dict[str, list[bytes | Death]] = {}
    told = threading.Event()

    def sink(name: str, said: bytes | Death) -> None:
        heard.setdefault(name, []).append(said)

    try:
        first = transport.start("one", WorkerNeeds("pool"), sink)
        while "one" not in heard:
            transport.pump(0.1)
        number = first.socket.fileno()
        first.kill()
        while not any(isinstance(said, Death) for said in heard["one"]):
            transport._hear_nursery()  # the socket's end, which is there too, has not been seen
            told.wait(0.01)
        second = transport.start("two", WorkerNeeds("pool"), sink)
        assert second.socket.fileno() == number
        while "two" not in heard:
            transport.pump(0.1)
        assert isinstance(heard["two"][0], bytes)
    finally:
        transport.close()


def test_a_worker_says_hello_and_leaves_when_told(tmp_path: Path, settings: WorkerSettings) -> None:
    transport = PipeTransport(settings, 1)
    heard: list[bytes | Death] = []
    channel = transport.start("one", WorkerNeeds("pool"), lambda name, said: heard.append(said))
    deadline = time.monotonic() + 300
    while not heard and time.monotonic() < deadline:
        transport.pump(0.1)
    assert isinstance(heard[0], bytes)
    channel.kill()
    while not isinstance(heard[-1], Death) and time.monotonic() < deadline:
        transport.pump(0.1)
    assert isinstance(heard[-1], Death)
    assert "SIGKILL" in heard[-1].reason
    assert not channel.alive
    channel.send(b"to nobody")
    transport.close()


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (WorkerNeeds("heavy", resources=Resources(num_cpus=3)), "3 CPUs, but this machine gives 2 CPUs"),
        (WorkerNeeds("heavy", resources=Resources(num_gpus=0.5)), "0.5 GPUs"),
        (WorkerNeeds("heavy", resources=Resources(memory=1 << 50)), "bytes of memory"),
        (WorkerNeeds("heavy", resources=Resources(resources={"tpu": 1})), "1 tpu"),
        (WorkerNeeds("heavy", resources=Resources(label_selector={"zone": "a"})), "label_selector"),
        (WorkerNeeds("heavy", uses=("tune",)), "tune"),
    ],
)
def test_what_never_fits_is_refused_with_need_and_supply(
    settings: WorkerSettings, needs: WorkerNeeds, words: str
) -> None:
    transport = PipeTransport(settings, 2, memory=1 << 30)
    try:
        assert words in (transport.refusal(needs) or "")
    finally:
        transport.close()


def test_pool_workers_make_way_for_a_heavy_step(tmp_path: Path) -> None:
    bench = Bench("pipes", tmp_path)
    graph = traced(lambda: faulty.sleep_s.map(list(range(6)), seconds=0.05))
    talk = bench.talk(graph)
    try:
        for index in range(5):
            talk.submit(Segment("sleep_s", index, index + 1, []))
        talk.submit(Segment("sleep_s", 5, 6, []), alone=True, heavy=Resources(num_cpus=2))
        talk.finish()
        assert set(talk.items("sleep_s")) == set(range(6))
    finally:
        talk.executor.close()


def test_wake_ends_a_wait_from_another_thread(settings: WorkerSettings) -> None:
    import threading

    transport = PipeTransport(settings, 1)
    started = time.monotonic()
    threading.Timer(0.1, transport.wake).start()
    transport.pump(20)
    assert time.monotonic() - started < 10
    transport.close()
