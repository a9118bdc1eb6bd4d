"""Starting and finding Ray: quietly, with the right token, and never without an answer."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends import cluster as cluster_module
from orchestrator.backends import ray_token
from orchestrator.backends.cluster import Cluster, ClusterSettings, check_versions, parse_address
from orchestrator.errors import ClusterUnreachable, ConfigError, VersionSkew
from tests.backends.ray_fixtures import await_gone

pytestmark = pytest.mark.ray

ROOT = str(Path(__file__).resolve().parents[2])


def script(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ``ray_scripts`` to its end, in a home of its own."""
    command = [sys.executable, "-m", "tests.backends.ray_scripts", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment(home) | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def clean_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"HOME": str(home)}


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- a local Ray


def test_a_local_ray_survives_the_thread_that_asked_for_it_and_says_nothing(tmp_path: Path) -> None:
    done = script(tmp_path, "short_thread")
    started, ended = lines(done)
    assert started["usage"] == "0"
    assert started["sigterm"] is True
    assert ended == {"ended": True}
    assert done.stderr == ""
    await_gone(int(str(started["worker"])))
    assert stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode) == 0o600


def test_connecting_twice_is_connecting_once(local_ray: Cluster) -> None:
    local_ray.connect()
    assert local_ray.connected
    Cluster(ClusterSettings()).connect()
    assert [node.resources["CPU"] for node in local_ray.supply()] == [2.0]


def test_another_cluster_cannot_be_joined_from_a_connected_process(local_ray: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterUnreachable, match="one connection"):
            Cluster(ClusterSettings(address)).connect()


def test_a_killed_driver_leaves_no_process_of_its_own_ray(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.backends.ray_scripts", "drive", ""]
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(tmp_path), stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        pids = json.loads(driver.stdout.readline())["pids"]
        family = [pid for pid in _children(driver.pid) if pid != driver.pid]
        driver.send_signal(signal.SIGKILL)
    assert family
    await_gone(*pids, *family, timeout_s=300)  # Ray's own agents look for a minute


def _children(pid: int) -> list[int]:
    """A process and all its descendants."""
    listing = subprocess.run(["ps", "-Ao", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listing.stdout.splitlines())}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


# ---- an address


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The head of a cluster with a token, and the home of whoever may use it."""
    home = tmp_path_factory.mktemp("owner")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("ab" * 32)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}", "--num-cpus=1", "--block",
        "--include-dashboard=false", f"--temp-dir={tmp_path_factory.mktemp('r')}",
    ]  # fmt: skip
    environment = clean_environment(home) | {"RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield f"127.0.0.1:{port}", home
    family = _children(process.pid)
    process.terminate()
    process.wait(200)
    await_gone(*family)


def test_the_machines_token_is_used_without_being_told(head: tuple[str, Path]) -> None:
    address, home = head
    (home / ".ray" / "auth_token").chmod(0o644)
    assert lines(script(home, "connect", address, "30")) == [{"connected": True, "cpus": 1.0}]
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600


@pytest.mark.parametrize("token", ["", "cd" * 32], ids=["none", "wrong"])
def test_a_missing_or_wrong_token_is_said_with_what_to_do(head: tuple[str, Path], tmp_path: Path, token: str) -> None:
    environment = {"RAY_AUTH_TOKEN": token} if token else {}
    (said,) = lines(script(tmp_path, "connect", head[0], "30", **environment))
    assert said["error"] == "ClusterUnreachable"
    assert "RAY_AUTH_TOKEN was refused" in str(said["message"]) if token else "no token" in str(said["message"])
    assert "auth_token" in str(said["message"])
    assert float(str(said["took_s"])) < 25


def test_another_ray_version_is_refused_by_both_names(
    head: tuple[str, Path], local_ray: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VersionSkew, match=r"ray 2\.60\.0 here and 2\.41\.0 there"):
        check_versions({"python": "3.11.7", "ray": "2.60.0"}, {"python": "3.11.7", "ray": "2.41.0"}, "the cluster")
    check_versions({"python": "3.11.7"}, {}, "a cluster that does not say")


def test_an_address_where_nobody_answers_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before = time.monotonic()
    with pytest.raises(ClusterUnreachable, match=rf"127\.0\.0\.1:{port}.*ORC_RAY_ADDRESS"):
        Cluster(ClusterSettings(f"127.0.0.1:{port}")).connect()
    assert time.monotonic() - before < 10


def test_something_that_is_no_ray_is_said_in_bounded_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        threading.Thread(target=_swallow, args=(server,), daemon=True).start()
        (said,) = lines(script(tmp_path, "connect", address, "3"))
    assert said["error"] == "ClusterUnreachable"
    assert "did not answer as a Ray head within 3 s" in str(said["message"])
    assert float(str(said["took_s"])) < 15


def _swallow(server: socket.socket) -> None:
    held = []
    while True:
        try:
            held.append(server.accept())
        except OSError:
            return


@pytest.mark.parametrize("address", ["", "host", "ray://host:10001", "host:port", ":6379", "http://h:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        parse_address(address)


def test_addresses_are_read() -> None:
    assert parse_address("10.0.0.5:6379") == ("10.0.0.5", 6379)
    assert parse_address("[::1]:6379") == ("::1", 6379)


# ---- facts for the doctor, and the token file


def test_the_doctor_gets_facts_without_a_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert Cluster().facts()["address"] == "local"
    assert Cluster().facts()["token"] == "none"
    ray_token.prepare_local_token()
    facts = Cluster(ClusterSettings("127.0.0.1:1")).facts()
    assert "no Ray cluster answers" in facts["reachable"]
    assert facts["token_mode"] == "0o600"
    assert (tmp_path / "token").read_text() not in str(facts)
    assert "host:port" in Cluster(ClusterSettings("nonsense")).facts()["reachable"]


def test_a_token_that_is_there_is_kept_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    path.write_text("mine")
    path.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    ray_token.prepare_local_token()
    assert path.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_place_for_a_file_the_token_stays_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "file" / "token"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    ray_token.prepare_local_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_call_without_an_end_gets_one() -> None:
    late = ClusterUnreachable("too late")
    release = threading.Event()
    with pytest.raises(ClusterUnreachable, match="too late"):
        cluster_module.within(0.05, release.wait, late)
    release.set()
    assert cluster_module.within(5.0, lambda: 7, late) == 7


class Ending:
    """A Ray that notes whether garbage is collected while it ends."""

    collected = True

    def init(self, **_: object) -> None:
        """It is there at once."""

    def shutdown(self) -> None:
        self.collected = gc.isenabled()


def test_nothing_is_collected_while_ray_ends() -> None:
    """Ray ends a process, with exit code 1, in which a thread collects an object of its own at that time."""
    ray, cluster = Ending(), Cluster(ClusterSettings())
    cluster._keep(ray, {}, 5.0, "nothing")
    cluster.shutdown()
    assert not ray.collected
    assert gc.isenabled()
