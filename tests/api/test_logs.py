"""Lines of a step while it writes them: complete, in order, from any line on; and what the page of a step adds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.app.run import Run
from orchestrator.app.runner import Runner
from orchestrator.graph.pipeline import RunOptions
from tests.api import busy_flow
from tests.api.conftest import Served, served
from tests.api.test_stream import events

PATIENCE_S = 200.0


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[tuple[Served, Run, Path]]:
    """A step on a real worker that has written and goes on when a file is there."""
    with served(tmp_path / "home", lambda process: {}) as found:
        runner = Runner(found.process.installation)
        run = runner.start(busy_flow.telling, {"gate": str(tmp_path / "gate")}, RunOptions(on="local"))
        yield found, run, tmp_path / "gate"
        (tmp_path / "gate").touch()
        run.wait()


def lines(found: list[tuple[str, str, object]]) -> list[list[object]]:
    return [line for name, _, batch in found if name == "lines" for line in batch]  # type: ignore[attr-defined]


def test_lines_come_before_the_step_has_ended_and_the_stream_ends_with_it(telling: tuple[Served, Run, Path]) -> None:
    home, run, gate = telling
    stream = events(home.client, f"/runs/{run.id}/log-events/tell")
    first = next(stream)
    assert lines([first]) == [[1, "line 1"], [2, "line 2"]]
    assert run.state == "running"
    page = home.client.page(f"/runs/{run.id}/steps/tell")
    assert ('id="L2"' in page, "data-log=" in page, "It runs; new lines appear here" in page) == (True, True, True)
    gate.touch()
    rest = list(stream)
    assert lines([first, *rest]) == [[number, f"line {number}"] for number in range(1, 5)]
    assert rest[-1] == ("end", "", {"lines": 4})
    run.wait()
    again = list(events(home.client, f"/runs/{run.id}/log-events/tell", Last_Event_ID="2"))
    assert lines(again) == [[3, "line 3"], [4, "line 4"]]
    assert home.client(f"/api/v1/runs/{run.id}/logs/tell").text == "line 1\nline 2\nline 3\nline 4\n"


def test_a_worker_that_served_another_run_before_tells_only_of_this_one(telling: tuple[Served, Run, Path]) -> None:
    home, run, gate = telling
    gate.touch()
    run.wait()
    other = gate.with_name("other")
    again = Runner(home.process.installation).start(busy_flow.telling, {"gate": str(other)}, RunOptions(on="local"))
    try:
        assert lines([next(events(home.client, f"/runs/{again.id}/log-events/tell"))]) == [[1, "line 1"], [2, "line 2"]]
    finally:
        other.touch()
        again.wait()


def test_streams_of_lines_refuse_what_has_none(home: Served) -> None:
    for address, status in (("nothing", 404), ("square", 400)):
        assert home.client(f"/api/v1/runs/{home.runs['wide']}/log-events/{address}").status == status
    assert list(events(home.client, f"/runs/{home.runs['wide']}/log-events/square%5B7%5D"))[-1][0] == "end"


def test_a_line_keeps_its_address_however_long_the_log_becomes(telling: tuple[Served, Run, Path]) -> None:
    home, run, gate = telling
    gate.with_name("many").write_text("3000")
    gate.touch()
    run.wait()
    address = f"/runs/{run.id}/steps/tell"
    last = home.client.page(address)
    assert ('id="L3"' in last, 'id="L3004"' in last, f"{address}?line=3004#L3004" in last) == (False, True, True)
    page = home.client.page(f"{address}?line=3")
    assert ('id="L3"' in page, 'id="L3004"' in page) == (True, False)
    assert "Earlier lines" in last
    assert len(last) < 100_000


def test_why_it_waited_and_what_it_asked_for(telling: tuple[Served, Run, Path]) -> None:
    home, run, gate = telling
    deadline = time.monotonic() + PATIENCE_S
    while not (found := home.client.api(f"/runs/{run.id}/steps/after"))["waits"]:
        assert time.monotonic() < deadline
    (wait,) = found["waits"]
    assert (wait["kind"], wait["on"]) == ("input", ["tell"])
    deadline = time.monotonic() + PATIENCE_S
    while home.client.api(f"/runs/{run.id}/steps/tell")["node"]["state"] != "running":
        assert time.monotonic() < deadline
    sent_along = home.client.api(f"/runs/{run.id}/steps/after")
    assert (sent_along["node"]["state"], len(sent_along["waits"])) == ("pending", 1), "in the same bundle, behind it"
    assert "It waits for the output of tell" in home.client.page(f"/runs/{run.id}/steps/after")
    gate.touch()
    run.wait()
    found = home.client.api(f"/runs/{run.id}/steps/after")
    assert (found["waits"], found["explanation"]["waited"][0]["why"]) == ([], "for its input tell")
    assert found["resources"]["requested"] == "num_cpus=1"
    assert found["resources"]["wall_s"] >= 0.0
    page = home.client.page(f"/runs/{run.id}/steps/after")
    assert "Asked for" in page
    assert "Why: its stage has no cache, so it runs in every run." in page
    assert "for its input tell." in page
