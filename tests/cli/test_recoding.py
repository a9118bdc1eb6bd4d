"""``orc resume --code`` and ``orc rerun``: the table, the question, what is refused, and verification."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Orc

JOBS = "tests.cli.recoded"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "published"


def on_terminal(orc: Orc, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with a terminal as its standard input, on which something is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed.encode())
        return subprocess.run(
            orc.command(*arguments), cwd=ROOT, env=orc.env, stdin=theirs, capture_output=True, text=True, timeout=600
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_waiting_run_goes_on_with_other_code(orc: Orc, target: Path) -> None:
    assert orc("run", f"{JOBS}:job", f"to={target}", "--detach").code == 0
    run = orc.newest()

    refused = orc("resume", run, "--code", f"{JOBS}:job_with_another_total", "--yes")
    assert refused.code == 1
    assert "publish has effects, began already" in refused.err
    assert f"orc rerun {run} --code" in refused.err

    shown = orc("resume", run, "--code", f"{JOBS}:job_with_another_total", "--dry-run", "--json").document("changes")
    seen = {item["node"]: (item["action"], item["finished"], item["steps"], item["part"]) for item in shown["nodes"]}
    assert seen["load"] == ("keep", 1, 1, "")
    assert seen["total"] == ("drop", 1, 1, "code")
    assert seen["publish"] == ("drop", 1, 1, "inputs")
    assert seen["last"] == ("run", 0, 1, "inputs")
    assert shown["acting"] == ["publish"]

    table = orc("resume", run, "--code", f"{JOBS}:job_corrected", "--dry-run")
    assert table.code == 0
    assert "last     0 of 1    runs with the new code  code: the code of its stage changed" in table.out

    unasked = orc("resume", run, "--code", f"{JOBS}:job_corrected")
    assert unasked.code == 2
    assert "add --yes" in unasked.err

    declined = on_terminal(orc, "no\n", "resume", run, "--code", f"{JOBS}:job_corrected")
    assert declined.returncode == 1
    assert "Go on with this code? [y/N]" in declined.stderr
    assert "nothing was changed" in declined.stderr

    orc("signal", run, "go", "7")
    accepted = on_terminal(orc, "y\n", "resume", run, "--code", f"{JOBS}:job_corrected")
    assert accepted.returncode == 0
    assert accepted.stdout == "second version of ['published', 7]\n"
    assert "the run goes on with other code" in accepted.stderr
    assert len(target.read_text().splitlines()) == 1

    ended = orc("resume", run, "--code", f"{JOBS}:job", "--yes")
    assert ended.code == 1
    assert f"orc rerun {run}" in ended.err
    assert orc("resume", run, "--yes").code == 2


def test_a_failed_run_is_run_anew_with_corrected_code(orc: Orc, target: Path) -> None:
    assert orc("run", f"{JOBS}:failing", f"to={target}").code == 1
    run = orc.newest()
    kept = orc("rerun", run, "--code", f"{JOBS}:failing_no_more", "--yes")
    assert (kept.code, kept.out) == (0, "second version of published\n")
    assert len(target.read_text().splitlines()) == 1
    assert orc.newest() != run

    refused = orc("rerun", run, "--code", f"{JOBS}:failing_no_more_otherwise", "--yes")
    assert refused.code == 1
    assert "add --repeat 'publish'" in refused.err
    assert orc("rerun", run, "--keep", "--repeat", "nothing").code == 2
    allowed = orc("rerun", run, "--code", f"{JOBS}:failing_no_more_otherwise", "--yes", "--repeat", "publish")
    assert allowed.code == 0
    keys, sums = zip(*(line.split() for line in target.read_text().splitlines()), strict=True)
    assert (len(set(keys)), sums) == (2, ("3", "4"))


def test_verify_says_yes_or_names_the_step(orc: Orc, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("abc")
    assert orc("run", f"{JOBS}:steady", f"path={path}").code == 0
    steady = orc.newest()
    same = orc("rerun", steady, "--verify")
    assert same.code == 0
    assert "2 steps compared, all outputs are those on record" in same.out
    path.write_text("abcd")
    other = orc("rerun", steady, "--verify", "--json")
    assert other.code == 1
    document = other.document("verification")
    assert document["files"][0]["path"] == str(path)
    assert (document["identical"], document["suspect"]) == (False, None)
    assert f"file {path} changed: it was" in other.err

    assert orc("run", f"{JOBS}:unsteady").code == 0
    differs = orc("rerun", orc.newest(), "--verify")
    assert differs.code == 1
    assert differs.out.splitlines()[1].startswith("clock")
    assert "suspect: clock, the first step whose inputs are the same and whose output is not" in differs.out


def test_a_plain_rerun_and_what_does_not_go_together(orc: Orc, target: Path) -> None:
    assert orc("run", f"{JOBS}:job", f"to={target}", "--detach").code == 0
    run = orc.newest()
    unfinished = orc("rerun", run)
    assert unfinished.code == 1
    assert f"go on with it: orc resume {run}" in unfinished.err
    orc("signal", run, "go")
    assert orc("resume", run).code == 0
    again = orc("rerun", run, "--detach")
    assert again.code == 0
    assert "has effects and acts again: publish" in again.err
    assert len(target.read_text().splitlines()) == 2
    assert orc("rerun", run, "--verify", "--keep").code == 2
    assert orc("rerun", "nothing-like-it").code == 4
    assert orc("rerun", run, "n=4").code == 2
