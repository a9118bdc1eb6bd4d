"""``orc torture``: every planted unsafe step is named with its kind, and a safe pipeline is left in peace."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.conftest import FLOW, Orc

UNSAFE = "tests.testing.unsafe_flow"

PLANTED = {
    ("stamped", "output differs when repeated"),
    ("named", "output differs when repeated"),
    ("unsorted", "output differs between processes"),
    ("dated", "output differs when repeated"),
    ("dated", "acts on the outside without effects=True"),
    ("logged", "acts on the outside without effects=True"),
    ("asked", "acts on the outside without effects=True"),
    ("called", "acts on the outside without effects=True"),
    ("mailed", "repeats its effect"),
    ("billed", "different payloads under one key"),
    ("sorted_in_place", "changes its input"),
    ("configured", "changes global state"),
    ("using", "depends on earlier steps of its process"),
    ("made", "fails when repeated"),
}


@pytest.mark.timeout(950)
def test_every_planted_unsafe_step_is_found_and_nothing_else(orc: Orc, tmp_path: Path) -> None:
    folder = tmp_path / "outside"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = orc("torture", f"{UNSAFE}:unsafe", f"folder={folder}", f"port={port}", "--json")
    document = done.document("torture")
    assert done.code == 1, done.err
    found = {(item["step"].partition("[")[0], item["kind"]): item for item in document["findings"]}
    assert set(found) == PLANTED
    assert document["points"] >= 3 * document["writes"]
    assert document["kills"] > document["points"]
    assert str(folder / "log") in found["logged", "acts on the outside without effects=True"]["evidence"]
    assert "times in the run killed" in found["logged", "acts on the outside without effects=True"]["evidence"]
    assert f"127.0.0.1:{port}" in found["asked", "acts on the outside without effects=True"]["evidence"]
    assert "FileExistsError" in found["made", "fails when repeated"]["evidence"]
    assert "'CONFIGURED'" in found["configured", "changes global state"]["evidence"]
    assert "step().key" in found["mailed", "repeats its effect"]["fix"]
    assert "mailed, billed, made" in done.err
    assert "crash points" in done.err
    assert not orc.home.exists()


def test_a_safe_pipeline_is_left_in_peace(orc: Orc, tmp_path: Path) -> None:
    done = orc("torture", f"{UNSAFE}:safe", f"folder={tmp_path}", "--answer", "label=x", "--points", "5")
    assert done.code == 0, done.out + done.err
    assert "swept 5 crash points: killed" in done.out
    assert "nothing found" in done.out
    assert not Path("scratch-file-of-a-step").exists()


def test_findings_say_what_was_seen_and_how_to_fix_it(orc: Orc) -> None:
    done = orc("torture", f"{UNSAFE}:two_kinds", "--points", "2")
    assert done.code == 1
    assert "stamped[0]: output differs when repeated" in done.out
    assert "fix: draw from step().random" in done.out
    assert "sorted_in_place[0]: changes its input" in done.out
    assert done.out.rstrip().endswith("2 findings")


def test_on_local_workers_outputs_are_compared_and_workers_do_not_stay(orc: Orc) -> None:
    done = orc("torture", f"{UNSAFE}:two_kinds", "--points", "3", "--on", "local", "--json")
    document = done.document("torture")
    found = [(item["step"], item["kind"]) for item in document["findings"]]
    assert (done.code, found) == (1, [("stamped[0]", "output differs when repeated")]), done.err
    assert document["kills"] > 2
    calm = orc("torture", f"{UNSAFE}:calm", "--points", "3", "--on", "local")
    assert (calm.code, "nothing found" in calm.out) == (0, True), calm.out + calm.err


def test_what_cannot_be_tortured_says_why(orc: Orc, tmp_path: Path) -> None:
    assert orc("torture", "tests.testing.no_such_flow:safe").code == 4
    assert orc("torture", f"{UNSAFE}:nothing").code == 2
    assert orc("torture", f"{UNSAFE}:safe", f"folder={tmp_path}", "--points", "0").code == 2
    assert orc("torture", f"{UNSAFE}:calm", "--on", "mars").code == 2
    wrong = orc("torture", f"{UNSAFE}:safe", f"folder={tmp_path}", "--answer", "label")
    assert (wrong.code, "write --answer step=value" in wrong.err) == (2, True)
    slow = orc("torture", f"{FLOW}:sleeping", f"marker={tmp_path / 'marker'}", "--limit", "2s")
    assert (slow.code, "did not end within 2 s" in slow.err) == (1, True)
    assert "Traceback" not in wrong.err + slow.err
