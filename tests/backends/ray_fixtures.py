"""One local Ray for the whole test session, and the parts of it that tests share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from orchestrator.backends.bundles.ray_transport import Entry, RayTransport
from orchestrator.backends.bundles.transport import Channel, Death, WorkerNeeds
from orchestrator.backends.cluster import Cluster, ClusterSettings
from tests.backends.ray_echo import echo

POOL = WorkerNeeds("pool")

QUICK_HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
"""A lost node is noticed after five seconds; much quicker, and a busy machine loses living ones."""


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two CPUs, four GPUs that do not exist, one licence, and a zone; with a token file of its own.

    It ends with the process, as the Ray of any program that just ends: a hang in Ray's own end, after hundreds of
    tests in one process, then costs no test session.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path_factory.mktemp("ray") / "token"))
        cluster = Cluster(
            ClusterSettings(
                num_cpus=2, num_gpus=4, resources={"licence": 1}, labels={"zone": "a"}, system_config=QUICK_HEALTH
            )
        )
        cluster.connect()
        yield cluster


class Heard:
    """What the workers of a transport have said, for a test that waits for the next thing."""

    def __init__(self, transport: RayTransport) -> None:
        self.transport = transport
        self.said: dict[str, list[bytes | Death]] = {}

    def sink(self, worker: str, said: bytes | Death) -> None:
        """Note it."""
        self.said.setdefault(worker, []).append(said)

    def next(self, worker: str, timeout_s: float = 200.0) -> bytes | Death:
        """The next thing a worker says."""
        deadline = time.monotonic() + timeout_s
        while not self.said.get(worker):
            assert time.monotonic() < deadline, f"{worker} said nothing for {timeout_s} s"
            self.transport.pump(0.1)
        return self.said[worker].pop(0)

    def death(self, worker: str, timeout_s: float = 200.0) -> Death:
        """The death of a worker; what it said before is dropped."""
        while True:
            said = self.next(worker, timeout_s)
            if isinstance(said, Death):
                assert not self.said[worker]
                return said

    def start(self, name: str, needs: WorkerNeeds = POOL) -> tuple[Channel, dict[str, str]]:
        """A worker that is up, and what it said about itself."""
        channel = self.transport.start(name, needs, self.sink)
        hello = self.next(name)
        assert isinstance(hello, bytes), hello
        return channel, dict(part.split("=", 1) for part in hello.decode().split(" "))

    def await_room(self, timeout_s: float = 200.0) -> None:
        """Wait until another pool worker fits: Ray's own view of what is free comes a moment after a death."""
        deadline = time.monotonic() + timeout_s
        while not self.transport.fits(POOL):
            assert time.monotonic() < deadline, "what a dead worker held stays taken"
            self.transport.pump(0.02)  # it is a later look at Ray that corrects a view that lagged


@pytest.fixture
def ray_transport(local_ray: Cluster) -> Iterator[Callable[[Entry], RayTransport]]:
    """Makes transports, and closes them."""
    made: list[RayTransport] = []

    def make(entry: Entry) -> RayTransport:
        made.append(RayTransport(local_ray, entry))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def heard(ray_transport: Callable[[Entry], RayTransport]) -> Heard:
    """A transport whose workers send back what they are sent, and what they have said."""
    return Heard(ray_transport(echo))


def await_gone(*pids: int, timeout_s: float = 200.0) -> None:
    """Wait until processes have ended; fails if one does not."""
    deadline = time.monotonic() + timeout_s
    for pid in pids:
        while is_alive(pid):
            assert time.monotonic() < deadline, f"process {pid} is still there"
            time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """True if there is such a process and it is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # it ended between opening and reading
        return False
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")
