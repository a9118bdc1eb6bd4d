"""A local Ray that stays up between commands: started, attached to, looked at, lost and ended as a user does it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from orchestrator.backends import standing
from orchestrator.backends.bundles import orphans
from tests.backends.ray_fixtures import await_gone, is_alive
from tests.cli.conftest import ROOT, Orc, validate
from tests.cli.test_running import wait_for

pytestmark = pytest.mark.ray

FLOW = "tests.cli.up_flow"


def up(orc: Orc, *more: str) -> Any:
    """The document of ``orc up`` with options."""
    done = orc("up", "--json", *more)
    assert done.code == 0, done.err
    return done.document("up")


def family(mark: str) -> list[int]:
    """Every process of a standing Ray, by its mark in their environment."""
    return orphans._family(mark, 0)


def asked(url: str) -> Any:
    """A document of the API."""
    with urlopen(url, timeout=60) as answer:
        return json.load(answer)


def until(look: Callable[[], Any], condition: Callable[[Any], object]) -> Any:
    """What is there once the condition holds."""
    deadline = time.monotonic() + 300
    while not condition(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orc]:
    """``orc`` with a Ray of one CPU in the background, which two commands have started at the same time."""
    orc = Orc(tmp_path_factory.mktemp("up") / "home")
    orc.env["RAY_AUTH_TOKEN_PATH"] = str(tmp_path_factory.mktemp("token") / "token")
    try:
        both = [orc.start("up", "--background", "--json", "--num-cpus", "1") for _ in range(2)]
        told = [json.loads(process.communicate(timeout=600)[0]) for process in both]
        for one in told:
            validate(one, "up")
        assert told[0]["pid"] == told[1]["pid"]
        assert sorted(one["started"] for one in told) == [False, True]
        yield orc
    finally:
        orc("down")


@pytest.mark.slow
def test_runs_attach_to_the_one_that_is_up(home: Orc, tmp_path: Path) -> None:
    ran = [home("run", f"{FLOW}:placed", "--on", "ray", f"n={n}", MOOD=f"mood {n}", cwd=ROOT) for n in range(2)]
    first, second = (json.loads(done.out) for done in ran)
    status = up(home, "--status")
    assert first["address"] == second["address"] == status["address"]
    assert first["node"] == second["node"]
    assert first["address"].startswith("127.0.0.1:")
    assert (first["mood"], second["mood"]) == ("mood 0", "mood 1")  # workers see the environment of their driver
    assert first["directory"] == str(ROOT)
    assert (status["cpus"], status["drivers"], status["cpus_used"]) == (1.0, 0, 0.0)


@pytest.mark.slow
def test_what_is_up_is_told(home: Orc) -> None:
    again = home("up", "--background")
    assert (again.code, "already up" in again.err, again.out) == (0, True, "")
    told = home("up", "--status")
    assert told.code == 0
    assert "0 of 1 in use" in told.out
    again = up(home, "--background")
    assert again["started"] is False
    with urlopen(f"{again['pages']}api/v1/runs", timeout=60) as answer:  # the same process serves the pages
        assert "items" in json.load(answer)
    mode = (home.home / standing.RECORD).stat().st_mode
    assert mode & 0o077 == 0


@pytest.mark.slow
def test_a_driver_and_what_it_holds_show(home: Orc, tmp_path: Path) -> None:
    running = home.start("run", f"{FLOW}:waiting", "--on", "ray", f"marker={tmp_path / 'm'}", "--quiet")
    wait_for(tmp_path / "m", running)
    status = up(home, "--status")
    assert (status["drivers"], status["actors"], status["cpus_used"]) == (1, 1, 1.0)
    held = until(
        lambda: asked(f"{status['pages']}api/v1/cluster"),
        lambda found: any(one["steps"] for node in found["nodes"] for one in node["holders"]),
    )
    (node,) = held["nodes"]
    assert (held["source"], held["problem"], node["total"]["CPU"]) == ("up", "", 1.0)
    assert [(one["amounts"], one["run"]) for one in node["holders"]] == [({"CPU": 1.0}, home.newest())]
    (tmp_path / "m").unlink()
    assert running.communicate(timeout=600)[0] == "woken\n"


@pytest.mark.slow
def test_a_lost_ray_ends_its_runs_and_is_replaced(home: Orc, tmp_path: Path) -> None:
    before = standing.find(home.home)
    assert before is not None
    running = home.start("run", f"{FLOW}:waiting", "--on", "ray", f"marker={tmp_path / 'm'}")
    wait_for(tmp_path / "m", running)
    pages = home.start("up", "--no-ray", "--port", "0", "--json")  # a server that outlives the Ray
    assert pages.stdout is not None
    url = json.loads(pages.stdout.readline())["pages"]
    assert until(lambda: asked(f"{url}api/v1/cluster"), lambda found: found["nodes"])["source"] == "up"
    processes = family(before.mark)
    assert processes
    os.kill(before.pid, signal.SIGKILL)
    _, told = running.communicate(timeout=600)
    assert (running.returncode, "orc resume" in told, "Traceback" in told) == (5, True, False), told
    found = asked(f"{url}api/v1/cluster")
    assert (found["source"], [run["driver"] for run in found["runs"]]) == ("none", [None])
    assert asked(f"{url}api/v1/runs/{home.newest()}/nodes")["items"]  # what is on record is there without a cluster
    pages.send_signal(signal.SIGINT)
    pages.communicate(timeout=60)
    gone = home("up", "--status")
    assert (gone.code, "ended unexpectedly" in gone.err) == (4, True)
    replaced = home("up", "--background")
    assert (replaced.code, "ended unexpectedly" in replaced.err) == (0, True)
    await_gone(*processes)
    after = standing.find(home.home)
    assert after is not None
    assert after.alive
    resuming = home.start("resume", home.newest(), "--quiet")
    (tmp_path / "m").unlink()
    wait_for(tmp_path / "m", resuming)
    (tmp_path / "m").unlink()
    assert resuming.communicate(timeout=600)[0] == "woken\n"
    processes = [after.pid, *family(after.mark)]
    assert home("down", "--json").document("down") == {"ended": True, "pid": after.pid}
    assert not [pid for pid in processes if is_alive(pid)]
    assert not (home.home / standing.RECORD).exists()


@pytest.mark.slow
def test_in_the_foreground_it_ends_when_nobody_comes_or_it_is_told_to(orc: Orc, tmp_path: Path) -> None:
    orc.env["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    process = orc.start("up", "--idle", "1s", "--num-cpus", "1")
    out, told = process.communicate(timeout=600)
    assert (process.returncode, out) == (0, "")
    assert "nobody was attached for 1 s" in told
    process = orc.start("up", "--num-cpus", "1")
    deadline = time.monotonic() + 300
    while (found := standing.find(orc.home)) is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(300) == 0
    assert "Ctrl-C" in process.communicate()[1]
    assert family(found.mark) == []
    assert standing.find(orc.home) is None


def test_nothing_is_up(orc: Orc) -> None:
    status = orc("up", "--status")
    assert (status.code, "orc up --background" in status.err) == (4, True)
    ended = orc("down")
    assert (ended.code, ended.out, ended.err) == (0, "", "no Ray was up\n")
    assert orc("down", "--json").document("down") == {"ended": False, "pid": None}


def test_a_later_process_with_the_recorded_id_is_left_alone(orc: Orc) -> None:
    orc("ls")  # makes the home
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        stale = replace(_record(), pid=bystander.pid, identity="an earlier one")
        standing.write(orc.home, stale)
        assert orc("up", "--status").code == 4
        assert orc("down").code == 0
        assert bystander.poll() is None
        bystander.kill()
    assert standing.find(orc.home) is None


def test_options_that_do_not_go_together(orc: Orc) -> None:
    assert orc("up", "--status", "--num-cpus", "2").code == 2
    assert orc("up", "--idle", "soon").code == 2
    assert orc("up", "--num-cpus", "0").code == 2


def _record() -> standing.StandingRay:
    return standing.StandingRay(
        "127.0.0.1:1", 1, "", "cd" * 8, "/tmp/ray/session", {}, "token", 1.0, 0.0, 1e9, None, 0.0, {}
    )
