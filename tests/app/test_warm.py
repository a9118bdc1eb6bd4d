"""Workers that stay between the runs of one process: when they are used again, when not, and that they end.

``tests/cli/test_up.py`` has a Ray that stays for other processes; these stay within one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import RunFailed, pipeline, stage
from orchestrator.backends.cluster import Cluster
from orchestrator.graph import fact as f
from tests.app import meetings
from tests.app.meetings import wait_until
from tests.app.test_killed import ROOT, environment
from tests.backends.ray_fixtures import await_gone, is_alive

LOCAL = meetings.one_process.options(on="local")


@pytest.fixture(autouse=True)
def two_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processors there are."""
    monkeypatch.setenv("ORC_SLOTS", "2")


def pid_of(run: Any) -> int:
    """The worker that ran ``one_process``."""
    pid: int = run.result()[0]
    return pid


def workers(run: Any) -> set[int]:
    """Processes that joined a run."""
    return {event.fact.pid for event in run.events() if isinstance(event.fact, f.WorkerStarted)}


def test_a_second_run_uses_the_processes_of_the_first(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (meetings.meeting.options(on="local").run(folder=str(folder)).result() for folder in folders)
    assert len(set(first)) == 2  # they met, so there were two
    assert set(first) == set(second)


def set_variable(patch: pytest.MonkeyPatch, _: Path) -> None:
    patch.setenv("WARM_WORD", "changed")


def change_directory(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.chdir(folder)


@pytest.mark.parametrize("change", [set_variable, change_directory])
def test_a_changed_environment_or_directory_gets_new_processes_that_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch, Path], None]
) -> None:
    monkeypatch.setenv("WARM_WORD", "first")
    before = pid_of(LOCAL.run())
    change(monkeypatch, tmp_path)
    run = LOCAL.run()
    assert run.result()[2:] == (os.getcwd(), os.environ["WARM_WORD"])
    assert pid_of(run) != before
    await_gone(before)


def test_other_code_gets_processes_of_its_own() -> None:
    @stage
    def elsewhere() -> int:
        return os.getpid()

    @pipeline
    def other_code() -> int:
        return elsewhere()

    before = pid_of(LOCAL.run())
    assert other_code.options(on="local").run().result() != before


def both_slots_are_free(tmp_path: Path) -> None:
    """Two steps can meet: nothing of an earlier run keeps one of the two slots."""
    (tmp_path / "afterwards").mkdir()
    assert len(set(meetings.meeting.options(on="local").run(folder=str(tmp_path / "afterwards")).result())) == 2


def test_a_failed_run_leaves_no_busy_worker(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="no good"):
        meetings.failing_meeting.options(on="local").run(folder=str(tmp_path))
    both_slots_are_free(tmp_path)


def test_a_cancelled_run_leaves_no_busy_worker(tmp_path: Path) -> None:
    run = meetings.sleeping.options(on="local").start(folder=str(tmp_path))
    wait_until(lambda: len(list(tmp_path.glob("asleep-?"))) == 2, "the sleep of both")
    run.cancel()
    assert run.wait().state == "cancelled"
    for number in range(2):
        pid, woken = int((tmp_path / f"asleep-{number}").read_text()), tmp_path / f"woken-{number}"
        wait_until(lambda woken=woken, pid=pid: woken.exists() or not is_alive(pid), "the end of a sleeper")
    both_slots_are_free(tmp_path)


def run_script(tmp_path: Path, text: str) -> Any:
    """What a process prints as JSON, after it has ended."""
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path / "home"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_nothing_is_left_when_the_process_has_ended(tmp_path: Path) -> None:
    said = run_script(
        tmp_path,
        """
        import json
        from tests.app.meetings import one_process
        processes = [one_process.options(on="local").run().result()[:2] for _ in range(2)]
        print(json.dumps([pid for pair in processes for pid in pair]))
        """,
    )
    assert len(set(said)) == 2  # the worker, and the process it was forked from
    await_gone(*said)


def test_a_forked_child_that_ends_leaves_its_parents_workers_alone(tmp_path: Path) -> None:
    before, own, after = run_script(
        tmp_path,
        """
        import json, os, sys
        from tests.app.meetings import one_process
        warm = one_process.options(on="local")
        pid = lambda: warm.run().result()[0]
        before = pid()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, str(pid()).encode())  # a run of its own, with workers of its own
            sys.exit()  # with all that is registered to happen at the exit
        assert os.waitpid(child, 0)[1] == 0
        print(json.dumps([before, int(os.read(reading, 20)), pid()]))
        """,
    )
    assert before == after
    assert own != before
    await_gone(before, own)


@pytest.mark.ray
@pytest.mark.timeout(950)
def test_on_ray_a_second_run_uses_the_same_actor_and_the_cpus_were_free_in_between(local_ray: Cluster) -> None:
    on_ray = meetings.one_process.options(on="ray")
    first = on_ray.run()
    wait_until(lambda: local_ray.available().get("CPU") == 2.0, "the return of the CPUs")
    assert is_alive(pid_of(first))
    second = on_ray.run()
    assert pid_of(second) == pid_of(first)
    assert not workers(second)  # none joined: it was there
