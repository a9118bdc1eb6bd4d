"""Running, interrupting, resuming and answering, each in real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import FLOW, ROOT, Done, Orc, validate


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a stage has left its marker."""
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_prints_its_result_and_tells_its_progress(used: tuple[Orc, Done]) -> None:
    _, done = used
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["total"], result["flaky"]) == (5, "ok")
    assert result["table"]["$type"] == "pyarrow.lib:Table"
    assert "succeeded square  3 succeeded" in done.err
    assert "retrying  flaky  OSError: not yet" in done.err
    assert "succeeded" in done.err


def test_a_second_run_reuses_what_is_cached(used: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, _ = used
    (tmp_path / "marker").touch()
    again = orc("run", f"{FLOW}:numbers", "n=3", f"marker={tmp_path / 'marker'}")
    assert again.code == 0
    assert "cached    load" in again.err
    assert orc("why", orc.newest(), "load").out.count("same code and inputs as in numbers-") == 1


def test_json_lines_are_facts_and_an_end(orc: Orc) -> None:
    done = orc("run", f"{FLOW}:degrading", "--json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    for line in lines:
        validate(line, "event")
    assert [line["seq"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[0]["event"] == "run_created"
    assert lines[-1] == {
        "kind": "end", "run": orc.newest(), "state": "degraded", "outcome": "", "message": "", "result": -1,
    }  # fmt: skip
    assert done.code == 6


def test_degraded_is_not_shown_as_success(orc: Orc) -> None:
    assert orc("run", f"{FLOW}:degrading", "--allow-degraded", "-q").code == 0
    document = orc("show", orc.newest(), "--json").document("show")
    assert document["run"]["state"] == "degraded"
    assert document["steps"][0]["state"] == "degraded"


def test_a_failed_run_says_where_why_and_what_next(orc: Orc) -> None:
    done = orc("run", f"{FLOW}:failing")
    assert (done.code, done.out) == (1, "")
    assert "ValueError: this cannot work" in done.err
    assert "flow.py:" in done.err
    assert f"orc logs {orc.newest()}" in done.err
    assert "Traceback" not in done.err
    missing = orc("get", orc.newest())
    assert (missing.code, "failed" in missing.err) == (1, True)


def test_a_time_limit_leaves_the_run_to_be_resumed(orc: Orc, tmp_path: Path) -> None:
    done = orc("run", f"{FLOW}:sleeping", f"marker={tmp_path / 'm'}", "--timeout", "2s")
    assert done.code == 124
    assert f"orc resume {orc.newest()}" in done.err
    [item] = orc("ls", "--json").document("ls")
    assert (item["state"], item["driver"]) == ("running", None)
    assert "running, driver: none" in orc("ls").out


def test_an_interrupt_leaves_the_run_to_be_resumed(orc: Orc, tmp_path: Path) -> None:
    process = orc.start("run", f"{FLOW}:sleeping", f"marker={tmp_path / 'm'}")
    wait_for(tmp_path / "m", process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert f"orc resume {orc.newest()}" in err
    assert "Traceback" not in err


def test_a_killed_run_is_resumed_and_a_living_one_is_not(orc: Orc, tmp_path: Path) -> None:
    process = orc.start("run", f"{FLOW}:sleeping", f"marker={tmp_path / 'm'}")
    wait_for(tmp_path / "m", process)
    owned = orc("resume", orc.newest())
    assert (owned.code, "ORC-204" in owned.err) == (1, True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=600)
    (tmp_path / "m").unlink()
    resumed = orc.start("resume", orc.newest())
    wait_for(tmp_path / "m", resumed)
    assert orc("cancel", orc.newest(), "--reason", "enough").code == 0
    assert resumed.wait(timeout=600) == 1
    assert "cancelled" in resumed.communicate()[1]
    ended = orc("resume", orc.newest())
    assert (ended.code, "has ended" in ended.err) == (1, True)


def test_a_run_waits_for_a_person_and_a_program(orc: Orc) -> None:
    done = orc("run", f"{FLOW}:asking", "--detach")
    run = orc.newest()
    assert done.code == 0
    assert f"orc approve {run} approve" in done.err
    [item] = orc("ls", "--state", "waiting", "--json").document("ls")
    assert item["id"] == run
    answer = orc("approve", run, "approve", "--json").document("answer")
    assert answer == {"run": run, "address": "approve", "driver": None}
    assert orc("resume", run, "--detach").code == 0
    assert orc("signal", run, "go", "{by: [1, 2]}").code == 0
    ended = orc("resume", run)
    assert (ended.code, ended.out) == (0, "shipped {'by': [1, 2]}\n")
    assert orc("approve", run, "approve").code == 1
    assert orc("approve", run[:-1], "nothing").code == 1


def test_an_answer_to_what_does_not_wait(orc: Orc) -> None:
    orc("run", f"{FLOW}:asking", "--detach")
    done = orc("approve", orc.newest(), "apprve")
    assert (done.code, "it has: approve" in done.err) == (4, True)


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_gets_a_live_tree(orc: Orc, tmp_path: Path, columns: int) -> None:
    (tmp_path / "m").touch()
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        Orc.command("run", f"{FLOW}:numbers", f"marker={tmp_path / 'm'}"), cwd=ROOT, stdout=subprocess.PIPE,
        stderr=follower, stdin=follower, env={**orc.env, "COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert json.loads(out)["total"] == 14
    assert b"\x1b[" in seen
    assert "├─ ".encode() in seen
    assert "square × 4".encode() in seen
    assert "✓".encode() in seen
