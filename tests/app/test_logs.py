"""Lines of steps by attempt: while they run, after they failed, when their worker died; and what goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.app.installation import Installation
from orchestrator.app.logs import LogLine, Logs
from orchestrator.app.overview import Overview, Watching
from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.config.settings import Settings
from orchestrator.graph.pipeline import RunOptions
from tests.app import log_flows as flows


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    found = Installation(Settings.from_environment({"ORC_HOME": str(tmp_path / "home"), "ORC_SLOTS": "2"}))
    yield found
    found.close()


def texts(lines: list[LogLine]) -> list[tuple[str, int, int, str]]:
    return [(line.step, line.attempt, line.line, line.text) for line in lines]


def test_a_running_step_is_followed_and_shown_at_work(here: Installation, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    run = Runner(here).start(flows.talking, {"marker": str(marker)}, RunOptions(on="local"))
    logs, watching, lines, seen = Logs(here, run.id), Watching(here), list[LogLine](), Overview(0.0, [], [], [])
    deadline = time.monotonic() + 300
    while "waiting" not in [line.text for line in lines] or not any(one.node == "wait_for" for one in seen.workers):
        assert time.monotonic() < deadline
        lines += [*logs.advance(), *logs.live()]
        seen = watching.look()
        time.sleep(0.1)
    live = next(line for line in lines if line.text == "waiting")
    assert (live.step, live.attempt, live.at) == ("wait_for", 1, None)
    (active,) = seen.runs
    assert (active.run, active.state, active.running, active.queued, active.slots) == (run.id, "running", 1, 0, 2)
    (working,) = seen.workers
    assert (working.node, working.steps, working.worker) == ("wait_for", 1, live.worker)
    assert working.host
    marker.touch()
    run.wait("300s")
    lines += logs.advance()
    assert [line.text for line in lines if line.step == "wait_for"] == ["waiting", "done"], "nothing is said twice"
    assert texts([line for line in lines if line.step == "talk[1]"]) == [
        ("talk[1]", 1, 1, "item 1, attempt 1"),
        ("talk[1]", 1, 2, "ERROR in item 1"),
        ("talk[1]", 2, 1, "item 1, attempt 2"),
        ("talk[1]", 2, 2, "ERROR in item 1"),
    ]
    assert texts(list(Logs(here, run.id, "talk", 2).advance())) == [
        ("talk[2]", 1, 1, "item 2, attempt 1"),
        ("talk[2]", 1, 2, "fine"),
    ]
    assert Watching(here).look().runs == []


def test_secrets_are_never_seen_also_those_that_a_child_process_prints(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_WORD", "abracadabra")
    marker = tmp_path / "marker"
    run = Runner(here).start(flows.telling, {"marker": str(marker)}, RunOptions(on="local"))
    logs, lines, deadline = Logs(here, run.id), list[LogLine](), time.monotonic() + 300
    while not any(line.text.startswith("half") for line in lines):  # which "waiting" ends
        assert time.monotonic() < deadline
        lines += [*logs.advance(), *logs.live()]
    assert all(line.at is None and line.step == "tells_a_child" for line in lines)
    marker.touch()
    run.wait("300s")
    lines += logs.advance()
    assert [line.text for line in lines] == [f"the word is {'*' * 11}", f"half a line: {'*' * 11}waiting", "done"]
    assert "abracadabra" not in run["tells_a_child"].logs


def test_what_a_worker_wrote_before_it_died_is_not_lost(here: Installation, tmp_path: Path) -> None:
    run: Run = Runner(here).run(flows.mortal, {"marker": str(tmp_path / "marker")}, RunOptions(on="local"))
    lines = list(Logs(here, run.id, "dies").advance())
    assert texts(lines) == [("dies", 1, 1, "last words"), ("dies", 2, 1, "last words")]
    assert lines[0].worker != lines[1].worker


def test_steps_that_wait_for_a_slot_are_in_the_queue(here: Installation, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    crowded = flows.pipeline(name="crowded")(lambda: [flows.wait_for([i], str(marker)) for i in range(5)])
    run = Runner(here).start(crowded, {}, RunOptions(on="local"))
    watching, deadline = Watching(here), time.monotonic() + 300
    while not (seen := watching.look()).queue or not seen.workers:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert all("for a slot of 2, in the queue of light steps" in one.why for one in seen.queue)
    assert any("meanwhile ran wait_for" in one.why for one in seen.queue)
    marker.touch()
    run.wait("300s")
