"""The record of a standing Ray, and what is decided by it; no Ray is started here."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backends import standing
from orchestrator.backends.standing import StandingCluster, StandingRay
from orchestrator.errors import ClusterUnreachable


def record(**changes: object) -> StandingRay:
    """A record of this process, as if it kept a Ray."""
    made = StandingRay(
        address="127.0.0.1:1", pid=os.getpid(), identity=standing.process_identity(os.getpid()), mark="ab" * 8,
        session="/tmp/ray/session", versions=standing.installed_versions(), auth_mode="token", cpus=2.0, gpus=0.0,
        memory_bytes=1e9, idle_s=None, started_at=0.0, environ=standing.digests(os.environ, "ab" * 8),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_record_is_read_as_written_and_only_by_its_owner(tmp_path: Path) -> None:
    assert standing.find(tmp_path) is None
    standing.write(tmp_path, record())
    assert standing.find(tmp_path) == record()
    assert stat.S_IMODE((tmp_path / standing.RECORD).stat().st_mode) == 0o600
    standing.remove(tmp_path, record(mark="of another"))
    assert standing.find(tmp_path) is not None
    standing.remove(tmp_path, record())
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1}', "\x00"])
def test_what_we_did_not_write_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / standing.RECORD).write_text(text)
    assert standing.find(tmp_path) is None


def test_a_later_process_with_the_same_id_is_another_one() -> None:
    assert record().alive
    assert not record(identity="an earlier one").alive
    assert standing.process_identity(os.getpid()) == standing.process_identity(os.getpid())


def test_a_process_that_has_ended_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    kept = record(pid=process.pid, identity=standing.process_identity(process.pid))
    assert kept.alive
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not kept.alive  # nobody has asked for its exit code yet
    process.communicate()
    assert not kept.alive


def test_values_of_the_environment_are_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "correct horse")
    standing.write(tmp_path, record(environ=standing.digests(os.environ, "ab" * 8)))
    text = (tmp_path / standing.RECORD).read_text()
    assert "PASSWORD" in text
    assert "correct horse" not in text


def test_workers_get_what_is_set_otherwise_and_ray_keeps_its_own() -> None:
    mark = "ab" * 8
    kept = record(environ=standing.digests({"SAME": "1", "OTHER": "1", "GONE": "1", "RAY_X": "1"}, mark))
    there = {"SAME": "1", "OTHER": "2", "NEW": "3", "RAY_Y": "4", "ORC_WORKER_MARK": "5"}
    assert kept.environ_changes(there) == {"OTHER": "2", "NEW": "3", "GONE": None}


def test_a_living_ray_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    standing.write(tmp_path, record(cpus=7.0))
    cluster = StandingCluster(tmp_path)
    cluster.look()
    assert cluster.settings.num_cpus == 7
    assert cluster.local
    assert (cluster.connected, cluster.lost) == (False, False)
    assert cluster.environ_changes() == {}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"identity": "an earlier one"}, "ended unexpectedly.*orc up --background"),
        ({"versions": {"Python": "3.8.0"}}, r"Python 3\.8\.0 there and 3\.\d+\.\d+ here, Ray \? there.*orc down"),
    ],
)
def test_a_ray_that_cannot_be_used_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, object], said: str
) -> None:
    standing.write(tmp_path, record(**changes))
    cluster = StandingCluster(tmp_path)
    with caplog.at_level(logging.WARNING):
        cluster.look()
    assert cluster.settings.num_cpus is None
    [message] = caplog.messages
    assert re.search(said, message), message


def test_a_ray_that_ends_under_a_run_is_an_error_with_the_next_thing_to_do(tmp_path: Path) -> None:
    standing.write(tmp_path, record())
    cluster = StandingCluster(tmp_path)
    cluster.look()
    cluster._connected = True  # attached, as far as this process knows
    cluster.check()
    cluster._standing = record(identity="an earlier one")
    with pytest.raises(ClusterUnreachable, match="orc resume"):
        cluster.check()


def test_one_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.backends.standing import only_one\n"
        f"with only_one(Path({str(tmp_path)!r})): print('in', flush=True); input()"
    )
    entered = threading.Event()

    def enter() -> None:
        with standing.only_one(tmp_path):
            entered.set()

    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        other.kill()  # the lock ends with its process
        other.wait()
        assert entered.wait(30)
    waiting.join()
    assert [path.name for path in tmp_path.iterdir()] == [standing.LOCK]
