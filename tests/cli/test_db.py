"""``orc`` with its journal on PostgreSQL, and ``orc db`` on both kinds of database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FLOW, Done, Orc
from tests.store.postgres_server import PostgresServer


@pytest.fixture
def on_server(orc: Orc, postgres: PostgresServer) -> Iterator[Orc]:
    """``orc`` with its journal on a server, under short leases."""
    url = postgres.database()
    orc.env |= {"ORC_STORE": url, "ORC_LEASE": "2s"}
    yield orc
    postgres.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def checked(done: Done) -> Any:
    """The document of ``orc db``, all of whose checks are fine."""
    assert done.code == 0, done.err
    document = done.document("db")
    assert all(item["ok"] for item in document["checks"]), document
    return document


def start_and_reach(orc: Orc, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start ``stepwise`` and wait until it has come to the step that waits."""
    process = orc.start("run", f"{FLOW}:stepwise", f"folder={folder}", "-q", *options)
    deadline = time.monotonic() + 300
    while not (folder / "reached").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_a_frozen_driver_that_wakes_says_who_has_its_run(on_server: Orc, tmp_path: Path) -> None:
    process = start_and_reach(on_server, tmp_path)
    process.send_signal(signal.SIGSTOP)
    (tmp_path / "gate").touch()
    try:
        resumed = on_server("resume", on_server.newest(), "--wait", "60s", "-q")
        assert (resumed.code, json.loads(resumed.out)) == (0, 20), resumed.err
    finally:
        process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (1, "")
    assert f"run {on_server.newest()} has been taken over by" in err
    assert "Traceback" not in err
    checked(on_server("db", "check", "--json"))


def test_a_killed_run_is_resumed_backed_up_and_moved_to_a_file(on_server: Orc, tmp_path: Path) -> None:
    process = start_and_reach(on_server, tmp_path, "--key", "hour 7")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (tmp_path / "gate").touch()
    run = on_server.newest()
    resumed = on_server("resume", run, "--wait", "60s", "-q")
    assert (resumed.code, json.loads(resumed.out)) == (0, 20), resumed.err
    [listed] = on_server("ls", "--json").document("ls")
    assert (listed["id"], listed["state"], listed["driver"]) == (run, "succeeded", None)
    shown = on_server("show", run, "--json").document("show")
    assert shown["run"]["state"] == "succeeded"
    again = on_server("run", f"{FLOW}:stepwise", f"folder={tmp_path}", "--key", "hour 7", "-q")
    assert (again.code, json.loads(again.out)) == (0, 20)
    assert run in again.err
    other = on_server("run", f"{FLOW}:numbers", "marker=x", "--key", "hour 7", "-q")
    assert other.code == 2
    assert f"belongs to run {run}" in other.err
    assert [item["id"] for item in on_server("ls", "--json").document("ls")] == [run]
    assert {item["name"] for item in checked(on_server("db", "check", "--json"))["checks"]} >= {
        "schema",
        "runs",
        "chunks",
    }

    file = tmp_path / "journal.orc"
    counts = checked(on_server("db", "backup", str(file), "--json"))["rows"]
    moved = {"ORC_STORE": f"sqlite:///{tmp_path}/moved.db"}
    assert checked(on_server("db", "restore", str(file), "--json", **moved))["rows"] == counts
    assert on_server("get", run, **moved).out == on_server("get", run).out
    assert on_server("db", "restore", str(file), **moved).code == 2


def test_what_is_wrong_with_a_journal_is_found(used: tuple[Orc, Done], tmp_path: Path) -> None:
    orc, _ = used
    assert checked(orc("db", "upgrade", "--json"))["found"] is not None
    file = tmp_path / "journal.orc"
    assert checked(orc("db", "backup", str(file), "--json"))["rows"]["run"] >= 1
    assert orc("db", "backup").code == 2
    assert orc("db", "check", "file").code == 2
    assert orc("db", "restore", str(tmp_path / "none")).code == 4
    # Without its artifacts a journal cannot be replayed, and says so.
    away = {"ORC_STORE": f"sqlite:///{tmp_path}/away.db", "ORC_ARTIFACTS": str(tmp_path / "nothing")}
    restored = orc("db", "restore", str(file), "--json", **away)
    assert restored.code == 1
    assert [item["ok"] for item in restored.document("db")["checks"] if item["name"] == "runs"] == [False]
