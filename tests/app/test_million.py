"""``kill -9`` in the middle of a large fan-out: only what nobody had acknowledged runs again.

100,000 items here; ``FAN_OUT_ITEMS=1000000`` in the environment makes it a million. Nothing is timed: items of the
last third wait at a gate, so the driver cannot be done before it is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.config.settings import Settings
from orchestrator.graph import fact as f
from orchestrator.testing import check_run
from tests.app.large_run import peak_mb, ran
from tests.app.test_killed import ROOT, environment

ITEMS = int(os.environ.get("FAN_OUT_ITEMS", "100000"))
KILL_AT, GATE = int(0.3 * ITEMS), int(0.7 * ITEMS)
MOST_MB = 500.0
LONGEST_S = 100 + ITEMS / 2_000
NODE = "noted"


def start(home: Path, run: str, folder: Path) -> subprocess.Popen[str]:
    """A driver in a process of its own."""
    code = f"from tests.app.large_run import drive; drive({run!r}, {ITEMS}, {GATE}, {str(folder)!r})"
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def facts(recorded: Iterable[f.Recorded]) -> Iterator[f.Fact]:
    """What the journal says, fact by fact of one node each."""
    for one in recorded:
        yield from f.apart(one.fact)


def items(some: Iterable[f.Fact], *kinds: type[f.StepsStarted | f.StepsCompleted]) -> list[int]:
    """Items of the map that these facts are about."""
    return [
        index for fact in some if isinstance(fact, kinds) and fact.node == NODE
        for index in range(fact.start, fact.stop)
    ]  # fmt: skip


def kill_in_the_middle(driver: subprocess.Popen[str], here: Installation) -> tuple[str, float]:
    """Kill the driver once the journal has enough items; the run, and the driver's peak in MB."""
    run, seq, done, deadline = "", 0, 0, time.monotonic() + LONGEST_S
    while done < KILL_AT:
        assert driver.poll() is None, driver.communicate()[1][-2000:]
        assert time.monotonic() < deadline, f"the journal has {done} items only"
        run = run or next((row.id for row in here.journal.runs()), "")
        recorded = list(here.journal.facts(run, seq)) if run else []
        seq += len(recorded)
        done += len(items(facts(recorded), f.StepsCompleted))
        time.sleep(0.005)
    peak = peak_mb(driver.pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    return run, peak


@pytest.mark.timeout(LONGEST_S * 3)
def test_kill_9_in_the_middle_repeats_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "evidence"
    folder.mkdir()
    here = Installation(Settings.from_environment({"ORC_HOME": str(home)}))
    driver = start(home, "new", folder)
    try:
        run, first_mb = kill_in_the_middle(driver, here)
    finally:
        driver.kill()
        driver.communicate()
    acknowledged = here.journal.run(run).seq
    before = [one for one in here.journal.facts(run) if one.seq <= acknowledged]
    done = set(items(facts(before), f.StepsCompleted))
    assert KILL_AT <= len(done) <= GATE, "it was not killed in the middle"
    assert here.journal.owner(run) is None

    workers_before = set(ran(folder))
    (folder / "open").touch()
    second = start(home, run, folder)
    said, complaints = second.communicate(timeout=LONGEST_S)
    assert second.returncode == 0, complaints[-2000:]
    state, answer, second_mb = said.split()
    assert (state, int(answer)) == ("succeeded", ITEMS * (ITEMS + 1) // 2)

    left = set(range(ITEMS)) - done
    evidence = ran(folder)
    again = [item for name, those in evidence.items() if name not in workers_before for item in those]
    assert not set(again) ^ left  # nothing that was acknowledged, and everything else
    assert len(again) == len(left)  # once
    first_time = [item for name in workers_before for item in evidence[name]]
    assert len(first_time) == len(set(first_time))
    assert done <= set(first_time)

    after = list(facts(here.journal.facts(run, acknowledged)))
    assert not set(items(after, f.StepsStarted)) ^ left  # what was taken back from a worker is started twice on record
    assert not set(items(after, f.StepsCompleted)) ^ left
    assert check_run(here.journal, run, acknowledged_seq=acknowledged) == []
    lost = len(set(first_time) - done)
    print(
        f"\n{ITEMS} items: killed at {len(done)}, {len(left)} ran after it, {lost} of them for the second time; "
        f"{acknowledged} facts before, {here.journal.run(run).seq} in all; peaks {first_mb:.0f} and {second_mb} MB"
    )
    assert max(first_mb, float(second_mb)) < MOST_MB
    here.close()
